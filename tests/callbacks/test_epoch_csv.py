import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from camloc.callbacks.epoch_csv import EpochCsv


def end_epoch(folder: Path, epoch: int, *, first: bool = True, **metrics: float) -> None:
    trainer: Any = SimpleNamespace(
        is_global_zero=first,
        current_epoch=epoch,
        global_step=10 * (epoch + 1),
        callback_metrics={name: torch.tensor(value) for name, value in metrics.items()},
    )
    run: Any = SimpleNamespace(epochs=folder / "metrics.csv")
    EpochCsv(run).on_train_epoch_end(trainer, SimpleNamespace())  # type: ignore[arg-type] # not looked at


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_metric_that_appears_late_gets_its_column(tmp_path: Path) -> None:
    end_epoch(tmp_path, 0, loss=0.5)
    end_epoch(tmp_path, 1, loss=0.25, error=0.46)
    assert rows(tmp_path) == [
        {"epoch": "0", "step": "10", "loss": "0.5", "error": ""},
        {"epoch": "1", "step": "20", "loss": "0.25", "error": "0.46"},
    ]


def test_an_epoch_that_is_repeated_replaces_what_followed(tmp_path: Path) -> None:
    for epoch in range(3):
        end_epoch(tmp_path, epoch, loss=1.0)
    end_epoch(tmp_path, 1, loss=0.5)
    assert [(row["epoch"], row["loss"]) for row in rows(tmp_path)] == [("0", "1"), ("1", "0.5")]


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    end_epoch(tmp_path, 0, first=False, loss=1.0)
    assert not (tmp_path / "metrics.csv").exists()

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from camloc.callbacks.epoch_csv import EpochCsv


def end_epoch(
    folder: Path, epoch: int, callback: EpochCsv | None = None, *, first: bool = True, **metrics: float
) -> None:
    trainer: Any = SimpleNamespace(
        is_global_zero=first,
        current_epoch=epoch,
        global_step=10 * (epoch + 1),
        callback_metrics={name.replace("__", "/"): torch.tensor(value) for name, value in metrics.items()},
    )
    if callback is None:
        callback = EpochCsv(paths(folder))
        callback.on_fit_start(trainer, SimpleNamespace())  # type: ignore[arg-type] # not looked at
    callback.on_train_epoch_end(trainer, SimpleNamespace())  # type: ignore[arg-type] # not looked at


def paths(folder: Path) -> Any:  # noqa: ANN401 - a stub
    return SimpleNamespace(epochs=folder / "metrics.csv")


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


def test_an_epoch_without_validation_has_no_numbers_of_val(tmp_path: Path) -> None:
    callback = EpochCsv(paths(tmp_path))
    validated: Any = SimpleNamespace(sanity_checking=False)
    sanity: Any = SimpleNamespace(sanity_checking=True)
    callback.on_validation_end(sanity, validated)
    end_epoch(tmp_path, 0, callback, loss=3.0)
    callback.on_validation_end(validated, validated)
    end_epoch(tmp_path, 1, callback, loss=2.0, val__loss=0.5)
    end_epoch(tmp_path, 2, callback, loss=1.0, val__loss=0.5)  # Lightning keeps the last number
    assert [(row["loss"], row["val/loss"]) for row in rows(tmp_path)] == [("3", ""), ("2", "0.5"), ("1", "")]


def test_a_full_disk_keeps_the_epochs_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_epoch(tmp_path, 0, loss=1.0)

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", no_room)
        with pytest.raises(OSError, match="No space"):
            end_epoch(tmp_path, 1, loss=0.5)
    assert [row["epoch"] for row in rows(tmp_path)] == ["0"]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_torn_last_line_is_dropped_when_resumed(tmp_path: Path) -> None:
    for epoch in range(2):
        end_epoch(tmp_path, epoch, loss=1.0)
    file = tmp_path / "metrics.csv"
    file.write_bytes(file.read_bytes()[:-3])
    end_epoch(tmp_path, 2, loss=0.5)
    assert [row["epoch"] for row in rows(tmp_path)] == ["0", "2"]


@pytest.mark.parametrize("text", ["epoch;step\n0;10\n", "epoch,step\n0.0,10\n", "a\nb\n"])
def test_a_file_that_was_changed_is_refused_before_an_epoch_is_trained(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    trainer: Any = SimpleNamespace(is_global_zero=True)
    with pytest.raises(ValueError, match=r"metrics\.csv is not as it was written: an epoch is no whole number"):
        EpochCsv(paths(tmp_path)).on_fit_start(trainer, SimpleNamespace())  # type: ignore[arg-type] # not looked at
    assert (tmp_path / "metrics.csv").read_text() == text


def test_the_epochs_before_are_there_where_no_further_one_is_trained(tmp_path: Path) -> None:
    end_epoch(tmp_path, 0, loss=1.0)
    callback, trainer = EpochCsv(paths(tmp_path)), SimpleNamespace(is_global_zero=True)
    callback.on_fit_start(trainer, SimpleNamespace())  # type: ignore[arg-type] # not looked at
    assert [row["loss"] for row in callback.rows] == ["1"]

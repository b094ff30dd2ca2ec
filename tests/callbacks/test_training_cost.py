import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from camloc.callbacks import training_cost
from camloc.callbacks.training_cost import TrainingCost


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(training_cost, "time", found)
    return found


def train(file: Path, clock: Clock, epochs: int, *, world_size: int = 1, first: bool = True) -> None:
    """Each epoch has two batches of 3 images in 4 seconds, and a validation of 2."""
    trainer: Any = SimpleNamespace(world_size=world_size, is_global_zero=first)
    module: Any = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))  # 16 and 5 parameters
    module[0].requires_grad_(requires_grad=False)
    paths: Any = SimpleNamespace(cost=file)
    callback = TrainingCost(paths)
    callback.on_fit_start(trainer, module)
    for _ in range(epochs):
        callback.on_validation_start(trainer, module)  # the sanity check
        clock.now += 50
        callback.on_validation_end(trainer, module)
        callback.on_train_epoch_start(trainer, module)
        for number in range(2):
            clock.now += 2
            callback.on_train_batch_end(trainer, module, None, SimpleNamespace(target=torch.zeros(3)), number)
        callback.on_validation_start(trainer, module)
        clock.now += 2
        callback.on_validation_end(trainer, module)
        callback.on_train_epoch_end(trainer, module)


def test_parameters_images_and_seconds_are_written(tmp_path: Path, clock: Clock) -> None:
    train(tmp_path / "cost.json", clock, epochs=3)
    assert json.loads((tmp_path / "cost.json").read_text()) == {
        "parameters": 21,
        "trained_parameters": 5,
        "images": 18,
        "seconds": 18.0,
        "training_seconds": 12.0,
    }


def test_a_resumed_training_adds_to_what_it_took_before(tmp_path: Path, clock: Clock) -> None:
    for epochs in (1, 2):
        train(tmp_path / "cost.json", clock, epochs)
    found = json.loads((tmp_path / "cost.json").read_text())
    assert (found["images"], found["seconds"], found["training_seconds"]) == (18, 18.0, 12.0)


@pytest.mark.parametrize("text", ["", "[]", '{"images": 3}', '{"images": 3, "seconds": "x", "training_seconds": 1}'])
def test_a_damaged_file_is_replaced(text: str, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "cost.json").write_text(text)
    train(tmp_path / "cost.json", clock, epochs=1)
    assert json.loads((tmp_path / "cost.json").read_text())["images"] == 6


def test_images_of_all_processes_count_and_one_writes(tmp_path: Path, clock: Clock) -> None:
    train(tmp_path / "cost.json", clock, epochs=1, world_size=2)
    assert json.loads((tmp_path / "cost.json").read_text())["images"] == 12
    train(tmp_path / "other.json", clock, epochs=1, first=False)
    assert not (tmp_path / "other.json").exists()

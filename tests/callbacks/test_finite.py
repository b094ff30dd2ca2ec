"""A training that diverges stops, and says where."""

import math
from functools import partial
from pathlib import Path
from runpy import run_path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from camloc.backbones.contract import Backbone
from camloc.callbacks import finite
from camloc.callbacks.finite import StopWhenNotFinite
from camloc.experiment.training import TrainingModule
from camloc.objectives.contract import Labelled, Losses

SQUARES = run_path(str(Path(__file__).parent.parent / "experiment" / "squares.py"))


class Diverges:
    """A loss that is not finite from a batch on."""

    def __init__(self, at: int, value: float = math.nan, slope: float = 0.0) -> None:
        self.at, self.value, self.slope, self.num_batches = at, value, slope, 0

    def __call__(self, backbone: Backbone, batch: Labelled) -> Losses:
        logits = backbone(batch.images)
        loss = logits.sum() * self.slope
        if self.num_batches >= self.at:
            loss = loss + self.value
        self.num_batches += 1
        return Losses({"loss": loss}, logits)


def fit(objective: Diverges, folder: Path, *, lr: float = 0.1, epochs: int = 3, batch_size: int = 1) -> None:
    """Train two images an epoch, which is saved."""
    module = TrainingModule(
        SQUARES["network"](), SQUARES["measures"](), objective, optimizer=partial(torch.optim.SGD, lr=lr)
    )
    keep = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=[StopWhenNotFinite(), keep],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, SQUARES["data"](batch_size=batch_size))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_its_epoch_and_batch_and_costs_no_checkpoint(
    value: float, tmp_path: Path
) -> None:
    with pytest.raises(
        FloatingPointError, match=r"^epoch 1, batch 1: the loss is not finite: .*learning rate 0\.1\); try a lower"
    ):
        fit(Diverges(3, value), tmp_path)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 0
    assert all(weight.isfinite().all() for weight in kept["state_dict"].values())


def test_on_the_cpu_no_step_follows_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    objective = Diverges(0)
    with pytest.raises(FloatingPointError, match="epoch 0, batch 0: the loss"):
        fit(objective, tmp_path)
    assert objective.num_batches == 1


@pytest.mark.parametrize(("every", "expected"), [(100, [2, 2]), (1, [1, 1, 1, 1])])
def test_a_gpu_waits_once_an_epoch_or_in_between_and_not_at_every_step(
    every: int, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite, "_waits", lambda _: True)
    monkeypatch.setattr(finite, "CHECKED_EVERY", every)
    looks: list[int] = []
    check = StopWhenNotFinite._check_losses

    def counting(callback: StopWhenNotFinite, trainer: Trainer) -> None:
        looks.append(len(callback._losses))
        check(callback, trainer)

    monkeypatch.setattr(StopWhenNotFinite, "_check_losses", counting)
    fit(Diverges(100), tmp_path, epochs=2)
    assert looks == expected


@pytest.mark.parametrize("lr", [math.nan, math.inf])
def test_a_learning_rate_that_is_not_finite_stops_before_its_step(lr: float, tmp_path: Path) -> None:
    objective = Diverges(100)
    with pytest.raises(FloatingPointError, match=rf"^epoch 0, batch 0: the learning rate is {lr}; .*optimizer\.lr"):
        fit(objective, tmp_path, lr=lr)
    assert objective.num_batches == 0


def test_weights_that_overflow_in_the_last_step_of_an_epoch_are_not_saved(tmp_path: Path) -> None:
    # The losses are finite, and 1e38 times the sum of the maps' gradients is not.
    with pytest.raises(FloatingPointError, match=r"^epoch 0: the (loss on val|weight predictor\..*) is not finite"):
        fit(Diverges(100, slope=1e38), tmp_path, lr=1e38, batch_size=2)
    assert not (tmp_path / "last.ckpt").exists()

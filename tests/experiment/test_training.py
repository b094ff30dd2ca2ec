"""Losses of an objective, and how fast each layer learns."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from camloc.backbones.contract import Backbone
from camloc.data.loading.sample import EvalBatch, TrainBatch
from camloc.experiment.training import TrainingModule
from camloc.objectives.classification import CrossEntropy
from camloc.objectives.contract import Labelled, Losses
from camloc.optimization import step_decay

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))
eval_batch: Callable[..., EvalBatch] = SQUARES["batch"]


class TwoLosses:
    """The mean of the images and three times the mean of the logits, which always say class 1."""

    def __call__(self, backbone: Backbone, batch: Labelled) -> Losses:  # noqa: ARG002 - its logits are made up
        self.batch = batch
        logits = torch.tensor([[0.0, 1.0]]).repeat(len(batch.target), 1)
        return Losses({"pixels": batch.images.mean(), "logits": 3 * logits.mean()}, logits)


def module(objective: Any = None, **options: Any) -> TrainingModule:  # noqa: ANN401 - of the module
    return TrainingModule(
        SQUARES["network"](),
        SQUARES["measures"](),
        objective or CrossEntropy(class_counts=[1, 1]),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        **options,
    )


def logged(module: TrainingModule) -> dict[str, float]:
    found: dict[str, float] = {}

    def log(name: str, value: Tensor, **options: Any) -> None:  # noqa: ANN401 - of Lightning
        assert (options["on_epoch"], options["sync_dist"], options["batch_size"]) == (True, True, 2)
        found[name] = value.item()

    def log_dict(values: Mapping[str, Tensor], **options: Any) -> None:  # noqa: ANN401 - the same
        for name, value in values.items():
            log(name, value, **options)

    module.log = log  # type: ignore[method-assign, assignment] # no trainer is attached
    module.log_dict = log_dict  # type: ignore[method-assign, assignment] # the same
    return found


def train_batch(halo: float = 0.0) -> TrainBatch:
    given = eval_batch([0, 1], halo)
    return TrainBatch(given.images, given.truth.target)


def test_losses_are_summed_and_logged_by_name() -> None:
    objective = TwoLosses()
    trained = module(objective)
    found = logged(trained)
    loss = trained.training_step(train_batch())
    # 16 of 96 pixels are 1 in one of three channels; the mean logit is 1/2.
    assert loss.item() == pytest.approx(16 / 96 / 3 + 1.5)
    assert found == {
        "train/loss": pytest.approx(16 / 96 / 3 + 1.5),
        "train/loss/pixels": pytest.approx(16 / 96 / 3),
        "train/loss/logits": pytest.approx(1.5),
        "train/classification/top1_error": 0.5,
    }
    assert objective.batch.images.max() == 1  # normalized
    assert objective.batch.target.tolist() == [0, 1]


def test_a_single_loss_is_logged_once() -> None:
    trained = module()
    found = logged(trained)
    loss = trained.training_step(train_batch())
    # The logit of the true class is 16/96 and the other 0.
    expected = torch.tensor([[16 / 96, 0.0]]).log_softmax(1)[0, 0]
    assert loss.item() == pytest.approx(-expected.item())
    assert found.keys() == {"train/loss", "train/classification/top1_error"}
    assert found["train/classification/top1_error"] == 0


def test_training_sees_no_boxes_and_reduces_the_loss() -> None:
    assert TrainBatch._fields == ("images", "target")
    trained = module()
    logged(trained)
    optimizer = trained.configure_optimizers()
    assert isinstance(optimizer, Optimizer)
    losses: list[Tensor] = []
    for _ in range(5):
        losses.append(trained.training_step(train_batch()))
        optimizer.zero_grad()
        losses[-1].backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_new_layers_learn_faster() -> None:
    trained = module(head_lr_multiplier=3.0)
    optimizer = trained.configure_optimizers()
    assert isinstance(optimizer, Optimizer)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    backbone = trained.predictor.backbone
    new = {id(parameter) for parameter in backbone.new_layers()}
    assert {rates[id(p)] for p in backbone.parameters() if id(p) not in new} == {0.1}
    assert [rates[id(p)] for p in backbone.new_layers()] == [pytest.approx(0.3)] * 2


def test_parameters_of_the_objective_are_trained_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    trained = module(Scaled())
    optimizer = trained.configure_optimizers()
    assert isinstance(optimizer, Optimizer)
    assert any(p is trained.objective.scale for group in optimizer.param_groups for p in group["params"])  # type: ignore[union-attr] # Scaled


def test_a_schedule_counts_optimizer_steps() -> None:
    trained = module(scheduler=partial(step_decay, drops=1))
    trained._trainer = SimpleNamespace(estimated_stepping_batches=4.0)  # type: ignore[assignment] # a stub
    configured: OptimizerLRSchedulerConfig = trained.configure_optimizers()  # type: ignore[assignment] # with a schedule
    scheduler: Any = configured["lr_scheduler"]
    assert scheduler["interval"] == "step"
    rates = []
    for _ in range(4):
        rates.append(scheduler["scheduler"].get_last_lr()[0])
        configured["optimizer"].step()
        scheduler["scheduler"].step()
    assert rates == [0.1, 0.1, pytest.approx(0.01), pytest.approx(0.01)]

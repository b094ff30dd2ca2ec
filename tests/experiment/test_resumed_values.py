"""A resumed training uses the values that it is given, or refuses them."""

from functools import partial
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR

from camloc.experiment.resumed_values import ApplyChanged, Changed, changed_values
from camloc.experiment.training import TrainingModule
from camloc.objectives.classification import CrossEntropy

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))
BEFORE: dict[str, Any] = {
    "monitor": None,
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
    "datamodule": {"root": "/a", "batch_size": 8, "crop_area": [0.3, 1.0]},
    "trainer": {"max_epochs": 3, "devices": 1},
    "localization": {"protocols": {"paper": {"cam_threshold": 0.2}}},
    "backbone": {"name": "resnet"},
}


def changed(in_epoch: bool = False, **groups: Any) -> list[str]:  # noqa: ANN401 - configured values
    now = {**BEFORE, **{key: {**BEFORE[key], **value} for key, value in groups.items()}}
    return [str(one) for one in changed_values(BEFORE, now, in_epoch=in_epoch)]


def test_what_changes_nothing_of_what_is_trained_is_not_mentioned() -> None:
    assert changed() == []
    assert changed(datamodule={"root": "/b", "num_workers": 3}, trainer={"log_every_n_steps": 7}) == []


def test_what_is_applied_is_named() -> None:
    found = changed(optimizer={"lr": 5, "momentum": 0.9}, trainer={"max_epochs": 4}, datamodule={"crop_area": None})
    assert found == [
        "datamodule.crop_area=null (was [0.3, 1.0])",
        "optimizer.lr=5 (was 0.1)",
        "optimizer.momentum=0.9 (was null)",
        "trainer.max_epochs=4 (was 3)",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"localization": {"protocols": {}}}, r"localization\.protocols\..*: the best epoch so far was chosen with"),
        ({"backbone": {"name": "vgg"}}, r"backbone\.name=vgg \(was resnet\): the checkpoint is of the other one"),
        ({"optimizer": {"_target_": "torch.optim.AdamW"}}, r"optimizer\._target_=.*: the checkpoint is of the other"),
    ],
)
def test_what_cannot_be_applied_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^resume= cannot apply {message}"):
        changed(**given)


def test_in_the_middle_of_an_epoch_its_batches_stay() -> None:
    assert changed(datamodule={"batch_size": 4}) == ["datamodule.batch_size=4 (was 8)"]
    with pytest.raises(
        ValueError, match=r"cannot apply datamodule\.batch_size=4 .*was stopped in the middle of an epoch"
    ):
        changed(in_epoch=True, datamodule={"batch_size": 4})
    with pytest.raises(ValueError, match=r"cannot apply trainer\.devices=2"):
        changed(in_epoch=True, trainer={"devices": 2})


def restored(scheduler: Any) -> tuple[SimpleNamespace, TrainingModule, Optimizer]:  # noqa: ANN401 - a factory
    """A module configured with a rate of 5, whose optimizer was restored after two steps at 0.1."""
    module = TrainingModule(
        SQUARES["network"](),
        SQUARES["measures"](),
        CrossEntropy(class_counts=[1, 1]),
        optimizer=partial(torch.optim.SGD, lr=5.0, weight_decay=0.5),
        head_lr_multiplier=2.0,
    )
    optimizer = module.new_optimizer()
    schedule: LRScheduler = scheduler(optimizer)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = 0.1 * group["lr_multiplier"]
        group["weight_decay"] = 0.0
    schedule.last_epoch = 2
    trainer = SimpleNamespace(optimizers=[optimizer], lr_scheduler_configs=[SimpleNamespace(scheduler=schedule)])
    return trainer, module, optimizer


def test_a_rate_acts_on_what_was_restored() -> None:
    trainer, module, optimizer = restored(partial(LambdaLR, lr_lambda=lambda step: 1 / (1 + step)))
    fresh = module.new_optimizer().param_groups
    ApplyChanged([Changed("optimizer.lr", 0.1, 5.0), Changed("optimizer.weight_decay", 0.0, 0.5)]).on_train_start(
        trainer,  # type: ignore[arg-type] # all that is looked at
        module,
    )
    for group, configured in zip(optimizer.param_groups, fresh, strict=True):
        assert group["lr"] == pytest.approx(5.0 * group["lr_multiplier"] / 3)
        assert group["weight_decay"] == configured["weight_decay"]  # biases have none
    for _ in range(2):
        optimizer.step()
        trainer.lr_scheduler_configs[0].scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(5.0 * optimizer.param_groups[0]["lr_multiplier"] / 5)


def test_other_values_leave_the_rate(  # as datamodule.crop_area does where nothing is scheduled
) -> None:
    trainer, module, optimizer = restored(partial(LambdaLR, lr_lambda=lambda step: 1 / (1 + step)))
    ApplyChanged([Changed("seed", 0, 1)]).on_train_start(trainer, module)  # type: ignore[arg-type] # the same
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * optimizer.param_groups[0]["lr_multiplier"])


def test_a_schedule_that_cannot_follow_is_refused() -> None:
    trainer, module, _ = restored(partial(StepLR, step_size=2))
    with pytest.raises(ValueError, match=r"cannot apply another learning rate to the state of StepLR; start a new run"):
        ApplyChanged([Changed("optimizer.lr", 0.1, 5.0)]).on_train_start(trainer, module)  # type: ignore[arg-type] # the same

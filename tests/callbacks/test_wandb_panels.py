import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerFn

from camloc.callbacks.wandb_panels import WandbPanels, box_data, threshold_chart

MONITOR = "val/localization/top1_error"


def test_boxes_are_cut_at_the_edges_and_numbers_of_python() -> None:
    gt_boxes = torch.tensor([[-3.0, 1.5, 5.0, 30.0], [40.0, 0.0, 50.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    (box,) = box_data(gt_boxes, (20, 40), 7, "tench", {"IoU": 0.5})  # the others lie outside, and nowhere
    assert box == {
        "position": {"minX": 0.0, "minY": 1.5, "maxX": 5.0, "maxY": 20.0},
        "domain": "pixel",
        "class_id": 7,
        "box_caption": "tench",
        "scores": {"IoU": 0.5},
    }
    assert {type(value) for value in box["position"].values()} == {float}
    assert box_data(torch.zeros(0, 4), (20, 40), 7, "tench", {}) == []


@pytest.mark.parametrize(("num_thresholds", "points"), [(1, 1), (100, 100), (101, 51), (1000, 100)])
def test_a_chart_has_at_most_100_points_a_line(num_thresholds: int, points: int) -> None:
    cam_thresholds = [index / num_thresholds for index in range(num_thresholds)]
    by_iou = torch.stack([torch.tensor(cam_thresholds), 1 - torch.tensor(cam_thresholds)])
    data = threshold_chart(cam_thresholds, [0.3, 0.5], by_iou).table.data
    assert len(data) == 2 * points
    assert all(error == pytest.approx(t if name == "IoU 0.3" else 1 - t, abs=1e-6) for t, name, error in data)


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"callbacks\.wandb_panels\.count must be at least 1, got 0"):
        WandbPanels(0.5, count=0)


def best_of(panels: WandbPanels, errors: list[float], first_epoch: int = 0, mode: str = "min") -> dict[str, Any]:
    summary: dict[str, Any] = {}
    logger: Any = SimpleNamespace(experiment=SimpleNamespace(summary=summary))
    for epoch, error in enumerate(errors, start=first_epoch):
        trainer: Any = SimpleNamespace(
            checkpoint_callbacks=[ModelCheckpoint(monitor=MONITOR, mode=mode), ModelCheckpoint()],
            callback_metrics={MONITOR: torch.tensor(error)},
            current_epoch=epoch,
        )
        panels._summarize_best(trainer, logger)
    return summary


def test_the_later_of_equally_good_epochs_is_the_best_and_nan_is_none() -> None:
    assert best_of(WandbPanels(0.5), [math.nan, 0.75, 0.5, 0.5, math.nan, 0.625]) == {
        "best/epoch": 3,
        f"best/{MONITOR}": 0.5,
    }
    assert best_of(WandbPanels(0.5), [math.nan]) == {}


def test_the_best_of_an_accuracy_is_the_greatest() -> None:
    assert best_of(WandbPanels(0.5), [0.25, 0.75, 0.5], mode="max")["best/epoch"] == 1


def test_a_resumed_training_knows_the_best_of_before() -> None:
    before, after = WandbPanels(0.5), WandbPanels(0.5)
    best_of(before, [0.75, 0.5])
    after.load_state_dict(before.state_dict())
    assert best_of(after, [0.5, 0.625], first_epoch=2) == {"best/epoch": 2, f"best/{MONITOR}": 0.5}
    assert best_of(after, [0.25], first_epoch=4) == {"best/epoch": 4, f"best/{MONITOR}": 0.25}


class Recorder(WandbLogger):
    def __init__(self) -> None:
        self.rows: list[Any] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:  # noqa: ANN401 - Lightning's
        self.rows.append((metrics, step))


@pytest.mark.parametrize(
    "state",
    [
        {"sanity_checking": True},
        {"is_global_zero": False},
        {"state": SimpleNamespace(fn=TrainerFn.VALIDATING)},
        {"loggers": []},
    ],
)
def test_only_the_first_process_logs_and_only_epochs_of_a_training(state: dict[str, Any]) -> None:
    logger = Recorder()
    usual = {
        "state": SimpleNamespace(fn=TrainerFn.FITTING),
        "sanity_checking": False,
        "is_global_zero": True,
        "loggers": [logger],
    }
    module: Any = object()  # nothing may be asked of it
    WandbPanels(0.5).on_validation_end(SimpleNamespace(**{**usual, **state}), module)  # type: ignore[arg-type] # enough of one
    assert logger.rows == []

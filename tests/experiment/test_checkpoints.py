"""Which epoch is the best: the number that is monitored, and its direction."""

from collections.abc import Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from torchmetrics import Metric

from camloc.experiment.checkpoints import LOSS, MASKS, OF_BOXES, best_and_last_checkpoint, monitored_directions
from camloc.experiment.measuring.split_protocols import SplitProtocols
from camloc.experiment.run_directory import RunDirectory
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import NEEDS
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))


def protocols(**more: Metric) -> SplitProtocols:
    given: Mapping[str, Metric] = {
        "classification": ClassificationError(),
        "val_threshold": LocalizationError(),
        **more,
    }
    return SplitProtocols(SQUARES["measures"](given))


def split(*, boxes: bool = True, masks: bool = False) -> Any:  # noqa: ANN401 - Squares
    return SQUARES["Squares"]("val", [0], 0.5, has_boxes=boxes, has_masks=masks)


@pytest.mark.parametrize(
    ("monitor", "boxes", "chosen", "mode"),
    [
        (None, True, "val/localization/top1_error", "min"),
        (None, False, "val/classification/top1_error", "min"),
        ("val/localization/max_box_acc_v2", True, "val/localization/max_box_acc_v2", "max"),
        ("val/localization/gt_known_error", True, "val/localization/gt_known_error", "min"),
        ("val/loss", False, "val/loss", "min"),
    ],
)
def test_the_best_is_the_least_error_or_the_greatest_accuracy(
    monitor: str | None, boxes: bool, chosen: str, mode: str, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path)
    measured = protocols(max_box_acc=MaxBoxAcc(0.1))
    best, last = best_and_last_checkpoint(monitor, measured, split(boxes=boxes), run)
    assert (best.monitor, best.mode, last.monitor) == (chosen, mode, None)
    assert Path(str(best.dirpath), f"{best.filename}.ckpt") == run.best_checkpoint
    assert Path(str(last.dirpath), f"{last.filename}.ckpt") == run.last_checkpoint


def test_without_any_protocol_of_the_defaults_the_loss_decides(tmp_path: Path) -> None:
    measured = SplitProtocols(SQUARES["measures"]({"pxap": PxAP(0.1)}))
    best, _ = best_and_last_checkpoint(None, measured, split(boxes=False), RunDirectory(tmp_path))
    assert best.monitor == LOSS


def test_an_unknown_number_is_refused_with_those_that_are_measured(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"monitor=val/f1 is not measured; choose from (.*)") as found:
        best_and_last_checkpoint("val/f1", protocols(pxap=PxAP(0.1)), split(), RunDirectory(tmp_path))
    offered = str(found.value).partition("choose from ")[2].split(", ")
    assert offered == [
        "val/loss",
        "val/classification/top1_error",
        "val/classification/top5_error",
        "val/localization/top1_error",
        "val/localization/top5_error",
        "val/localization/gt_known_error",
        "val/localization/gt_known_error_at_best",
    ]  # PxAP needs masks, and there are none


def test_what_val_cannot_give_is_not_offered(tmp_path: Path) -> None:
    measured = protocols(pxap=PxAP(0.1))
    assert monitored_directions(measured, split(masks=True))["val/localization/pxap"] == "max"
    with pytest.raises(ValueError, match=r"monitor=val/localization/top1_error is not measured"):
        best_and_last_checkpoint("val/localization/top1_error", measured, split(boxes=False), RunDirectory(tmp_path))


def test_what_waits_for_a_threshold_is_not_offered() -> None:
    measured = protocols(ilsvrc=IlsvrcError())
    assert "val/localization/ilsvrc_top1_error" not in monitored_directions(measured, split())
    fixed = protocols(ilsvrc=IlsvrcError(cam_threshold=0.2))
    assert monitored_directions(fixed, split())["val/localization/ilsvrc_top1_error"] == "min"
    assert "val/localization/ilsvrc_top1_error" not in monitored_directions(fixed, split(boxes=False))


def test_all_needs_of_true_boxes_and_masks_are_known() -> None:
    assert {*OF_BOXES, *MASKS} <= NEEDS.keys()

"""Which CAM threshold test is measured at, and where it came from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from torchmetrics import Metric

from camloc.experiment.measuring.measure import measure
from camloc.experiment.measuring.module import EvaluationModule
from camloc.experiment.measuring.results import MeasuredSplit, Threshold
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc

SQUARES = run_path(str(Path(__file__).parent.parent / "squares.py"))
module: Callable[..., EvaluationModule] = SQUARES["module"]


def measured(
    protocols: Mapping[str, Metric] | None = None,
    splits: tuple[str, ...] = ("val", "test"),
    stored: Threshold | None = None,
    **data: Any,  # noqa: ANN401 - of the data module
) -> dict[str, MeasuredSplit]:
    """The chosen threshold of val is 0.7 and that of test 0.8; at val's all boxes of test are the halo's."""
    made = module(SQUARES["measures"](protocols))
    return measure(SQUARES["trainer"](), made, SQUARES["data"](**data), splits, stored)


def error(found: Mapping[str, MeasuredSplit], key: str) -> float:
    split, _, name = key.partition("/")
    return found[split].result.numbers[name].item()


def test_the_threshold_is_chosen_on_val_and_test_is_reported_at_it() -> None:
    found = measured()
    assert list(found) == ["val", "test"]
    assert found["test"].thresholds == {"val_threshold": Threshold(0.7, "val")}
    assert error(found, "test/localization/gt_known_error") == 1
    assert error(found, "test/localization/gt_known_error_at_best") == 0
    assert error(found, "test/localization/best_cam_threshold") == 0.8
    assert found["val"].thresholds == {"val_threshold": Threshold(0.7, "oracle")}
    assert error(found, "val/localization/gt_known_error") == 0
    assert found["test"].image_ids == ["test0.png", "test1.png", "test2.png"]
    assert found["val"].image_ids == ["val0.png", "val1.png"]


def test_the_stored_threshold_is_taken_where_val_is_not_evaluated() -> None:
    found = measured(splits=("test",), stored=Threshold(0.8, "val"))
    assert list(found) == ["test"]
    assert found["test"].thresholds == {"val_threshold": Threshold(0.8, "val")}
    assert error(found, "test/localization/gt_known_error") == 0


def test_what_val_chooses_goes_before_what_is_stored() -> None:
    assert measured(stored=Threshold(0.8, "val"))["test"].thresholds["val_threshold"] == Threshold(0.7, "val")


def test_the_stored_threshold_is_taken_where_val_has_no_boxes() -> None:
    found = measured(stored=Threshold(0.8, "fixed"), val_boxes=False)
    assert found["test"].thresholds == {"val_threshold": Threshold(0.8, "fixed")}
    assert found["val"].thresholds == {}


def test_the_papers_threshold_is_taken_where_there_is_none() -> None:
    found = measured(val_boxes=False)
    assert found["test"].thresholds == {"val_threshold": Threshold(0.2, "fixed")}
    assert error(found, "test/localization/cam_threshold") == 0.2
    assert error(found, "test/localization/gt_known_error") == 1


def test_a_threshold_that_is_fixed_is_kept() -> None:
    fixed = {"paper": LocalizationError(cam_threshold=0.8, num_thresholds=10)}
    found = measured(fixed, stored=Threshold(0.3, "val"))
    assert found["test"].thresholds == {"paper": Threshold(0.8, "fixed")}
    assert found["val"].thresholds == {"paper": Threshold(0.8, "fixed")}


def test_each_of_several_protocols_has_its_own() -> None:
    found = measured(
        {
            "paper": LocalizationError(cam_threshold=0.2, num_thresholds=10),
            "val_threshold": LocalizationError(num_thresholds=10),
            "ilsvrc": IlsvrcError(),
            "max_box_acc": MaxBoxAcc(0.1),
        }
    )
    chosen = Threshold(0.7, "val")
    assert found["test"].thresholds == {
        "paper": Threshold(0.2, "fixed"),
        "val_threshold": chosen,
        "ilsvrc": chosen,  # it chooses none itself
    }
    assert found["val"].thresholds == {
        "paper": Threshold(0.2, "fixed"),
        "val_threshold": Threshold(0.7, "oracle"),
    }
    assert error(found, "test/localization/ilsvrc_top1_error") == 1
    assert "localization/ilsvrc_top1_error" not in found["val"].result.numbers  # chosen too late for it


def test_a_fixed_threshold_of_reported_boxes_has_a_source_on_val_too() -> None:
    found = measured({"ilsvrc": IlsvrcError(cam_threshold=0.5)})
    assert found["val"].thresholds == found["test"].thresholds == {"ilsvrc": Threshold(0.5, "fixed")}
    assert error(found, "val/localization/ilsvrc_top1_error") == 0
    assert error(found, "test/localization/ilsvrc_top1_error") == 1


def test_a_stored_threshold_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cam_threshold=0\.55 is not among the 10 thresholds.*more_thresholds"):
        measured(splits=("test",), stored=Threshold(0.55, "val"))


def pseudo_boxes(folder: Path) -> str:
    """The halo's box, which val's maps give at thresholds 0 to 0.4, in their middle 0.2."""
    (folder / "val").mkdir()
    (folder / "val" / "localization.txt").write_text("val0.png,0,1,7,6\nval1.png,0,1,7,6\n")
    return str(folder)


def test_a_threshold_that_is_chosen_on_pseudo_boxes_says_so(tmp_path: Path) -> None:
    found = measured(pseudo_boxes=pseudo_boxes(tmp_path))
    assert found["test"].thresholds == {"val_threshold": Threshold(0.2, "pseudo")}
    assert error(found, "val/localization/gt_known_error") == 0
    assert error(found, "test/localization/gt_known_error") == 1  # whose true boxes are the objects'
    assert found["test"].numbers()["test/localization/threshold_source"] == "pseudo"
    assert found["test"].intervals(found["val"])["test/localization/gt_known_error"] == (1, 1)


def test_every_number_of_a_val_with_pseudo_boxes_says_so(tmp_path: Path) -> None:
    protocols = {"val_threshold": LocalizationError(num_thresholds=10), "max_box_acc": MaxBoxAcc(0.1)}
    found = measured(protocols, pseudo_boxes=pseudo_boxes(tmp_path))
    assert {row.threshold_source for row in found["val"].rows({})} == {"pseudo"}
    assert {row.threshold_source for row in found["test"].rows({})} == {"pseudo", "oracle"}
    of_val = {key: value for key, value in found["val"].numbers().items() if key.endswith("threshold_source")}
    assert set(of_val.values()) == {"pseudo"}
    assert len(of_val) == 3

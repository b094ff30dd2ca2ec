"""Flat numbers with their sources, intervals by the way a threshold was chosen, and records of every pair."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from runpy import run_path

import pytest
import torch
from torchmetrics import Metric

from camloc.experiment.measuring.results import MeasuredSplit, Threshold, image_ids_of
from camloc.experiment.measuring.split_protocols import SplitProtocols, SplitResult
from camloc.experiment.measuring.store import PairStore, Stored
from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.records import Prediction

SQUARES = run_path(str(Path(__file__).parent.parent / "squares.py"))
NUM_IMAGES = 60


def measured(
    name: str, protocols: Mapping[str, Metric], thresholds: Mapping[str, Threshold], *, boxes: bool = True
) -> MeasuredSplit:
    """Images whose maps fit from a threshold on that is drawn for each, with logits that are drawn."""
    generator = torch.Generator().manual_seed({"val": 1, "test": 2}[name])
    truth = SQUARES["truth"](torch.zeros(NUM_IMAGES, dtype=torch.int64))
    if not boxes:
        truth = truth._replace(gt_boxes=[torch.zeros(0, 4)] * NUM_IMAGES)
    cams = torch.zeros(NUM_IMAGES, 8, 12)
    cams[:, 1:7, 0:8] = torch.rand(NUM_IMAGES, 1, 1, generator=generator)
    cams[:, 2:6, 1:5] = 1
    # Above a threshold that is drawn as well nothing fits any more.
    cams[:, 3, 2] = 1 / torch.rand(NUM_IMAGES, generator=generator)
    logits = torch.rand(NUM_IMAGES, 8, generator=generator)
    split, stores = SplitProtocols(SQUARES["measures"](protocols)), {}
    for protocol, threshold in thresholds.items():
        split.protocols[protocol].set_threshold(threshold.value)
    classes = truth.target.tolist()
    for protocol, outcome in split.update(Prediction(truth.pairs, logits, cams), truth).outcomes.items():
        stores[protocol] = PairStore()
        if outcome.values:
            stores[protocol].add(truth.positions, classes, outcome.values)
    pairs = PairStore()
    pairs.add(truth.positions, classes, {"object_shares": torch.full((NUM_IMAGES,), 1 / 6)})
    outcomes = {protocol: store.gather(1) for protocol, store in stores.items()}
    result = SplitResult(split.compute(), split.chosen_threshold(), outcomes, pairs.gather(1), split.unmet, NUM_IMAGES)
    return MeasuredSplit(name, split, result, [f"{name}{index}" for index in range(NUM_IMAGES)], thresholds)


def chosen() -> dict[str, Metric]:
    return {"classification": ClassificationError(), "val_threshold": LocalizationError(num_thresholds=10)}


@cache
def val() -> MeasuredSplit:
    return measured("val", chosen(), {})


@cache
def reported(source: str) -> MeasuredSplit:
    """Measured at the threshold that val chose, as if it had come from somewhere."""
    threshold = val().result.chosen
    assert threshold is not None
    return measured("test", chosen(), {"val_threshold": Threshold(threshold, source)})


@pytest.mark.parametrize("source", ["fixed", "val"])
def test_every_error_lies_in_its_interval(source: str) -> None:
    split = reported(source)
    intervals, numbers = split.intervals(val()), split.numbers()
    errors = [*(f"localization/{name}_error" for name in ("gt_known", "top1", "top5")), "classification/top1_error"]
    for key in (f"test/{error}" for error in errors):
        low, high = intervals[key]
        assert low <= numbers[key] <= high  # type: ignore[operator] # a number
        assert 0.01 < high - low < 0.4
    low, high = intervals["test/localization/gt_known_error_at_best"]
    assert low <= numbers["test/localization/gt_known_error_at_best"] <= high  # type: ignore[operator] # a number


def test_a_threshold_that_val_chose_is_chosen_again_in_every_resample_of_val() -> None:
    key = "test/localization/gt_known_error"
    fixed, on_val = reported("fixed").intervals(val())[key], reported("val").intervals(val())[key]
    assert on_val[1] - on_val[0] > fixed[1] - fixed[0]  # that val might have chosen another adds to the doubt
    # Where val is not there to be resampled, a stored threshold is taken as it is.
    assert reported("val").intervals(None)[key] == fixed
    at_best = "test/localization/gt_known_error_at_best"
    assert reported("fixed").intervals(val())[at_best] == reported("val").intervals(val())[at_best]


def test_on_val_itself_the_threshold_is_the_best_of_every_resample() -> None:
    intervals = val().intervals(val())
    assert intervals["val/localization/gt_known_error"] == intervals["val/localization/gt_known_error_at_best"]


def test_the_same_images_give_the_same_intervals() -> None:
    assert reported("val").intervals(val()) == reported("val").intervals(val())


def test_numbers_are_flat_scalars_with_the_sources_of_their_thresholds() -> None:
    numbers = reported("val").numbers()
    assert numbers["test/localization/threshold_source"] == "val"
    assert numbers["test/localization/cam_threshold"] == val().result.chosen
    assert numbers["test/localization/num_images"] == NUM_IMAGES
    assert isinstance(numbers["test/localization/num_images"], int)
    assert isinstance(numbers["test/classification/top1_error"], float)
    assert not any("curve" in key for key in numbers)
    assert not any("threshold_source" in key for key in numbers if "localization/threshold_source" not in key)


def test_an_oracle_says_so_by_number() -> None:
    protocols = {"max_box_acc": MaxBoxAcc(0.1), "centred_box": CentredBoxError()}
    numbers = measured("test", protocols, {}).numbers()
    assert {key: value for key, value in numbers.items() if isinstance(value, str)} == {
        "test/localization/max_box_acc_threshold_source": "oracle",
        "test/localization/max_box_acc_v2_threshold_source": "oracle",
    }


def test_several_protocols_stand_apart_in_the_numbers() -> None:
    protocols = {
        "val_threshold": LocalizationError(num_thresholds=10),
        "paper": LocalizationError(cam_threshold=0.2, num_thresholds=10),
    }
    thresholds = {"val_threshold": Threshold(0.5, "val"), "paper": Threshold(0.2, "fixed")}
    split = measured("test", protocols, thresholds)
    numbers, intervals = split.numbers(), split.intervals(None)
    assert numbers["test/localization/threshold_source"] == "val"
    assert numbers["test/localization/paper/threshold_source"] == "fixed"
    assert numbers["test/localization/cam_threshold"] == 0.5
    assert numbers["test/localization/paper/cam_threshold"] == 0.2
    assert {"test/localization/top1_error", "test/localization/paper/top1_error"} <= intervals.keys()
    rows = {row.key: row for row in split.rows(intervals)}
    assert (
        rows["test/localization/paper/top1_error"].cam_threshold,
        rows["test/localization/top1_error"].protocol,
    ) == (
        0.2,
        "val_threshold",
    )


def test_rows_say_threshold_source_and_interval() -> None:
    split = reported("val")
    intervals = split.intervals(val())
    rows = {row.key: row for row in split.rows(intervals)}
    assert list(rows) == [
        "test/classification/top1_error",
        "test/classification/top5_error",
        "test/localization/top1_error",
        "test/localization/top5_error",
        "test/localization/gt_known_error",
        "test/localization/gt_known_error_at_best",
    ]
    gt_known = rows["test/localization/gt_known_error"]
    assert (gt_known.cam_threshold, gt_known.threshold_source) == (val().result.chosen, "val")
    assert gt_known.interval == intervals[gt_known.key]
    assert gt_known.value == split.numbers()[gt_known.key]
    at_best = rows["test/localization/gt_known_error_at_best"]
    assert (at_best.cam_threshold, at_best.threshold_source) == (
        split.numbers()["test/localization/best_cam_threshold"],
        "oracle",
    )
    classification = rows["test/classification/top1_error"]
    assert (classification.cam_threshold, classification.threshold_source) == (None, "")


def test_a_number_over_several_oracles_thresholds_names_none() -> None:
    (row,) = measured("test", {"max_box_acc": MaxBoxAcc(0.1, v2=True)}, {}).rows({})
    assert (row.direction, row.cam_threshold, row.threshold_source, row.interval) == ("max", None, "oracle", None)


def test_what_was_not_measured_has_no_row_no_source_and_no_interval() -> None:
    split = measured("test", chosen(), {"val_threshold": Threshold(0.5, "val")}, boxes=False)
    assert not split.is_counted("val_threshold")
    assert split.is_counted("classification")
    assert not any("localization" in key for key in (*split.numbers(), *split.intervals(None)))
    assert [row.key for row in split.rows({})] == ["test/classification/top1_error", "test/classification/top5_error"]
    assert split.outcome("val_threshold") is None


def test_a_number_that_is_not_finite_has_no_row() -> None:
    split = reported("val")
    numbers = {**split.result.numbers, "classification/top1_error": torch.tensor(float("nan"))}
    shown = split._replace(result=split.result._replace(numbers=numbers)).rows({})
    assert [row.key for row in shown][:2] == ["test/classification/top5_error", "test/localization/top1_error"]


def test_outcomes_name_image_and_class_of_every_pair() -> None:
    outcome = reported("val").outcome("val_threshold")
    assert outcome is not None
    assert outcome.image_ids[:2] == ["test0", "test1"]
    assert outcome.classes.tolist() == [0] * NUM_IMAGES
    assert outcome.values["iou"].shape == (NUM_IMAGES, 10)
    assert measured("test", {"centred_box": CentredBoxError()}, {}).outcome("centred_box") is None  # it keeps nothing


def test_records_of_pairs_hold_what_is_known() -> None:
    split = reported("val")
    threshold = val().result.chosen
    known = {
        "rank": torch.arange(NUM_IMAGES).numpy(),
        "boxes": torch.ones(NUM_IMAGES, 4).numpy(),
    }
    stored = split.result.pairs._replace(values=known)
    pairs = split._replace(result=split.result._replace(pairs=stored)).pairs()
    assert pairs.rank is not None
    assert pairs.rank.tolist() == list(range(NUM_IMAGES))
    assert pairs.boxes is not None
    assert pairs.boxes.tolist() == [[1] * 4] * NUM_IMAGES
    assert (pairs.predicted, pairs.causes, pairs.object_shares) == (None, None, None)
    assert pairs.iou is not None
    assert pairs.iou.shape == (NUM_IMAGES, 10)
    assert pairs.cam_threshold == threshold
    assert pairs.cam_threshold in pairs.cam_thresholds
    assert measured("test", {"max_box_acc": MaxBoxAcc(0.1)}, {}).pairs().iou is None


def test_images_are_named_once_for_each_pair() -> None:
    stored = Stored(torch.tensor([0, 2, 2]).numpy(), torch.tensor([5, 3, 4]).numpy(), {})
    assert image_ids_of(stored, lambda index: "abc"[index]) == ["a", "c", "c"]

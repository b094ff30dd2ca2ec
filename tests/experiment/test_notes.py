"""Sentences before the numbers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from torchmetrics import Metric

from camloc.experiment.measuring.results import MeasuredSplit, Numbers, Threshold
from camloc.experiment.measuring.split_protocols import SplitProtocols, SplitResult
from camloc.experiment.measuring.store import Stored
from camloc.experiment.notes import PLAIN_NEEDS, notes_on, remarks_on
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import NEEDS
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP
from camloc.records import PairRecords, Prediction
from camloc.report.table import ReportedNumber

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))


def notes(
    protocols: Mapping[str, Metric],
    thresholds: Mapping[str, Threshold],
    *,
    boxes: bool = True,
    logits: bool = True,
    flat: bool = False,
    pairs: Stored | None = None,
    more: Numbers | None = None,
) -> list[str]:
    """Notes on two images, both localized at 0.5 and neither at 0.2; the second is classified wrongly."""
    truth = SQUARES["truth"](torch.tensor([0, 1]))
    if not boxes:
        truth = truth._replace(gt_boxes=[torch.zeros(0, 4)] * 2, image_boxes=[torch.zeros(0, 4)] * 2)
    cams = torch.stack([SQUARES["image"](0, 0.45)[0]] * 2).float()
    cams = torch.zeros_like(cams) if flat else cams
    split = SplitProtocols(SQUARES["measures"](protocols))
    for name, threshold in thresholds.items():
        split.protocols[name].set_threshold(threshold.value)
    split.update(Prediction(truth.pairs, torch.tensor([[1.0, 0.0]] * 2) if logits else None, cams), truth)
    counted = Stored(np.arange(2), np.arange(2), {}) if pairs is None else pairs
    result = SplitResult(split.compute(), None, {}, counted, dict(split.unmet), 2)
    measured = MeasuredSplit("test", split, result, ["a", "b"], thresholds)
    return notes_on(measured, {**measured.numbers(), **(more or {})})


def localization(cam_threshold: float | None = None) -> LocalizationError:
    return LocalizationError(cam_threshold=cam_threshold, num_thresholds=10)


def test_the_source_of_the_threshold_and_the_counts() -> None:
    assert notes({"val_threshold": localization()}, {"val_threshold": Threshold(0.5, "val")}) == [
        "The CAM threshold 0.5 has the least GT-known error on val; test did not take part in the choice.",
        "Localized on test: 2 GT-known, 1 top-1, 2 top-5 of 2 images.",
    ]
    assert notes({"paper": localization(0.2)}, {"paper": Threshold(0.2, "fixed")}) == [
        "The CAM threshold 0.2 was fixed beforehand.",
        "Localized on test: 0 GT-known, 0 top-1, 0 top-5 of 2 images.",
    ]
    assert notes({"x": localization()}, {"x": Threshold(0.3, "pseudo")})[0] == (
        "The CAM threshold 0.3 was chosen without true boxes."
    )


def test_several_protocols_are_named_and_those_of_one_threshold_share_a_sentence() -> None:
    protocols = {"val_threshold": localization(), "paper": localization(0.2), "ilsvrc": IlsvrcError()}
    thresholds = {
        "val_threshold": Threshold(0.5, "val"),
        "paper": Threshold(0.2, "fixed"),
        "ilsvrc": Threshold(0.5, "val"),
    }
    of_val = "has the least GT-known error on val; test did not take part in the choice."
    assert notes(protocols, thresholds) == [
        f"The CAM threshold 0.5 of val_threshold and ilsvrc {of_val}",
        "The CAM threshold 0.2 of paper was fixed beforehand.",
        "Localized on test: 2 GT-known, 1 top-1, 2 top-5 of 2 images.",
        "Localized on test by paper: 0 GT-known, 0 top-1, 0 top-5 of 2 images.",
    ]


def test_pairs_and_those_with_boxes_are_called_so() -> None:
    val = {"val_threshold": Threshold(0.5, "val")}
    three = Stored(np.array([0, 0, 1]), np.array([0, 1, 1]), {})
    found = notes({"val_threshold": localization()}, val, pairs=three, more={"test/num_pairs": 3})
    counted = "2 pairs of an image and a class with true boxes"
    assert found[1:] == [f"Localized on test: 2 GT-known, 1 top-1, 2 top-5 of {counted}."]
    found = notes({"val_threshold": localization()}, val, pairs=three, more={"test/localization/num_images": 1})
    assert found[1].endswith(" of 1 image with true boxes.")


def test_a_split_of_negative_images_says_that_nothing_was_localized() -> None:
    found = notes({"val_threshold": localization()}, {"val_threshold": Threshold(0.5, "val")}, pairs=Stored.nothing())
    assert found == ["test: 2 images without label, no pair of an image and a class: localization was not measured."]


def test_without_a_classifier_only_the_location_is_counted() -> None:
    found = notes({"val_threshold": localization()}, {"val_threshold": Threshold(0.5, "val")}, logits=False)
    assert found[1:] == ["Localized on test: 2 GT-known of 2 images."]


def test_flat_maps_are_counted() -> None:
    found = notes({"paper": localization(0.2)}, {"paper": Threshold(0.2, "fixed")}, flat=True)
    assert found[-1] == "2 score maps are flat or not finite; a flat map of zeros gives no box."


def test_what_was_not_measured_says_what_it_lacks() -> None:
    protocols = {
        "classification": ClassificationError(),
        "val_threshold": localization(),
        "max_box_acc": MaxBoxAcc(0.1),
        "pxap": PxAP(0.1),
    }
    thresholds = {"val_threshold": Threshold(0.5, "val")}
    assert notes(protocols, thresholds, boxes=False) == [
        f"{name} was not measured: it needs {need}, and there are none on test."
        for name, need in (("val_threshold", "true boxes"), ("max_box_acc", "true boxes"), ("pxap", "masks"))
    ]
    found = notes({"classification": ClassificationError()}, {}, logits=False)
    assert found == ["classification was not measured: it needs a classifier's logits, and there are none on test."]


def test_every_need_that_can_be_lacking_has_a_plain_name() -> None:
    always_there = {"target", "map_size", "image_sizes", "windows", "positions", "is_padding"}
    assert PLAIN_NEEDS.keys() == NEEDS.keys() - always_there


def test_another_iou_threshold_than_the_fields_is_said() -> None:
    protocol = LocalizationError(cam_threshold=0.5, num_thresholds=10, iou_threshold=0.3)
    found = notes({"mine": protocol}, {"mine": Threshold(0.5, "fixed")})
    assert found[0] == "A box is a hit from IoU 0.3 on (localization.iou_threshold)."


def number(key: str, value: float, direction: str = "min") -> ReportedNumber:
    split, section, title = key.split("/")
    return ReportedNumber(split, key, title, direction, value, None, None, "", section)  # type: ignore[arg-type] # str


def pairs(classes: list[int], predicted: list[list[int]] | None) -> PairRecords:
    return PairRecords(
        image_ids=[str(index) for index in range(len(classes))],
        classes=torch.tensor(classes),
        predicted=None if predicted is None else torch.tensor(predicted),
        **dict.fromkeys(("rank", "boxes", "iou", "causes", "object_shares")),
        cam_thresholds=[0.2],
        cam_threshold=0.2,
    )


NUMBERS = [
    number("val/localization/top1", 1.0),
    number("test/classification/top1", 0.5),
    number("test/localization/top1", 0.75),
]
EVERY_CLASS = pairs([0, 1, 0], [[0, 1], [1, 0], [1, 0]])


def test_numbers_that_say_what_they_mean_need_no_remark() -> None:
    assert remarks_on(NUMBERS, EVERY_CLASS, ["ant", "bee"]) == []
    assert remarks_on(NUMBERS, EVERY_CLASS._replace(predicted=None), ["ant", "bee"]) == []
    assert remarks_on(NUMBERS, pairs([0, 0], [[0], [0]]), ["ant"]) == []  # there is no other class


@pytest.mark.parametrize(("value", "direction"), [(1.0, "min"), (0.0, "max")])
def test_nothing_localized_is_remarked_on_next_to_the_numbers(value: float, direction: str) -> None:
    missed = number("test/localization/GT-known", value, direction)
    (remark,) = remarks_on([*NUMBERS, missed], EVERY_CLASS, ["ant", "bee"])
    assert remark.keys == {"test/localization/GT-known"}
    assert remark.sentence.startswith("No image of test is localized, by GT-known. Look at the gallery")
    assert remark.sentence.endswith("where the maps are, and whether the true boxes and the CAM threshold fit them.")
    (remark,) = remarks_on([*NUMBERS, missed], EVERY_CLASS._replace(cam_threshold=None), ["ant", "bee"])
    assert remark.sentence.endswith("where the maps are, and whether the true boxes fit them.")
    (remark,) = remarks_on([replace(missed, supervision="trained with boxes")], EVERY_CLASS, ["ant", "bee"])
    assert remark.sentence.endswith("where the predicted boxes are, and whether the true boxes fit them.")


def test_a_test_split_of_one_class_is_remarked_on() -> None:
    (remark,) = remarks_on(NUMBERS, pairs([1, 1], [[1, 0], [0, 1]]), ["ant", "bee"])
    assert remark.keys == {"test/classification/top1"}
    assert remark.sentence.startswith("test has images of one class only, bee: ")


def test_a_network_that_predicts_one_class_only_is_remarked_on() -> None:
    (remark,) = remarks_on(NUMBERS, pairs([0, 1, 0], [[1, 0]] * 3), ["ant", "bee"])
    assert remark.keys == {"test/classification/top1"}
    assert remark.sentence.startswith("The network predicts bee for every image of test")

"""Sentences that a reader must know before the numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from camloc.experiment.measuring.results import MeasuredSplit, Numbers
from camloc.metrics.box_error import BoxLocalizationError
from camloc.metrics.functional.localization import IOU_THRESHOLD
from camloc.metrics.localization_error import LocalizationError
from camloc.records import PairRecords
from camloc.report.table import ReportedNumber

WITH_BOXES = (
    "The network was trained with boxes, which weakly supervised localization never sees. It predicts its boxes "
    "itself: there are no maps and no CAM threshold."
)
PLAIN_NEEDS: Mapping[str, str] = {
    "logits": "a classifier's logits",
    "score_maps": "maps",
    "boxes": "boxes at CAM thresholds",
    "reported_boxes": "maps",
    "released_boxes": "maps",
    "gt_boxes": "true boxes",
    "image_boxes": "true boxes",
    "resized_boxes": "true boxes",
    "image_logits": "a classifier's logits",
    "labels": "a classifier's logits",
    "masks": "masks",
    "ignore": "masks",
    "predicted_classes": "predicted classes",
    "predicted_boxes": "predicted boxes",
}
"""What people call a need of :data:`camloc.metrics.contract.NEEDS`."""


class Remark(NamedTuple):
    """What to make of numbers that are right and say little."""

    sentence: str
    keys: frozenset[str]
    """Of the numbers, in ``metrics.json``."""


def remarks_on(rows: Iterable[ReportedNumber], pairs: PairRecords, class_names: Sequence[str]) -> list[Remark]:
    """Say where nothing is localized, ``test`` has images of one class only, or one class is always predicted.

    Args:
        rows: What is reported.
        pairs: Of ``test``.
        class_names: (C,).
    """
    on_test = [row for row in rows if row.split == "test"]
    of_classes = frozenset(row.key for row in on_test if row.key.startswith("test/classification/"))
    found = []
    missed = [
        row
        for row in on_test
        if row.key.startswith("test/localization/") and row.value == (1 if row.direction == "min" else 0)
    ]
    if missed:
        titles = "; ".join(dict.fromkeys(row.title for row in missed))
        where = "the maps are, and whether the true boxes"
        if pairs.cam_threshold is not None:
            where += " and the CAM threshold"
        if any(row.supervision for row in missed):
            where = "the predicted boxes are, and whether the true boxes"
        found.append(
            Remark(
                f"No image of test is localized, by {titles}. Look at the gallery for where {where} fit them.",
                frozenset(row.key for row in missed),
            )
        )
    true_classes = sorted(set(pairs.classes.tolist()))
    if len(true_classes) == 1 and len(class_names) > 1:
        found.append(
            Remark(
                f"test has images of one class only, {class_names[true_classes[0]]}: its classification errors say how "
                "often that class is predicted, not how well classes are told apart.",
                of_classes,
            )
        )
    predicted = [] if pairs.predicted is None else sorted(set(pairs.predicted[:, 0].tolist()))
    if len(predicted) == 1 and len(true_classes) > 1:
        found.append(
            Remark(
                f"The network predicts {class_names[predicted[0]]} for every image of test: it does not tell classes "
                "apart.",
                of_classes,
            )
        )
    return found


def notes_on(test: MeasuredSplit, metrics: Numbers) -> list[str]:
    """Say where thresholds came from, what was counted, and what was not measured and why."""
    if not len(test.result.pairs.positions):
        number = test.result.num_images
        images = f"{number} image{'s' * (number != 1)}"
        return [f"test: {images} without label, no pair of an image and a class: localization was not measured."]
    return [*_iou_notes(test), *_threshold_notes(test), *_count_notes(test, metrics), *_unmet_notes(test)]


def _iou_notes(test: MeasuredSplit) -> list[str]:
    """Say from which IoU on a box is a hit where that is not the field's."""
    kinds = (LocalizationError, BoxLocalizationError)
    used = {p.iou_threshold for p in test.protocols.protocols.values() if isinstance(p, kinds)}
    return [f"A box is a hit from IoU {value:g} on (localization.iou_threshold)." for value in used - {IOU_THRESHOLD}]


def _threshold_notes(test: MeasuredSplit) -> list[str]:
    texts = {
        "fixed": "was fixed beforehand",
        "val": "has the least GT-known error on val; test did not take part in the choice",
        "pseudo": "was chosen without true boxes",
    }
    measured = [name for name in test.thresholds if test.is_counted(name)]
    shown: dict[tuple[float, str], list[str]] = {}
    for name in measured:
        shown.setdefault(test.thresholds[name], []).append(name)
    several = len(shown) > 1
    return [
        f"The CAM threshold {value:.4g}{f' of {_listed(names)}' if several else ''} {texts[source]}."
        for (value, source), names in shown.items()
    ]


def _count_notes(test: MeasuredSplit, metrics: Numbers) -> list[str]:
    notes = []
    for name, protocol in test.protocols.protocols.items():
        key = f"test/{test.protocols.key(name, 'gt_known_hits')}"
        if not protocol.chooses_threshold or not test.is_counted(name):
            continue
        section = key.removesuffix("gt_known_hits")
        titles = (("gt_known", "GT-known"), ("top1", "top-1"), ("top5", "top-5"))
        counts = [f"{metrics[f'{section}{k}_hits']} {title}" for k, title in titles if f"{section}{k}_hits" in metrics]
        by = "" if section == "test/localization/" else f" by {name}"
        number = int(metrics[f"{section}num_images"])
        what = f"{number} image{'s' * (number != 1)}"
        if "test/num_pairs" in metrics:
            what = f"{number} pair{'s' * (number != 1)} of an image and a class"
        if number < len(test.result.pairs.positions):
            what += " with true boxes"
        notes.append(f"Localized on test{by}: {', '.join(counts)} of {what}.")
    if degenerate := metrics.get("test/localization/num_degenerate"):
        notes.append(f"{degenerate} score maps are flat or not finite; a flat map of zeros gives no box.")
    return notes


def _unmet_notes(test: MeasuredSplit) -> list[str]:
    notes = []
    for name, needs in test.result.unmet.items():
        if not test.is_counted(name):
            plain = _listed(sorted({PLAIN_NEEDS.get(need, need) for need in needs}))
            notes.append(f"{name} was not measured: it needs {plain}, and there are none on test.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

"""What is wrong with a data set, found before a device starts."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from camloc.data.split import Split, SplitName

NUM_SHOWN = 3
Item = TypeVar("Item")
Track = Callable[[Iterable[Item], str, int], Iterable[Item]]
"""Shows progress over items: what they are, and how many."""


@dataclass
class SplitSummary:
    """What one split holds."""

    name: str
    per_class: NDArray[np.int64]
    """(C,) pictures."""
    num_boxes: int = 0
    num_without_boxes: int = 0
    num_without_masks: int = 0
    num_clipped: int = 0
    """Boxes that reach beyond their pictures; known after all pictures were opened."""
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    """Index and reason of the pictures that cannot be read; known after all were opened."""

    @property
    def num_pictures(self) -> int:
        """N."""
        return int(self.per_class.sum())


@dataclass
class Preflight:
    """What was found: sizes for everybody, warnings that explain odd numbers, errors that would make them wrong."""

    splits: list[SplitSummary] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def check_splits(splits: Mapping[SplitName, Split], class_names: Sequence[str], track: Track[int]) -> Preflight:
    """Check labels, annotations and that no picture is in two splits; no picture is opened.

    Args:
        splits: ``train``, ``val`` and ``test`` or some of them.
        class_names: (C,).
        track: Shows progress.

    Returns:
        What was found.
    """
    found = Preflight()
    ids: dict[str, NDArray[np.str_]] = {}
    for name, split in splits.items():
        targets = np.fromiter((split.target(i) for i in track(range(len(split)), name, len(split))), np.int64)
        if targets.min() < 0 or targets.max() >= len(class_names):
            worst = int(np.argmax((targets < 0) | (targets >= len(class_names))))
            found.errors.append(
                f"{name}: {split.image_id(worst)} has class {targets[worst]}, and there are {len(class_names)} classes"
            )
            continue
        summary = SplitSummary(name, np.bincount(targets, minlength=len(class_names)))
        found.splits.append(summary)
        ids[name] = np.array([split.image_id(i) for i in range(len(split))])
        _check_classes(found, summary, class_names)
        if name != "train":
            _check_annotation(found, summary, split, track)
    names = list(ids)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = np.intersect1d(ids[first], ids[second])
            if len(shared):
                found.errors.append(
                    f"{len(shared)} pictures are in {first} and in {second}, {_first(shared.tolist())}: "
                    "a network must not be measured on what it was trained or tuned on; move them to one split"
                )
    return found


def open_pictures(split: Split, summary: SplitSummary, track: Track[str | None]) -> None:
    """Decode every picture of a split and note in its summary which cannot be read, and which boxes reach outside.

    Args:
        split: The pictures.
        summary: Of the split.
        track: Shows progress.
    """

    def look(index: int) -> str | None:
        try:
            height, width = split.picture(index).shape[-2:]
        except (OSError, ValueError) as error:
            return str(error)
        boxes = split.gt_boxes(index)
        outside = (boxes[:, :2] < 0).any(dim=1) | (boxes[:, 2:] > torch.tensor([width, height])).any(dim=1)
        summary.num_clipped += int(outside.sum())
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = track(pool.map(look, range(len(split))), f"{summary.name}: opening pictures", len(split))
        summary.unreadable = [(index, reason) for index, reason in enumerate(reasons) if reason is not None]


def _check_classes(found: Preflight, summary: SplitSummary, class_names: Sequence[str]) -> None:
    empty = [class_names[i] for i in np.flatnonzero(summary.per_class == 0).tolist()]
    if not empty:
        return
    message = f"{summary.name} has no picture of {len(empty)} of {len(class_names)} classes, {_first(empty)}"
    if summary.name == "train":
        found.errors.append(f"{message}: nothing can be learned of them; add pictures or remove the classes")
    else:
        found.warnings.append(f"{message}: nothing is measured of them")


def _check_annotation(found: Preflight, summary: SplitSummary, split: Split, track: Track[int]) -> None:
    without, broken = [], []
    for index in track(range(len(split)), f"{summary.name}: true boxes", len(split)):
        boxes = split.gt_boxes(index)
        summary.num_boxes += len(boxes)
        if len(boxes) == 0:
            without.append(index)
        elif not bool(boxes.isfinite().all() & (boxes[:, 2:] > boxes[:, :2]).all()):
            broken.append(index)
    summary.num_without_boxes = len(without)
    if broken:
        shown = _first([f"{split.image_id(i)} {split.gt_boxes(i).tolist()}" for i in broken[:NUM_SHOWN]], len(broken))
        found.errors.append(f"{summary.name}: boxes of {len(broken)} pictures are inverted or empty, {shown}")
    if without and len(without) < len(split):
        shown = _first([split.image_id(i) for i in without[:NUM_SHOWN]], len(without))
        found.errors.append(
            f"{summary.name}: {len(without)} of {len(split)} pictures have no true box, {shown}: annotate them or "
            "leave them out; localization is measured on all pictures of a split or on none"
        )
    elif without:
        found.warnings.append(f"{summary.name} has no true boxes: localization is not measured on it")


def _first(names: Sequence[str], total: int | None = None) -> str:
    more = ", ..." if (len(names) if total is None else total) > NUM_SHOWN else ""
    return f"first {', '.join(names[:NUM_SHOWN])}{more}"

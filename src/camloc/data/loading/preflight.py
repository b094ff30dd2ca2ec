"""Checks of a data set before training starts."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.images.decode import check_image
from camloc.data.images.sizes import read_image_sizes
from camloc.data.loading.copies import OnCopies, find_copies, say_across, say_within
from camloc.data.loading.split import Split, SplitName, Track
from camloc.data.loading.whole_split import all_targets, class_counts, pairs_of
from camloc.records import Window

NUM_SHOWN = 3
IN_ONE_SPLIT = "a network must not be measured on what it was trained or tuned on; keep each in one split"
IN_ONE_CLASS = "one image cannot be of two classes; keep it in the right one"
FEW = 50_000
"""Number of images up to which copies are looked for by default: it takes seconds."""
FEW_HEADERS = 10_000
"""Number of images of a split up to which headers are read by default: it takes two seconds."""
NEARLY_ALL = 0.95
"""Share of training images that show a class from which on labels say little of where it is."""
TOLERATED = 0.01
"""Share of a split up to which copies from another one are a warning and not an error: official data sets have some."""


@dataclass
class SplitSummary:
    """What one split holds."""

    per_class: NDArray[np.int64]
    """(C,) images that show each class."""
    num_images: int
    """N."""
    num_boxes: int = 0
    num_without_boxes: int = 0
    """Pairs of an image and a true class whose box is not known, objectless classes left out."""
    num_beyond: int = 0
    """Boxes that reach beyond their images; known after all were opened."""
    num_cut: int = 0
    """Boxes that the evaluation's window cuts; known after ``check_windows``."""
    num_unseen: int = 0
    """Boxes that lie outside the window; known after ``check_windows``."""


@dataclass
class Preflight:
    """What was found: sizes, warnings that explain odd numbers, and errors that would invalidate them."""

    splits: dict[SplitName, SplitSummary] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def check_splits(
    splits: Mapping[SplitName, Split],
    class_names: Sequence[str],
    track: Track,
    *,
    read_files: bool = False,
    trains_with_boxes: bool = False,
    on_copies: OnCopies | None = None,
    objectless: Collection[int] = (),
) -> Preflight:
    """Check labels, annotations and that no image is in two splits; no image is decoded.

    Args:
        splits: ``train``, ``val`` and ``test`` or some of them.
        class_names: (C,).
        track: Shows progress.
        read_files: Whether to look for copies under other names even if there are many images.
        trains_with_boxes: Whether training is to see true boxes, which are then checked too.
        on_copies: See :class:`camloc.data.loading.datamodule.LocalizationDataModule`.
        objectless: Classes without objects, 0-based.

    Returns:
        What was found.
    """
    found = Preflight()
    for name, split in splits.items():
        targets = all_targets(split)
        if targets.ndim == 1 and (targets.min() < 0 or targets.max() >= len(class_names)):
            worst = int(np.argmax((targets < 0) | (targets >= len(class_names))))
            found.errors.append(
                f"{name}: {split.image_id(worst)} has class {targets[worst]}, and there are {len(class_names)} classes"
            )
            continue
        summary = found.splits[name] = SplitSummary(class_counts(split, len(class_names)), len(split))
        _check_classes(found, name, class_names)
        if name == "train" and targets.ndim > 1:
            _check_negatives(found, class_names)
        if name != "train" or trains_with_boxes:
            _check_annotation(found, name, split, summary, track, objectless)
    _check_names(found, splits, track)
    if found.errors or on_copies == "leave_out":
        return found
    if read_files or sum(map(len, splits.values())) <= FEW:
        _check_copies(found, splits, track, on_copies)
    elif on_copies == "error":
        found.warnings.append(
            f"copies were not looked for among more than {FEW:,} images; check_only=true looks for them"
        )
    return found


class Opened(NamedTuple):
    """What decoding every image of a split shows."""

    unreadable: list[tuple[int, str]]
    """Index and reason of the images that cannot be read."""
    num_beyond: int
    """True boxes that reach beyond their images."""


def open_images(split: Split, name: SplitName, track: Track) -> Opened:
    """Decode every image of a split.

    Args:
        split: The images.
        name: Of the split.
        track: Shows progress.
    """

    def look(index: int) -> tuple[str | None, int]:
        try:
            height, width = split.image(index).shape[-2:]
        except (OSError, ValueError) as error:
            return str(error), 0
        return None, sum(_cut_and_unseen(_all_boxes(split, index), (0, 0, width, height)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(track(pool.map(look, range(len(split))), f"{name}: opening images", len(split)))
    unreadable = [(index, reason) for index, (reason, _) in enumerate(looks) if reason is not None]
    return Opened(unreadable, sum(num_beyond for _, num_beyond in looks))


def unreadable_headers(split: Split, name: SplitName, track: Track) -> list[tuple[int, str]]:
    """Find images that cannot be decoded by their headers alone: not there, of no known format, or too large.

    Args:
        split: The images; those that are not files are left out.
        name: Of the split.
        track: Shows progress.

    Returns:
        Index and reason of each.
    """

    def look(index: int) -> str | None:
        file = split.file(index)
        try:
            if file is not None:
                check_image(file)
        except (OSError, ValueError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = track(pool.map(look, range(len(split))), f"{name}: headers of images", len(split))
        return [(index, reason) for index, reason in enumerate(reasons) if reason is not None]


def check_windows(split: Split, summary: SplitSummary, window: Callable[[tuple[int, int]], Window]) -> None:
    """Count in a split's summary how many true boxes the evaluated part of each image cuts off or does not show.

    Args:
        split: The images, of which only the headers are read where they are files.
        summary: Of the split.
        window: From an image's ``(height, width)`` to the part that is evaluated.
    """
    files = [split.file(index) for index in range(len(split))]
    sizes = iter(read_image_sizes([file for file in files if file is not None]).tolist())
    for index, file in enumerate(files):
        height, width = split.image(index).shape[-2:] if file is None else next(sizes)
        if height:
            cut, unseen = _cut_and_unseen(_all_boxes(split, index), window((height, width)))
            summary.num_cut += cut
            summary.num_unseen += unseen


def _all_boxes(split: Split, index: int) -> Tensor:
    """Return the (M,4) true boxes of all classes of an image."""
    return torch.cat([torch.zeros(0, 4), *split.gt_boxes(index)])


def _cut_and_unseen(boxes: Tensor, window: Window) -> tuple[int, int]:
    lowest, highest = torch.tensor(window[:2]), torch.tensor(window[2:])
    cut = (boxes[:, :2] < lowest).any(dim=1) | (boxes[:, 2:] > highest).any(dim=1)
    unseen = (boxes[:, :2] >= highest).any(dim=1) | (boxes[:, 2:] <= lowest).any(dim=1)
    return int((cut & ~unseen).sum()), int(unseen.sum())


def _check_classes(found: Preflight, name: SplitName, class_names: Sequence[str]) -> None:
    empty = [class_names[i] for i in np.flatnonzero(found.splits[name].per_class == 0).tolist()]
    if not empty:
        return
    message = f"{name} has no image of {len(empty)} of {len(class_names)} classes, {_first(empty)}"
    if name == "train":
        found.errors.append(f"{message}: they cannot be learned; add images or remove the classes")
    else:
        found.warnings.append(f"{message}: they are not measured")


def _check_negatives(found: Preflight, class_names: Sequence[str]) -> None:
    """Warn of classes that nearly all training images show: what is common to them need not be the object."""
    train = found.splits["train"]
    common = [class_names[i] for i in np.flatnonzero(train.per_class >= NEARLY_ALL * train.num_images).tolist()]
    if common:
        found.warnings.append(
            f"{len(common)} of {len(class_names)} classes are in at least {NEARLY_ALL:.0%} of the training images, "
            f"{_first(common)}: image labels hardly tell a network where they are; add images without them"
        )


def _check_names(found: Preflight, splits: Mapping[SplitName, Split], track: Track) -> None:
    # The largest split's names are looked up and not kept: a million of them take a gigabyte.
    *smaller, largest = sorted(splits, key=lambda name: len(splits[name]))
    owners: dict[str, SplitName] = {}
    shared: dict[tuple[SplitName, ...], list[str]] = {}
    for name in (*smaller, largest):
        split = splits[name]
        for index in track(range(len(split)), f"{name}: names", len(split)):
            image_id = split.image_id(index)
            owner = owners.get(image_id, name)
            if owner != name:
                pair = tuple(sorted((owner, name), key=list(splits).index))
                shared.setdefault(pair, []).append(image_id)
            elif name != largest:
                owners[image_id] = name
    for (first, second), image_ids in shared.items():
        found.errors.append(
            f"{len(image_ids)} images are in {first} and in {second}, {_first(image_ids)}: {IN_ONE_SPLIT}"
        )


def _check_copies(
    found: Preflight, splits: Mapping[SplitName, Split], track: Track, on_copies: OnCopies | None
) -> None:
    copies = find_copies(splits, track)
    wrong = [(name, say_across(name, other, of), IN_ONE_SPLIT, of) for (name, other), of in copies.across.items()]
    wrong += [(name, f"{name}: {say_within(of)}", IN_ONE_CLASS, of) for name, of in copies.within.items()]
    for name, message, why, of in wrong:
        if on_copies is None and len(of) <= TOLERATED * len(splits[name]):
            found.warnings.append(message)
        else:
            fix = "" if on_copies is None else ", or leave them out with datamodule.on_copies=leave_out"
            found.errors.append(f"{message}: {why}{fix}")


def _check_annotation(
    found: Preflight,
    name: SplitName,
    split: Split,
    summary: SplitSummary,
    track: Track,
    objectless: Collection[int],
) -> None:
    targets = all_targets(split)
    images, classes = pairs_of(targets)
    gt_boxes = [
        boxes.numpy()
        for i in track(range(len(split)), f"{name}: true boxes", len(split))
        for boxes in split.gt_boxes(i)
    ]
    counts = np.array([len(boxes) for boxes in gt_boxes], dtype=np.int64)
    boxes = np.concatenate([np.zeros((0, 4)), *gt_boxes])
    is_box = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    has_objects = ~np.isin(classes, list(objectless))
    without = images[(counts == 0) & has_objects].tolist()
    broken = np.unique(np.repeat(images, counts)[~is_box]).tolist()
    summary.num_boxes, summary.num_without_boxes = len(boxes), len(without)
    if broken:
        shown = _first(
            [f"{split.image_id(i)} {_all_boxes(split, i).tolist()}" for i in broken[:NUM_SHOWN]], len(broken)
        )
        found.errors.append(f"{name}: boxes of {len(broken)} images are inverted or empty, {shown}")
    if boxed := images[(counts > 0) & ~has_objects].tolist():
        shown = _first([split.image_id(i) for i in boxed[:NUM_SHOWN]], len(boxed))
        found.errors.append(
            f"{name}: {len(boxed)} images of objectless classes have a true box, {shown}: remove the annotation, or "
            "the class from datamodule.objectless_classes"
        )
    if name == "train" and without:
        if len(without) == int(has_objects.sum()):
            found.errors.append(
                "train has no true boxes, and this objective trains on them; give data whose training images are "
                "annotated, or train on image labels with objective=cross_entropy"
            )
        else:
            found.warnings.append(
                f"train: {len(without)} of {len(split)} images have no true box: only their labels count"
            )
    elif without and len(without) < int(has_objects.sum()):
        shown = _first([split.image_id(i) for i in without[:NUM_SHOWN]], len(without))
        with_objects = int(has_objects.sum())
        what = "images" if targets.ndim == 1 else "pairs of an image and a class with objects"
        found.warnings.append(
            f"{name}: {len(without):,} of {with_objects:,} {what} have no true box, {shown}: localization is measured "
            f"on the other {with_objects - len(without):,}"
        )
    elif without:
        found.warnings.append(f"{name} has no true boxes: localization is not measured on it")


def _first(names: Sequence[str], total: int | None = None) -> str:
    more = ", ..." if (len(names) if total is None else total) > NUM_SHOWN else ""
    return f"first {', '.join(names[:NUM_SHOWN])}{more}"

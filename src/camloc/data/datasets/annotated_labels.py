"""Which labels of a table a run tells apart, and their boxes, in arrays that loader workers share."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.table import AnnotatedImages


class PairMasks(NamedTuple):
    """The mask files of N images with P pairs."""

    files: NDArray[np.bytes_]
    """(Q,) below the root, in the order of pairs."""
    firsts: NDArray[np.int64]
    """(P,) where each pair's files begin."""
    ends: NDArray[np.int64]
    """(P,) and end."""
    first_pair: NDArray[np.int64]
    """(N+1,) where each image's pairs begin, and P."""


class Labels(NamedTuple):
    """The labels of N images that are used."""

    class_names: tuple[str, ...]
    kept: NDArray[np.int64]
    """(N,) their places among those that were given."""
    targets: NDArray[np.int64] | NDArray[np.bool_]
    """(N,) true classes, 0-based, or (N,C) bool where images have several labels."""
    several: bool
    objectless: frozenset[int]
    boxes: NDArray[np.float64]
    """(M,4) as the table has them, sorted by image and then by class."""
    box_image: NDArray[np.int64]
    """(M,) 0 to N - 1."""
    box_class: NDArray[np.int64]
    masks: NDArray[np.bytes_]
    """(Q,) mask files below the root, sorted by image and then by class."""
    mask_image: NDArray[np.int64]
    """(Q,) 0 to N - 1."""
    mask_class: NDArray[np.int64]
    not_labelled: tuple[str, ...]
    """Chosen classes that no label of the annotation is."""
    one_label_hint: str
    """See :class:`camloc.data.loading.datamodule.LocalizationDataModule`."""
    notes: list[str]

    def boxes_of(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the boxes of some images, ascending; the place of each one's image among them, and its class."""
        chosen = np.flatnonzero(np.isin(self.box_image, places))
        return self.boxes[chosen], np.searchsorted(places, self.box_image[chosen]), self.box_class[chosen]

    def by_pair(
        self,
        places: NDArray[np.int64],
        boxes: NDArray[np.float64],
        owners: NDArray[np.int64],
        classes: NDArray[np.int64],
    ) -> list[NDArray[np.float64]]:
        """Return the boxes of each pair of some images, in the order of images and then of classes."""
        firsts, ends = self._ranges(places, owners, classes)
        return [boxes[first:end] for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)]

    def masks_of(self, places: NDArray[np.int64]) -> PairMasks | None:
        """Return the mask files of each pair of some images, ascending; null where no image of the set has any."""
        if not len(self.masks):
            return None
        chosen = np.flatnonzero(np.isin(self.mask_image, places))
        owners = np.searchsorted(places, self.mask_image[chosen])
        firsts, ends = self._ranges(places, owners, self.mask_class[chosen])
        targets = self.targets[places]
        per_image = np.ones(len(places), np.int64) if targets.ndim == 1 else targets.sum(axis=1)
        return PairMasks(self.masks[chosen], firsts, ends, np.concatenate([[0], np.cumsum(per_image)]))

    def _ranges(
        self, places: NDArray[np.int64], owners: NDArray[np.int64], classes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each pair's rows begin and end among sorted rows of images and classes."""
        targets, count = self.targets[places], len(self.class_names)
        if targets.ndim == 1:
            pairs = np.arange(len(places)) * count + targets
        else:
            images, shown = targets.nonzero()
            pairs = images * count + shown
        keys = owners * count + classes
        return np.searchsorted(keys, pairs), np.searchsorted(keys, pairs, "right")


def chosen_labels(
    table: AnnotatedImages,
    images: NDArray[np.int64],
    classes: Sequence[str] | None,
    objectless: Sequence[str],
    several: bool | None,
) -> Labels:
    """Choose the classes, and decide whether images have several labels.

    Args:
        table: What the annotation says.
        images: (K,) the places of the images that are there.
        classes: To tell apart; null takes all.
        objectless: Classes without objects.
        several: See :class:`camloc.data.datasets.annotated.Annotated`.

    Raises:
        ValueError: If none of the classes is in the table or none is left, an objectless one is neither there nor
            chosen or has a box, or ``several`` is false and an image has two labels.
    """
    notes = []
    names = _chosen_names(table.class_names, classes, objectless)
    number_of = np.full(len(table.class_names) + 1, -1, np.int64)  # the last is of masks with nothing inside, -1
    for number, name in enumerate(names):
        if name in table.class_names:
            number_of[table.class_names.index(name)] = number
    place_of = np.full(len(table.names), -1, np.int64)
    place_of[images] = np.arange(len(images))
    shown = np.zeros((len(images), len(names)), dtype=bool)
    places, numbers = place_of[table.labels[:, 0]], number_of[table.labels[:, 1]]
    is_used = (places >= 0) & (numbers >= 0)
    shown[places[is_used], numbers[is_used]] = True
    counts = shown.sum(axis=1)
    without_label = np.ones(len(images), dtype=bool)
    without_label[places[places >= 0]] = False
    of_others = (counts == 0) & ~without_label
    most = int(counts.max(initial=0))
    hint = ""
    if several is None:
        several = bool((counts != 1).any())
        why = f"up to {most}" if most > 1 else "at most one"
        notes.append(
            f"images have {why if several else 'one'} label{'s' if most > 1 else ''}: "
            f"several_labels={str(several).lower()}"
        )
        if most == 1 and of_others.any() and not without_label.any():
            hint = (
                f"datamodule.several_labels=false leaves out the {int(of_others.sum())} images whose label is none of "
                "datamodule.classes"
            )
    if not several and most > 1:
        first = int((counts > 1).argmax())
        labels = ", ".join(np.array(names)[shown[first]])
        raise ValueError(
            f"datamodule.several_labels=false, and {int((counts > 1).sum())} of {len(images)} images have several, "
            f"first {table.names[images[first]]}: {labels}; set several_labels=true, or choose classes=[...]"
        )
    kept = np.arange(len(images)) if several else np.flatnonzero(counts == 1)
    image_names = [table.names[image] for image in images.tolist()]
    for some, why in ((without_label, "have no label"), (of_others, "have another class's label")):
        notes += _without_label(some, why, image_names, several=several)
    without = frozenset(names.index(name) for name in objectless if name in names)
    new_place = np.full(len(images) + 1, -1, np.int64)
    new_place[kept] = np.arange(len(kept))

    def in_order(
        images: NDArray[np.int64], classes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return which rows are used, by image and then by class, and the image and class of all."""
        owners, kinds = new_place[place_of[images]], number_of[classes]
        used = np.flatnonzero((owners >= 0) & (kinds >= 0))
        return used[np.lexsort((kinds[used], owners[used]))], owners, kinds

    order, owners, kinds = in_order(table.box_image, table.box_class)
    wrong = np.isin(kinds[order], list(without))
    if wrong.any():
        first_box = order[wrong.argmax()]
        raise ValueError(
            f"datamodule.objectless_classes: {int(wrong.sum())} boxes are of these classes, first one of "
            f"{names[kinds[first_box]]} in {table.names[table.box_image[first_box]]}; remove the box, or the class"
        )
    targets = shown[kept] if several else shown[kept].argmax(axis=1).astype(np.int64)
    mask_order, mask_image, mask_class = in_order(table.mask_labels[:, 0], table.mask_labels[:, 1])
    return Labels(
        names,
        kept,
        targets,
        several,
        without,
        table.boxes[order],
        owners[order],
        kinds[order],
        np.array([os.fsencode(table.masks[place]) for place in mask_order.tolist()], dtype=np.bytes_),
        mask_image[mask_order],
        mask_class[mask_order],
        tuple(name for name in names if name not in table.class_names),
        hint,
        notes,
    )


def _chosen_names(known: Sequence[str], classes: Sequence[str] | None, objectless: Sequence[str]) -> tuple[str, ...]:
    names = tuple(known if classes is None else dict.fromkeys(classes))
    if not names:
        raise ValueError(
            "the annotation labels no image; there is nothing to learn, and to measure negative images "
            "datamodule.classes=[...] must name all classes"
            if classes is None
            else "datamodule.classes=[] names no class; leave it out, or name those to tell apart"
        )
    if known and set(names).isdisjoint(known):
        raise ValueError(unknown_classes(names, known))
    if unknown := [name for name in objectless if name not in (*known, *names)]:
        raise ValueError(
            f"datamodule.objectless_classes names {', '.join(unknown)}, and the annotation has "
            f"{', '.join(known) or 'no class'}; for a test set that shows none of a class, name all of them in "
            "datamodule.classes"
        )
    return names


def _without_label(some: NDArray[np.bool_], why: str, names: Sequence[str], *, several: bool) -> list[str]:
    """Say how many of N images are negative or left out, and why."""
    count = int(some.sum())
    if not count:
        return []
    if several:
        return [f"{count} of {len(names)} images are negative: they {why}"]
    return [f"{count} images {why} and were left out, first {names[int(some.argmax())]}"]


def unknown_classes(names: Sequence[str], known: Sequence[str]) -> str:
    """Return the message about chosen classes that the annotation does not have."""
    return f"datamodule.classes names {', '.join(names)}, and the annotation has {', '.join(known)}"

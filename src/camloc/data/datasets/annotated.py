"""Images of your own whose labels, boxes and splits stand in annotation files, with one or several labels per image.

Images may lie anywhere below the root: they are found by the names that the files give them. Splits are those of the
format; where it has none, images are dealt by a hash of their names. Boxes are taken to be drawn on the image as it is
shown, upright where its EXIF data says that it was rotated.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated as Limited
from typing import Unpack

import numpy as np
from annotated_types import Ge, Lt
from numpy.typing import NDArray

from camloc.data.annotations.fitting import fit_boxes, fitted_notes, recognised_units
from camloc.data.annotations.formats import chosen_reader
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import SetReader, Units
from camloc.data.datasets.annotated_files import find_images
from camloc.data.datasets.annotated_labels import chosen_labels, unknown_classes
from camloc.data.datasets.annotated_masks import AnnotatedMasks
from camloc.data.datasets.annotated_splits import LEFT_OUT, divided, grouped
from camloc.data.images.sizes import read_image_sizes
from camloc.data.loading.copies import Copies, OnCopies, find_copies
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.dealing import Dealt
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName

SAMPLED = 200
"""Images whose size is read to tell percent from pixels where the format states none."""


class Annotated(LocalizationDataModule):
    """Images that annotation files name and label.

    Args:
        root: Holds the images and the files.
        format: ``auto``, or the name of a format; or a reader of a format of one's own.
        several_labels: Whether images may have several labels, or none; null takes it from the data. False refuses
            images with two, and leaves out those without.
        classes: The classes to tell apart, in the order of their numbers; null takes all, sorted by name. An image
            without any of them is negative. Images of ``train`` are of all of them; a test set may lack some.
        objectless_classes: Classes without objects, such as ``good``: their images count in classification alone.
        units: Of boxes, where the format leaves it open and it cannot be told.
        val_share: What is dealt to ``val`` where the format has no splits.
        test_share: The same for ``test``.
        group_by: What stays in one split: a regular expression that is searched in the file name, with a group in
            parentheses, or a column of the table.
        on_copies: What becomes of a file that is in two splits, or in one under two classes: ``error``, or
            ``leave_out`` of the split that is measured.
        options: See ``LoaderOptions``; ``seed`` also settles what is dealt.

    Raises:
        DataProblems: With all that is wrong in the files.
        FileNotFoundError: If a folder or the annotation is missing.
        ValueError: If the format is not recognised, or an option does not fit the data.
    """

    def __init__(
        self,
        root: str,
        format: str | SetReader = "auto",  # noqa: A002 - what people call it
        several_labels: bool | None = None,
        classes: Sequence[str] | None = None,
        objectless_classes: Sequence[str] | None = None,
        units: Units | None = None,
        val_share: Limited[float, Ge(0), Lt(1)] = 0.15,
        test_share: Limited[float, Ge(0), Lt(1)] = 0.15,
        group_by: str | None = None,
        on_copies: OnCopies = "error",
        **options: Unpack[LoaderOptions],
    ) -> None:
        self.root = Path(str(root)).expanduser()
        if not self.root.is_dir():
            raise FileNotFoundError(f"datamodule.root={root} is not a folder; give the one with images and annotation")
        if val_share + test_share >= 1:
            raise ValueError(f"datamodule.val_share={val_share} and test_share={test_share} must leave images to train")
        notes = []
        if isinstance(format, SetReader):
            reader = format
        else:
            reader, words = chosen_reader(format, self.root)
            notes.append(f"annotation is {words}")
        reader.group_column = group_by if group_by is not None and "(" not in group_by else None
        table = reader.read(self.root)
        notes += table.notes
        images, found_notes = find_images(self.root, table)
        labels = chosen_labels(table, images.kept, classes, objectless_classes or (), several_labels)
        super().__init__(labels.class_names, **options)
        self.several_labels, self.objectless, self.on_copies = labels.several, labels.objectless, on_copies
        self.one_label_hint = labels.one_label_hint
        self._labelled = table.class_names
        self._labels, self._files = labels, images.files[labels.kept]
        kept = images.kept[labels.kept]
        self._sources, self._stated = [table.sources[place] for place in kept.tolist()], table.sizes[kept]
        groups = grouped(group_by, self._files, [table.groups[place] for place in kept.tolist()], reader.name)
        names = [os.fsdecode(file) for file in self._files.tolist()]
        splits = [table.splits[place] for place in kept.tolist()]
        dealing = divided(names, splits, groups, (val_share, test_share), self.seed)
        self._split_of, self.split_names = dealing.splits, dealing.names
        if dealing.is_dealt:
            placed = np.flatnonzero(dealing.splits != LEFT_OUT)
            own = [groups[place] if groups else "" for place in placed.tolist()]
            self.dealt = Dealt([names[place] for place in placed.tolist()], dealing.splits[placed], own)
        self.notes += [*notes, *found_notes, *labels.notes, *dealing.notes]
        self._units = self._told_units(units or table.units, settled=units is not None or table.units != "pixels")
        self._copies: Copies | None = None

    def load_split(self, name: SplitName) -> Split:
        """List a split's images; boxes and masks of ``train`` are read only where training is to see them."""
        if name == "train" and self._labels.not_labelled:
            raise ValueError(unknown_classes(self._labels.not_labelled, self._labelled))
        places = self._places(name)
        if self.on_copies == "leave_out":
            if self._copies is None:
                bare = {split: self._bare(self._places(split)) for split in self.split_names}
                self._copies = find_copies(bare, lambda files, _what, _total: files)
            self.notes += self._copies.notes(name)
            places = np.delete(places, self._copies.left_out.get(name, np.array([], np.int64)))
        if not self.reads_boxes(name):
            return self._bare(places)
        files, masks = self._files[places], self._labels.masks_of(places)
        return FileSplit(
            self.root,
            files,
            self._labels.targets[places],
            self._boxes(name, places),
            None if masks is None else AnnotatedMasks(self.root, files, masks),
        )

    def _places(self, name: SplitName) -> NDArray[np.int64]:
        if name not in self.split_names and self.dealt is not None:
            groups = set(self.dealt.groups) - {""}
            dealt = f"{len(groups)} groups" if groups else f"{len(self.dealt.image_ids)} images"
            raise ValueError(
                f"no image is left for {name}: all {dealt} were dealt to "
                f"{', '.join(self.split_names)}; add images, give another datamodule.seed, or a larger "
                "datamodule.val_share or test_share"
            )
        if name not in self.split_names:
            raise ValueError(f"the annotation names no {name} images, but {', '.join(self.split_names)} alone")
        return np.flatnonzero(self._split_of == ("train", "val", "test").index(name))

    def _bare(self, places: NDArray[np.int64]) -> FileSplit:
        return FileSplit(self.root, self._files[places], self._labels.targets[places])

    def _boxes(self, name: SplitName, places: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        """Return the boxes of each pair of a split, in pixels of the images."""
        boxes, owners, classes = self._labels.boxes_of(places)
        has_box = np.unique(owners)
        paths = [self.root / os.fsdecode(self._files[place]) for place in places.tolist()]
        sizes = np.zeros((len(places), 2), np.int64)
        sizes[has_box] = read_image_sizes([paths[place] for place in has_box.tolist()])

        def names(place: int) -> tuple[str, str]:
            file = os.fsdecode(self._files[places[place]])
            source = self._sources[places[place]]
            return f"{source}, {file}" if source else file, str(paths[place])

        fitted = fit_boxes(boxes, owners, self._stated[places], sizes, self._units, names)
        if fitted.problems:
            raise DataProblems(fitted.problems)
        self.notes += [f"{name}: {note}" for note in fitted_notes(fitted, self._units)]
        # A box of one pixel is a click that was meant to be a box; no map can place it.
        is_point = (fitted.boxes[:, 2:] - fitted.boxes[:, :2]).max(axis=1, initial=0) <= POINT
        if is_point.any():
            first = paths[int(owners[is_point.argmax()])]
            self.notes.append(
                f"{name}: {int(is_point.sum())} true boxes are a single pixel and were left out, first of {first}"
            )
        kept = ~is_point
        return self._labels.by_pair(places, fitted.boxes[kept], owners[kept], classes[kept])

    def _told_units(self, units: Units, *, settled: bool) -> Units:
        boxes, owners, _ = self._labels.boxes_of(np.arange(len(self._files)))
        if settled or not len(boxes):
            return units
        sizes = self._stated[np.unique(owners)]
        if not (sizes > 0).all():
            some = np.unique(owners)[:SAMPLED]
            sizes = read_image_sizes([self.root / os.fsdecode(self._files[place]) for place in some.tolist()])
        return recognised_units(boxes, sizes)


POINT = 1.01
"""Pixels of the longer side of what is no box; shares are rounded."""

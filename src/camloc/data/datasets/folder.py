"""Images of your own in class folders, with annotation from other tools where localization is to be measured.

Either ``train/<class>/*.jpg`` with ``val/`` and ``test/`` or one of them, or class folders at once, which are then
dealt into splits; ``test/`` alone can be measured. Annotation lies in ``annotations/<split's folder>/`` or
``annotations/``, flat or in class folders, or next to the images; a table may be ``annotations/<split's folder>.json``
or one ``annotations.json`` for all. Boxes and masks are taken to be drawn on the image as it is shown, upright where
its EXIF data says that it was rotated.
"""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack, get_args

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.contract import AnnotationReader, BoxFileReader, BoxTableReader, MaskFileReader
from camloc.data.annotations.fitting import fit_objects
from camloc.data.annotations.image_masks import ImageMaskFiles
from camloc.data.annotations.mask_files import mask_split
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import Units
from camloc.data.datasets.folder_annotations import FolderAnnotations, masks_next_to_images, suffixes_of
from camloc.data.datasets.folder_layout import FolderLayout, Part
from camloc.data.datasets.folder_shapes import some
from camloc.data.loading.copies import Copies, OnCopies, find_copies
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName


class Folder(LocalizationDataModule):
    """Images in class folders.

    Args:
        root: Holds ``train/<class>/`` and perhaps ``val/`` (or ``valid/``, ``validation/``) and ``test/``, or the class
            folders.
        annotations: Reads the annotation of ``val`` and ``test``; null trains and draws heatmaps without measuring
            boxes.
        val_share: Part of the images that is dealt to ``val`` where there is neither ``val/`` nor ``test/``.
        test_share: The same for ``test``. Where one of the two folders is there, half of its images become the other.
        group_by: Finds the group of an image (a patient, a camera) in its file name, a regular expression whose first
            group it is, see :func:`camloc.data.loading.dealing.groups_of`; a group is in one split. Null: no groups.
        on_copies: What becomes of a file that is in two splits, or in one under two classes: ``error``, or
            ``leave_out``, which drops it from the split that is measured, and from a split where it has two classes.
        objectless_classes: Names of classes without objects, such as ``good``: their images count in classification.
        units: Of boxes, where it cannot be told.
        options: See ``LoaderOptions``; ``seed`` also settles who is dealt where.

    Raises:
        FileNotFoundError: If a folder or the annotation is missing.
        ValueError: If a class is not trained on; if an annotation is broken, could belong to two images or is of an
            image of another shape; if no object of an image has its class's name.
        TypeError: If ``annotations`` is not a reader.
    """

    def __init__(
        self,
        root: str,
        annotations: AnnotationReader | None = None,
        val_share: float = 0.15,
        test_share: float = 0.15,
        group_by: str | None = None,
        on_copies: OnCopies = "error",
        objectless_classes: Sequence[str] | None = None,
        units: Units | None = None,
        **options: Unpack[LoaderOptions],
    ) -> None:
        self.root = Path(str(root)).expanduser()
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"datamodule.root={root} is not a folder; give the one with train/ or the class folders"
            )
        if annotations is not None and not isinstance(annotations, get_args(AnnotationReader)):
            raise TypeError(
                f"datamodule.annotations={annotations} is not a reader; choose one with a slash: "
                "datamodule/annotations=voc, coco, csv, masks or none"
            )
        shares = (val_share, test_share)
        if not (all(isinstance(share, int | float) and share > 0 for share in shares) and sum(shares) < 1):
            raise ValueError(f"datamodule.val_share={val_share} and test_share={test_share} must leave images to train")
        if on_copies not in get_args(OnCopies):
            raise ValueError(f"datamodule.on_copies={on_copies} must be error or leave_out")
        mask_endings = masks_next_to_images(self.root, annotations)
        beside = () if annotations is None else suffixes_of(getattr(annotations, "endings", ()))
        self._layout = FolderLayout(self.root, shares, options.get("seed", 0), group_by, mask_endings, beside)
        self._units = units
        self._reader, self._option = annotations, f"datamodule.annotations ({type(annotations).__name__})"
        self._annotations = FolderAnnotations(self._layout, self._option)
        super().__init__(self._layout.class_names, **options)
        self.on_copies, self.split_names = on_copies, self._layout.split_names
        self.objectless = self._objectless(objectless_classes or ())
        if objectless_classes:
            without = some([self.class_names[place] for place in sorted(self.objectless)])
            self.notes.append(f"classes without objects, which count in classification alone: {without}")
        self._copies: Copies | None = None

    def load_split(self, name: SplitName) -> Split:
        """List a split's images; that of ``train`` is read with annotation only where training is to see boxes."""
        part = self._layout.part(name)
        self.dealt = self._layout.dealt
        self.notes += [note for note in self._layout.notes if note not in self.notes]
        if self.on_copies == "leave_out":
            part = self._without_copies(name, part)
        if self._reader is None or not self.reads_boxes(name):
            return FileSplit(self.root, part.image_ids, part.targets)
        split = self._annotated(self._reader, name, part)
        self.notes += [note for note in self._annotations.notes if note not in self.notes]
        has_objects = ~np.isin(part.targets, list(self.objectless))
        if has_objects.any() and not any(len(boxes) for index in range(len(split)) for boxes in split.gt_boxes(index)):
            raise ValueError(
                f"{self._option}: no true box for any of the {len(split)} images of {name}; annotate them, or set "
                "datamodule/annotations=none to go without"
            )
        return split

    def _objectless(self, names: Sequence[str]) -> frozenset[int]:
        places = {_plain(name): place for place, name in enumerate(self.class_names)}
        if unknown := [name for name in names if _plain(name) not in places]:
            raise ValueError(
                f"datamodule.objectless_classes names {', '.join(unknown)}, and there is no such class folder; found "
                f"{some(self.class_names)}"
            )
        return frozenset(places[_plain(name)] for name in names)

    def _without_copies(self, name: SplitName, part: Part) -> Part:
        if self._copies is None:
            parts = {split: self._layout.part(split) for split in self.split_names}
            splits = {split: FileSplit(self.root, one.image_ids, one.targets) for split, one in parts.items()}
            self._copies = find_copies(splits, lambda files, _what, _total: files)
        kept = np.setdiff1d(np.arange(len(part.targets)), self._copies.left_out.get(name, ()))
        self.notes += self._copies.notes(name)
        if not len(kept):
            raise ValueError(f"every image of {name} is a copy of another one, and datamodule.on_copies=leave_out")
        return part._replace(image_ids=part.image_ids[kept], targets=part.targets[kept])

    def _annotated(self, reader: AnnotationReader, name: SplitName, part: Part) -> FileSplit:
        try:
            return self._with_annotation(reader, name, part)
        except FileNotFoundError:
            if set(part.targets.tolist()) <= self.objectless:
                return FileSplit(self.root, part.image_ids, part.targets)  # which needs none
            raise

    def _with_annotation(self, reader: AnnotationReader, name: SplitName, part: Part) -> FileSplit:
        images = [os.fsdecode(image_id) for image_id in part.image_ids]
        if isinstance(reader, MaskFileReader):
            masks = self._annotations.files(reader.endings, part.source)
            found = ImageMaskFiles([masks[image] for image in images], reader)
            split = mask_split(self.root, part.image_ids, part.targets, found)
            self.notes += [f"{name}: {note}" for note in reader.notes()]
            return split
        return FileSplit(self.root, part.image_ids, part.targets, self._boxes(reader, name, part, images))

    def _boxes(
        self, reader: BoxFileReader | BoxTableReader, name: SplitName, part: Part, images: Sequence[str]
    ) -> list[NDArray[np.float64]]:
        """Return the boxes of a split's images, of their classes and cut at their edges."""
        objects = self._annotations.objects(reader, part.source, images)
        self._refuse_empty(objects, part.targets)
        boxes = self._of_class(name, objects, part.targets)
        files = [self.root / image for image in images]
        fitted, notes = fit_objects(boxes, files, objects, self._units)
        self.notes += [f"{name}: {note}" for note in notes]
        return fitted

    def _refuse_empty(self, objects: Sequence[Objects | None], targets: NDArray[np.int64]) -> None:
        """Refuse annotation without objects, but for classes that have none."""
        empty = [
            found.where
            for found, target in zip(objects, targets.tolist(), strict=True)
            if found is not None and not len(found.boxes) and target not in self.objectless
        ]
        if empty:
            fix = "it has no object; annotate the image, remove the file, or see datamodule.objectless_classes"
            raise DataProblems([(where, fix) for where in empty])

    def _of_class(
        self, split: SplitName, objects: Sequence[Objects | None], targets: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        """Keep the objects of each image's class; where no object is named like any class, all of them."""
        named = {_plain(name): name for found in objects if found is not None for name in found.names if name}
        if named.keys().isdisjoint(map(_plain, self.class_names)):
            if named:
                shown = ", ".join(list(named.values())[:3])
                self.notes.append(f"{split}: no object is named like a class, but {shown}; all boxes are taken")
            return [np.zeros((0, 4)) if found is None else found.boxes for found in objects]
        boxes = []
        for found, target in zip(objects, targets.tolist(), strict=True):
            wanted = self.class_names[target]
            if found is not None and target in self.objectless:
                boxes.append(found.boxes)  # any is an error, which the check before a run counts
                continue
            own = None if found is None else [name is None or _plain(name) == _plain(wanted) for name in found.names]
            if found is not None and found.names and not any(own or []):
                raise ValueError(
                    f"{found.where}: the image lies in the folder {wanted} and its objects are named "
                    f"{', '.join(sorted(map(str, set(found.names))))}; make the label maps agree"
                )
            boxes.append(np.zeros((0, 4)) if found is None or own is None else found.boxes[np.array(own, dtype=bool)])
        return boxes


def _plain(name: str) -> str:
    """Return a class's name without what tools write differently: case, outer spaces, the composition of accents."""
    return unicodedata.normalize("NFC", name).strip().casefold()

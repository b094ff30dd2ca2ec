"""Tiny ImageNet-200 in its official layout: small real pictures, all of them with true boxes.

``train/<wnid>/images/*.JPEG`` with ``train/<wnid>/<wnid>_boxes.txt``, ``val/images/*.JPEG`` with
``val/val_annotations.txt``, ``wnids.txt`` (unsorted) and ``words.txt``. Boxes are inclusive pixels of 64x64 pictures.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from camloc.boxes import inclusive_to_half_open
from camloc.data.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.files import FileSplit
from camloc.data.split import Split, SplitName

PICTURE_SIDE = 64


class TinyImageNet(LocalizationDataModule):
    """Tiny ImageNet with a ``val`` split held out from train; the official validation set is ``test``.

    Args:
        root: The unpacked ``tiny-imagenet-200`` folder.
        classes: WordNet ids to use; null takes all of ``wnids.txt``. Class indices follow the sorted ids.
        val_per_class: How many training pictures of each class, the first by number, are held out for ``val``.
        options: See ``LoaderOptions``.

    Raises:
        FileNotFoundError: If the folder lacks a file of the layout.
        ValueError: If a class is unknown, or an annotation is malformed or outside its picture.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] | None = None,
        val_per_class: int = 50,
        **options: Unpack[LoaderOptions],
    ) -> None:
        self.root = Path(root)
        known = self._lines("wnids.txt")
        unknown = sorted(set(classes or ()) - set(known))
        if unknown:
            raise ValueError(
                f"datamodule.classes: {', '.join(unknown)} not in {self.root / 'wnids.txt'} ({len(known)} ids)"
            )
        if classes is not None and not classes:
            raise ValueError("datamodule.classes is empty; give at least one WordNet id, or null for all")
        if val_per_class < 1:
            raise ValueError(f"datamodule.val_per_class must be at least 1, got {val_per_class}")
        self.wnids = sorted(set(classes or known))
        self.val_per_class = val_per_class
        words = dict(line.split("\t", maxsplit=1) for line in self._lines("words.txt"))
        super().__init__([words.get(wnid, wnid).split(",")[0] for wnid in self.wnids], **options)

    def load_split(self, name: SplitName) -> Split:
        """Read a split's annotation files."""
        image_ids: list[str] = []
        targets: list[int] = []
        boxes: list[np.ndarray] = []
        for image_id, target, box in self._test() if name == "test" else self._train(held_out=name == "val"):
            image_ids.append(image_id)
            targets.append(target)
            boxes.append(box)
        return FileSplit(self.root, image_ids, targets, None if name == "train" else boxes)

    def _train(self, *, held_out: bool) -> Iterator[tuple[str, int, np.ndarray]]:
        for target, wnid in enumerate(self.wnids):
            annotation = f"train/{wnid}/{wnid}_boxes.txt"
            rows = sorted(self._rows(annotation, columns=5), key=lambda row: int(row[0].split("_")[1].split(".")[0]))
            if len(rows) <= self.val_per_class:
                raise ValueError(
                    f"{self.root / annotation} lists {len(rows)} pictures; "
                    f"datamodule.val_per_class={self.val_per_class} leaves none for training"
                )
            for file, *box in rows[: self.val_per_class] if held_out else rows[self.val_per_class :]:
                yield f"train/{wnid}/images/{file}", target, self._box(annotation, file, box)

    def _test(self) -> Iterator[tuple[str, int, np.ndarray]]:
        annotation = "val/val_annotations.txt"
        target_of = {wnid: target for target, wnid in enumerate(self.wnids)}
        for file, wnid, *box in self._rows(annotation, columns=6):
            if wnid in target_of:
                yield f"val/images/{file}", target_of[wnid], self._box(annotation, file, box)

    def _box(self, annotation: str, file: str, fields: Sequence[str]) -> np.ndarray:
        where = f"{self.root / annotation}: {file}"
        try:
            x0, y0, x1, y1 = (int(field) for field in fields)
        except ValueError:
            raise ValueError(f"{where}: a box is four whole numbers, got {' '.join(fields)!r}") from None
        if not (0 <= x0 <= x1 < PICTURE_SIDE and 0 <= y0 <= y1 < PICTURE_SIDE):
            raise ValueError(
                f"{where}: box {x0} {y0} {x1} {y1} is inverted or outside its picture "
                f"(pixels 0 to {PICTURE_SIDE - 1}); correct or remove the line"
            )
        return inclusive_to_half_open(torch.tensor([[x0, y0, x1, y1]])).numpy()

    def _rows(self, file: str, columns: int) -> list[list[str]]:
        rows = [line.split("\t") for line in self._lines(file)]
        for number, row in enumerate(rows, start=1):
            if len(row) != columns:
                raise ValueError(
                    f"{self.root / file}, line {number}: expected {columns} tab-separated fields, got {len(row)}"
                )
        return rows

    def _lines(self, file: str) -> list[str]:
        try:
            return (self.root / file).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise FileNotFoundError(
                f"datamodule.root={self.root} has no {file}; give the unpacked tiny-imagenet-200 folder"
            ) from None

"""Tiny ImageNet-200 in its official layout: small real images, all of them with true boxes.

``train/<wnid>/images/*.JPEG`` with ``train/<wnid>/<wnid>_boxes.txt``, ``val/images/*.JPEG`` with
``val/val_annotations.txt``, ``wnids.txt`` (unsorted) and ``words.txt``. Boxes are inclusive pixels of 64x64 images.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import torch

from camloc.boxes import inclusive_to_half_open
from camloc.data.annotations.mask_files import refuse_missing
from camloc.data.annotations.text_files import located_lines
from camloc.data.datasets.imagenet_layouts import unique_names
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName

IMAGE_SIDE = 64
NUMBER = re.compile(r".*_(\d+)\.\w+")


class TinyImageNet(LocalizationDataModule):
    """Tiny ImageNet with a ``val`` split held out from train; the official validation set is ``test``.

    Args:
        root: The unpacked ``tiny-imagenet-200`` folder.
        classes: WordNet ids to use; null takes all of ``wnids.txt``. Class indices follow the sorted ids.
        val_per_class: How many training images of each class, the first by number, are held out for ``val``.
        options: See ``LoaderOptions``.

    Raises:
        FileNotFoundError: If the folder lacks a file of the layout, or an image that one of them names.
        ValueError: If a class is unknown, a line is malformed or repeated, or a box is outside its image.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] | None = None,
        val_per_class: int = 50,
        **options: Unpack[LoaderOptions],
    ) -> None:
        self.root = Path(root)
        self._known = self._read_wnids()
        unknown = sorted(set(classes or ()) - self._known)
        if unknown:
            raise ValueError(
                f"datamodule.classes: {', '.join(unknown)} not in {self.root / 'wnids.txt'} ({len(self._known)} ids)"
            )
        if classes is not None and not classes:
            raise ValueError("datamodule.classes is empty; give at least one WordNet id, or null for all")
        if val_per_class < 1:
            raise ValueError(f"datamodule.val_per_class must be at least 1, got {val_per_class}")
        self.wnids = sorted(set(classes or self._known))
        self.val_per_class = val_per_class
        words = self._read_words()
        super().__init__(unique_names({wnid: words.get(wnid, wnid) for wnid in self.wnids}), **options)

    def load_split(self, name: SplitName) -> Split:
        """Read a split's annotation files."""
        image_ids: list[str] = []
        targets: list[int] = []
        boxes: list[np.ndarray] = []
        for image_id, target, box in self._test() if name == "test" else self._train(held_out=name == "val"):
            image_ids.append(image_id)
            targets.append(target)
            boxes.append(box)
        lists = "val/val_annotations.txt names" if name == "test" else "train/*/*_boxes.txt name"
        files = np.array([image_id.encode() for image_id in image_ids], dtype=np.bytes_)
        refuse_missing(self.root, files, f"{lists}; give the whole tiny-imagenet-200 as datamodule.root")
        return FileSplit(self.root, files, targets, boxes if self.reads_boxes(name) else None)

    def _train(self, *, held_out: bool) -> Iterator[tuple[str, int, np.ndarray]]:
        for target, wnid in enumerate(self.wnids):
            annotation = f"train/{wnid}/{wnid}_boxes.txt"
            rows = sorted(self._rows(annotation, columns=5), key=_number)
            if len(rows) <= self.val_per_class:
                raise ValueError(
                    f"{self.root / annotation} lists {len(rows)} images; "
                    f"datamodule.val_per_class={self.val_per_class} leaves none for training"
                )
            for row in rows[: self.val_per_class] if held_out else rows[self.val_per_class :]:
                yield f"train/{wnid}/images/{row.file}", target, _box(row, row.fields)

    def _test(self) -> Iterator[tuple[str, int, np.ndarray]]:
        target_of = {wnid: target for target, wnid in enumerate(self.wnids)}
        for row in self._rows("val/val_annotations.txt", columns=6):
            wnid, *box = row.fields
            if wnid not in self._known:
                raise ValueError(f"{row.where}: {row.file} is of class {wnid!r}, which wnids.txt lacks; add it there")
            if wnid in target_of:
                yield f"val/images/{row.file}", target_of[wnid], _box(row, box)

    def _rows(self, file: str, columns: int) -> list["_Row"]:
        """Return the lines of a file, each on another image."""
        rows: dict[str, _Row] = {}
        for where, line in self._lines(file):
            name, *fields = line.split("\t")
            if len(fields) + 1 != columns:
                raise ValueError(f"{where}: expected {columns} tab-separated fields, got {len(fields) + 1}")
            if "/" in name:  # it may lead out of the folder, and one image would have several names
                raise ValueError(f"{where}: expected the name of a file in the folder images, found {name!r}")
            if name in rows:
                raise ValueError(f"{where}: {name} is listed in {rows[name].where} already; remove one of the lines")
            rows[name] = _Row(where, name, fields)
        return list(rows.values())

    def _read_wnids(self) -> set[str]:
        wnids = set()
        for where, line in self._lines("wnids.txt"):
            if not re.fullmatch(r"\w+", line.strip()):
                raise ValueError(f"{where}: expected one WordNet id, as n01443537, found {line!r}")
            wnids.add(line.strip())
        return wnids

    def _read_words(self) -> dict[str, str]:
        """Return the first word of each WordNet id."""
        words = {}
        for where, line in self._lines("words.txt"):
            wnid, _, listed = line.partition("\t")
            word = listed.split(",")[0].strip()
            if not word:
                raise ValueError(f"{where}: expected a WordNet id, a tab and its words, found {line!r}")
            words[wnid] = word
        return words

    def _lines(self, file: str) -> list[tuple[str, str]]:
        try:
            return located_lines(self.root / file)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"datamodule.root={self.root} has no {file}; give the unpacked tiny-imagenet-200 folder"
            ) from None


class _Row(NamedTuple):
    """A line on an image."""

    where: str
    file: str
    fields: list[str]


def _number(row: _Row) -> int:
    match = NUMBER.fullmatch(row.file)
    if not match:
        raise ValueError(f"{row.where}: expected a file name with a number, as n01443537_0.JPEG, found {row.file!r}")
    return int(match[1])


def _box(row: _Row, fields: Sequence[str]) -> np.ndarray:
    try:
        x0, y0, x1, y1 = (int(field) for field in fields)
    except ValueError:
        raise ValueError(f"{row.where}: a box is four whole numbers, got {' '.join(fields)!r}") from None
    if not (0 <= x0 <= x1 < IMAGE_SIDE and 0 <= y0 <= y1 < IMAGE_SIDE):
        raise ValueError(
            f"{row.where}: the box {x0} {y0} {x1} {y1} of {row.file} is inverted or outside its image "
            f"(pixels 0 to {IMAGE_SIDE - 1}); correct or remove the line"
        )
    return inclusive_to_half_open(torch.tensor([[x0, y0, x1, y1]])).numpy()

"""CUB-200-2011 in its official layout: 200 bird species, one box in every image.

``images.txt`` with ``id path``, ``image_class_labels.txt`` with ``id class`` (from 1), ``train_test_split.txt`` with
``id 1`` for training and ``id 0`` for testing, ``classes.txt`` with ``class name``, ``bounding_boxes.txt`` with
``id x y width height`` in pixels, and images below ``images`` (Wah et al., 2011).
"""

from pathlib import Path, PurePosixPath
from typing import TypeVar, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from camloc.data.annotations.mask_files import refuse_missing
from camloc.data.annotations.text_files import read_lines
from camloc.data.datasets.wsol_metadata import leaves_folder
from camloc.data.datasets.wsol_splits import wsol_split
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName

Number = TypeVar("Number", bound=np.generic)


class Cub(LocalizationDataModule):
    """CUB-200-2011; ``test`` is the official test set, ``val`` is held out from the training set or comes from CUBV2.

    Args:
        root: The unpacked ``CUB_200_2011`` folder.
        val_per_class: How many training images of each class, the first by id, are held out for ``val``; none are
            where ``metadata`` is given.
        metadata: ``metadata/CUB`` of wsolevaluation: its ``val`` names the images of CUBV2, its ``test`` the official
            test set with whole-numbered boxes; null takes everything from ``root``.
        val_root: CUBV2's folder of class folders, for the ``val`` of ``metadata``.
        options: See ``LoaderOptions``.

    Raises:
        FileNotFoundError: If a file of the layout or an image is missing.
        ValueError: If a line is malformed, or ids or classes disagree among files.
    """

    def __init__(
        self,
        root: str,
        val_per_class: int = 5,
        metadata: str | None = None,
        val_root: str | None = None,
        **options: Unpack[LoaderOptions],
    ) -> None:
        self.root = Path(root)
        self.metadata = None if metadata is None else Path(metadata)
        self.val_root, self.val_per_class = val_root, val_per_class
        if val_per_class < 1:
            raise ValueError(f"datamodule.val_per_class must be at least 1, got {val_per_class}")
        if (metadata is None) != (val_root is None):
            raise ValueError(
                f"datamodule.metadata={metadata} and datamodule.val_root={val_root}: give both, the folder "
                "metadata/CUB of wsolevaluation and the images of CUBV2, or leave both null"
            )
        classes = _Table(self.root / "classes.txt", columns=1)
        name_of = dict(zip(classes.keys.tolist(), classes.fields, strict=True))
        self._folders = [name_of[number][0] for number in sorted(name_of)]
        missing = sorted(set(range(1, len(name_of) + 1)) - set(name_of))
        if missing:
            raise ValueError(f"{classes.path} has no class {missing[0]}; classes run from 1")
        super().__init__([name.partition(".")[2].replace("_", " ") or name for name in self._folders], **options)

    def load_split(self, name: SplitName) -> Split:
        """Read the annotation files and pick a split's lines."""
        if self.metadata is not None and name == "val":
            return wsol_split(
                Path(str(self.val_root)),
                self.metadata / name,
                self._folders,
                option="datamodule.val_root",
                with_boxes=self.reads_boxes(name),
            )
        images = self.root / "images"
        if self.metadata is not None and name == "test":
            return wsol_split(images, self.metadata / name, self._folders)
        listed = _Table(self.root / "images.txt", columns=1)
        paths = [path for (path,) in listed.fields]
        listed.refuse([leaves_folder(path) for path in paths], "the image lies outside images")
        listed.refuse(_repeated(paths), "the image has a number already")
        targets = self._targets(listed, paths)
        chosen = self._chosen(name, listed, targets)
        files = np.array([path.encode() for path in paths], dtype=np.bytes_)[chosen]
        refuse_missing(images, files, f"{listed.path} names; see datamodule.root")
        boxes = list(self._boxes(listed)[chosen, None]) if self.reads_boxes(name) else None
        return FileSplit(images, files, targets[chosen], boxes)

    def _targets(self, images: "_Table", paths: list[str]) -> NDArray[np.int64]:
        """Return (N,) classes, which the images' folders must agree with."""
        labels = _Table(self.root / "image_class_labels.txt", columns=1)
        numbers = labels.numbers().astype(np.int64)[:, 0]
        labels.refuse((numbers < 1) | (numbers > self.num_classes), f"a class is 1 to {self.num_classes}")
        targets = labels.in_order_of(images, numbers - 1)
        folders = [PurePosixPath(path).parent.name for path in paths]
        wrong = [folder != self._folders[target] for folder, target in zip(folders, targets.tolist(), strict=True)]
        images.refuse(wrong, f"the folder is not the class that {labels.path.name} and classes.txt give the image")
        return targets

    def _chosen(self, name: SplitName, images: "_Table", targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in ``images`` of a split's images, by id."""
        parts = _Table(self.root / "train_test_split.txt", columns=1)
        flags = parts.numbers()[:, 0]
        parts.refuse((flags != 0) & (flags != 1), "expected 1 for training or 0 for testing")
        for_training = parts.in_order_of(images, flags) == 1
        by_id = np.argsort(images.keys)
        if name == "test":
            return np.asarray(by_id[~for_training[by_id]])
        train = np.asarray(by_id[for_training[by_id]])
        if self.metadata is not None:
            return train
        number = np.zeros(len(train), dtype=np.int64)  # of an image within its class, by id
        for target, class_name in enumerate(self._folders):
            of_class = np.flatnonzero(targets[train] == target)
            if len(of_class) <= self.val_per_class:
                raise ValueError(
                    f"{parts.path} has {len(of_class)} training images of {class_name}; "
                    f"datamodule.val_per_class={self.val_per_class} leaves none for training"
                )
            number[of_class] = np.arange(len(of_class))
        return np.asarray(train[(number < self.val_per_class) == (name == "val")])

    def _boxes(self, images: "_Table") -> NDArray[np.float64]:
        """Return (N,4) half-open xyxy pixels; widths and heights are lengths, so nothing is added."""
        table = _Table(self.root / "bounding_boxes.txt", columns=4)
        xywh = table.numbers()
        table.refuse(~np.all(np.isfinite(xywh), axis=1) | np.any(xywh[:, 2:] <= 0, axis=1), "the box has no area")
        boxes = table.in_order_of(images, xywh)
        boxes[:, 2:] += boxes[:, :2]
        return boxes


class _Table:
    """A file with lines ``number field ...``, each number once, in any order.

    Args:
        path: The file.
        columns: How many fields follow the number.
    """

    def __init__(self, path: Path, columns: int) -> None:
        self.path = path
        try:
            self.lines = read_lines(path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"datamodule.root={path.parent} has no {path.name}; give the unpacked CUB_200_2011 folder"
            ) from None
        rows = [line.split() for line in self.lines]
        bad = [len(row) != columns + 1 or not (row[0].isascii() and row[0].isdigit()) for row in rows]
        self.refuse(bad, f"expected a whole number and {columns} field{'s' * (columns > 1)}")
        self.keys = np.array([int(row[0]) for row in rows])
        self.fields = [row[1:] for row in rows]
        self.refuse(_repeated(self.keys), "the number has a line already")

    def refuse(self, bad: ArrayLike, reason: str) -> None:
        """Raise for the first bad line, if there is one."""
        if np.any(bad):
            line = int(np.argmax(bad))
            raise ValueError(f"{self.path}, line {line + 1}: {reason}; found {self.lines[line]!r}")

    def numbers(self) -> NDArray[np.float64]:
        """Return (L,columns), the fields as numbers."""
        try:
            return np.array(self.fields, dtype=np.float64)
        except ValueError:
            self.refuse([not all(map(_is_number, row)) for row in self.fields], "expected numbers")
            raise

    def in_order_of(self, images: "_Table", values: NDArray[Number]) -> NDArray[Number]:
        """Return the lines' values (L,...) in the order of ``images``."""
        unknown = ~np.isin(self.keys, images.keys)
        self.refuse(unknown, f"the image is not in {images.path.name}")
        missing = images.keys[~np.isin(images.keys, self.keys)]
        if len(missing):
            raise ValueError(
                f"{self.path} lacks {len(missing)} of the {len(images.keys)} images of {images.path.name}: "
                f"number {missing[0]}, ..."
            )
        order = np.argsort(self.keys)
        return np.asarray(values[order[np.searchsorted(self.keys, images.keys, sorter=order)]])


def _repeated(values: ArrayLike) -> NDArray[np.bool_]:
    """Return (L,), which of the values occur before."""
    firsts = np.unique(values, return_index=True)[1]
    return ~np.isin(np.arange(np.size(values)), firsts)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True

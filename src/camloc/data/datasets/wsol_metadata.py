"""Image ids, labels, sizes and boxes or masks in the files of wsolevaluation; no image is needed.

A folder per split (Choe et al., CVPR 2020), CSV without header or quotes: ``image_ids.txt`` with ``path``,
``class_labels.txt`` with ``path,label``, ``image_sizes.txt`` with ``path,width,height`` and ``localization.txt`` with
``path,x0,y0,x1,y1``, a line per box in inclusive pixels, or ``path,mask,ignore``, a line per instance, where only an
image's first line may name a file of pixels to ignore. With masks ``image_sizes.txt`` is empty.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from camloc.boxes import inclusive_to_half_open
from camloc.data.annotations.mask_files import InstanceMasks
from camloc.data.annotations.text_files import read_lines

BOX_LINE, MASK_LINE = "path,x0,y0,x1,y1", "path,mask,ignore"


class WsolMetadata:
    """What score maps of one split are measured against, in arrays that loader workers share.

    Args:
        metadata: Folder of the split's four files.
        masks: Folder that the mask files of ``localization.txt`` are relative to; null where it holds boxes.
        unannotated: Whether ``localization.txt`` is not to be opened; nobody may ask for boxes or masks then.

    Raises:
        FileNotFoundError: If a file or the mask folder is missing.
        ValueError: If a line is malformed, a box is inverted or outside its image, a mask is outside its folder, or
            an image is in one file and not in another.

    Example:
        >>> import tempfile
        >>> lines = {
        ...     "image_ids": "a.jpg",
        ...     "class_labels": "a.jpg,3",
        ...     "image_sizes": "a.jpg,500,300",
        ...     "localization": "a.jpg,0,10,99,59",
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, line in lines.items():
        ...         _ = Path(folder, f"{name}.txt").write_text(line)
        ...     metadata = WsolMetadata(folder)
        >>> metadata.image_id(0), metadata.target(0), metadata.image_size(0), metadata.gt_boxes(0)
        ('a.jpg', 3, (300, 500), tensor([[  0.,  10., 100.,  60.]]))
    """

    def __init__(self, metadata: str, masks: str | None = None, *, unannotated: bool = False) -> None:
        folder = Path(metadata)
        index_of = _index_of(folder / "image_ids.txt")
        self._image_ids = _byte_array(list(index_of))

        labels = _Table(folder / "class_labels.txt", index_of, "path,label")
        targets = labels.numbers()[:, 0]
        labels.refuse(targets < 0, "a class label is 0 or more")
        self._targets = labels.one_per_image(targets)

        self._localization, self._image_sizes = folder / "localization.txt", folder / "image_sizes.txt"
        if unannotated:
            return
        self.has_masks = _lines(self._localization)[0].count(",") == MASK_LINE.count(",")
        if self.has_masks and self._image_sizes.is_file() and not self._image_sizes.read_bytes().strip():
            self._sizes = np.zeros((0, 2), np.int64)
        else:
            sizes = _Table(self._image_sizes, index_of, "path,width,height")
            widths_heights = sizes.numbers()
            sizes.refuse(np.any(widths_heights < 1, axis=1), "width and height are at least 1")
            self._sizes = sizes.one_per_image(widths_heights[:, ::-1])

        objects = _Table(self._localization, index_of, MASK_LINE if self.has_masks else BOX_LINE)
        # An image's lines stay in their order, but need not follow one another.
        order = np.argsort(objects.index, kind="stable")
        self._first = np.concatenate([[0], np.cumsum(np.bincount(objects.index))])
        if self.has_masks:
            files, ignore_files = _checked_masks(objects, order, order[self._first[:-1]])
            named_in = f"{self._localization} names; see datamodule.masks"
            self._masks = InstanceMasks(self._checked_root(masks), files, self._first, ignore_files, named_in)
        else:
            self._boxes = _checked_boxes(objects, self._sizes)[order]

    def __len__(self) -> int:
        """Return N."""
        return len(self._image_ids)

    @property
    def num_classes(self) -> int:
        """C, one more than the largest target."""
        return int(self._targets.max()) + 1

    def image_id(self, index: int) -> str:
        """Return the image's name, also that of its score map."""
        return bytes(self._image_ids[index]).decode()

    def target(self, index: int) -> int:
        """Return the true class, 0-based."""
        return int(self._targets[index])

    def image_size(self, index: int) -> tuple[int, int]:
        """Return ``(height, width)`` in pixels.

        Raises:
            ValueError: If the metadata has masks and no sizes.
        """
        if len(self._sizes) == 0:
            raise ValueError(f"{self._image_sizes} is empty, so image sizes are unknown")
        height, width = self._sizes[index].tolist()
        return height, width

    def gt_boxes(self, index: int) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the image.

        Raises:
            ValueError: If the metadata has masks.
        """
        return inclusive_to_half_open(self.inclusive_boxes(index).float())

    def inclusive_boxes(self, index: int) -> Tensor:
        """Return (M,4) int64 xyxy pixels as annotated, the last row and column still in the box.

        Raises:
            ValueError: If the metadata has masks.
        """
        if self.has_masks:
            raise ValueError(f"{self._localization} holds masks and no boxes")
        return torch.tensor(self._boxes[self._lines_of(index)])

    @property
    def instance_masks(self) -> InstanceMasks:
        """The mask files, by index.

        Raises:
            ValueError: If the metadata has boxes.
        """
        if not self.has_masks:
            raise ValueError(f"{self._localization} holds boxes and no masks")
        return self._masks

    def masks(self, index: int, size: tuple[int, int] = (224, 224)) -> tuple[Tensor, Tensor]:
        """Return ``(mask, ignore)``, each (height,width) bool at ``size``; see ``InstanceMasks.read``.

        Raises:
            FileNotFoundError: If a mask file is missing.
            ValueError: If one cannot be read, or the metadata has boxes.
        """
        return self.instance_masks.read(index, size)

    def _lines_of(self, index: int) -> slice:
        return slice(self._first[index], self._first[index + 1])

    def _checked_root(self, masks: str | None) -> Path:
        if masks is None:
            raise ValueError(f"{self._localization} names mask files; give their folder as datamodule.masks")
        if not Path(masks).is_dir():
            raise FileNotFoundError(f"datamodule.masks={masks} is not a folder; {self._localization} names files in it")
        return Path(masks)


def leaves_folder(path: str) -> bool:
    """Tell whether a relative path leads out of the folder it is relative to.

    Example:
        >>> leaves_folder("a/b.png"), leaves_folder("a/../../b.png"), leaves_folder("/b.png")
        (False, True, True)
    """
    return Path(path).is_absolute() or Path(os.path.normpath(path)).parts[:1] == ("..",)


class _Table:
    """One file with a line or more per image: whose each line is, and its other fields.

    Args:
        path: The file.
        index_of: Index by image id; every image needs a line.
        line: The names of a line's fields in order, the image id's first.
    """

    def __init__(self, path: Path, index_of: Mapping[str, int], line: str) -> None:
        self.path, self.lines = path, _lines(path)
        self.refuse([text.count(",") != line.count(",") for text in self.lines], f"expected {line}")
        image_ids, _, values = zip(*(text.partition(",") for text in self.lines), strict=True)
        self.refuse([image_id not in index_of for image_id in image_ids], "the image is not in image_ids.txt")
        self.index = np.array([index_of[image_id] for image_id in image_ids])
        # One list for all lines: with one for each the garbage collector takes as long as the rest.
        self.fields = ",".join(values).split(",")
        missing = np.bincount(self.index, minlength=len(index_of)) == 0
        if missing.any():
            first = list(index_of)[int(missing.argmax())]
            raise ValueError(f"{path} lacks {missing.sum()} of {len(index_of)} images of image_ids.txt: {first}, ...")

    def refuse(self, bad: ArrayLike, reason: str) -> None:
        """Raise for the first bad line, if there is one."""
        if np.any(bad):
            line = int(np.argmax(bad))
            raise ValueError(f"{self.path}, line {line + 1}: {reason}; found {self.lines[line]!r}")

    def numbers(self) -> NDArray[np.int64]:
        """Return (L,k), the fields after the image id as whole numbers."""
        try:
            return np.array([int(field) for field in self.fields], dtype=np.int64).reshape(len(self.lines), -1)
        except (ValueError, OverflowError):
            broken = np.reshape([not _is_whole(field) for field in self.fields], (len(self.lines), -1))
            self.refuse(np.any(broken, axis=1), "expected whole numbers")
            raise

    def one_per_image(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lines' values (L,...) by image (N,...)."""
        firsts = np.unique(self.index, return_index=True)[1]
        repeats = np.ones(len(self.index), dtype=bool)
        repeats[firsts] = False
        self.refuse(repeats, "the image has a line already")
        return values[firsts]


def _is_whole(field: str) -> bool:
    try:
        return abs(int(field)) <= np.iinfo(np.int64).max
    except ValueError:
        return False


def _checked_boxes(boxes: _Table, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the (L,4) boxes in the file's order; ``sizes`` (N,2) are the images'."""
    corners = boxes.numbers()
    x0y0, x1y1 = corners[:, :2], corners[:, 2:]
    fits = (x0y0 >= 0) & (x0y0 <= x1y1) & (x1y1 < sizes[boxes.index, ::-1])
    boxes.refuse(~np.all(fits, axis=1), "the box is inverted or outside its image, whose first pixel is 0")
    return corners


def _checked_masks(
    masks: _Table, order: NDArray[np.int64], firsts: NDArray[np.int64]
) -> tuple[NDArray[np.bytes_], NDArray[np.bytes_]]:
    """Return (L,) mask files by image and (N,) ignore files, empty for none; ``firsts`` are the images' first lines."""
    files = np.reshape(masks.fields, (-1, 2))
    masks.refuse(files[:, 0] == "", "no mask file is named")
    masks.refuse([any(map(leaves_folder, line)) for line in files.tolist()], "a file lies outside the mask folder")
    ignored_again = files[:, 1] != ""
    ignored_again[firsts] = False
    masks.refuse(ignored_again, "only an image's first line names what to ignore")
    return _byte_array(files[order, 0]), _byte_array(files[firsts, 1])


def _index_of(path: Path) -> dict[str, int]:
    """Return the index of each image id, in the file's order."""
    index_of: dict[str, int] = {}
    for index, image_id in enumerate(_lines(path)):
        if not image_id or "," in image_id:
            raise ValueError(f"{path}, line {index + 1}: expected one path without a comma, found {image_id!r}")
        if index_of.setdefault(image_id, index) != index:
            raise ValueError(f"{path}, line {index + 1}: {image_id} is in line {index_of[image_id] + 1} already")
    return index_of


def _lines(path: Path) -> list[str]:
    try:
        return read_lines(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no {path.name} in datamodule.metadata={path.parent}; give a split's folder of wsolevaluation metadata"
        ) from None


def _byte_array(texts: Sequence[str] | NDArray[np.str_]) -> NDArray[np.bytes_]:
    """Return fixed-width bytes: one Python object each would be copied into every worker by reference counting."""
    return np.array([text.encode() for text in texts], dtype=np.bytes_)

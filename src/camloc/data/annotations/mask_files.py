"""Objects outlined in mask files, in pixels of their images, and the boxes around them."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from camloc.boxes import rescale
from camloc.data.images.decode import read_image_size
from camloc.data.images.headers import MAX_BYTES, check_header
from camloc.data.images.regular import read_regular
from camloc.data.loading.files import FileSplit

ASPECTS_DIFFER = 0.02
SHOW_PROGRESS_FROM = 500
"""Images from which reading their masks takes longer than two seconds on one core."""


class ObjectMasks(Protocol):
    """The objects of each image of a split."""

    def read(self, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (height,width) bool at ``size``; no pixel is in both. Null without a mask."""

    def boxes(self, index: int, size: tuple[int, int] | None) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the image of ``size``; null takes the mask's own pixels."""


class InstanceMasks:
    """A mask file per object and optionally one of pixels to ignore; every grey level above 0 is inside.

    Args:
        root: Folder that the files are relative to.
        files: (L,) mask files, those of an image one after the other.
        first: (N+1,) where each image's files begin, and L.
        ignore_files: (N,) files of what to ignore, empty for none.
        named_in: What names the files and which option to change, for messages: ``FILE names; see OPTION``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = cv2.imwrite(f"{folder}/a.png", np.uint8([[0, 255, 0, 0]]))
        ...     _ = cv2.imwrite(f"{folder}/b.png", np.uint8([[0, 0, 0, 255]]))
        ...     objects = InstanceMasks(Path(folder), np.array([b"a.png", b"b.png"]), np.array([0, 2]), np.array([b""]))
        ...     objects.read(0, (1, 4))[0], objects.boxes(0, (1, 4))
        (tensor([[False,  True, False,  True]]), tensor([[1., 0., 2., 1.],
                [3., 0., 4., 1.]]))
    """

    def __init__(
        self,
        root: Path,
        files: NDArray[np.bytes_],
        first: NDArray[np.int64],
        ignore_files: NDArray[np.bytes_],
        named_in: str = "the data set names",
    ) -> None:
        self.root, self.named_in = root, named_in
        self.files, self.ignore_files = files, ignore_files
        self._first = first

    def read(self, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Unite an image's instances.

        As wsolevaluation does: each file resized to the nearest pixel, and pixels of an instance not ignored.

        Args:
            index: Of the image.
            size: ``(height, width)`` that is wanted.

        Returns:
            ``(mask, ignore)``, each (height,width) bool; no pixel is in both.

        Raises:
            FileNotFoundError: If a mask file is missing.
            ValueError: If one cannot be read.
        """
        mask, ignore = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        for name in self._files_of(index):
            mask |= resize_levels(self._levels(name), size) > 0
        if self.ignore_files[index]:
            ignore = (resize_levels(self._levels(self.ignore_files[index]), size) > 0) & ~mask
        return torch.from_numpy(mask), torch.from_numpy(ignore)

    def boxes(self, index: int, size: tuple[int, int] | None) -> Tensor:
        """Return (M,4) float32, a tight half-open box per instance in the order of the files; empty files have none.

        Raises:
            FileNotFoundError: If a mask file is missing.
            ValueError: If one cannot be read.
        """
        return torch.cat([tight_box(self._levels(name), size) for name in self._files_of(index)])

    def _files_of(self, index: int) -> NDArray[np.bytes_]:
        return self.files[self._first[index] : self._first[index + 1]]

    def _levels(self, name: bytes) -> NDArray[np.uint8]:
        return read_levels(self.root / os.fsdecode(name), self.named_in)


class ImageMasks:
    """The masks of images in their pixels, read each time they are asked for; loader workers may be sent this.

    Args:
        root: Folder that ``image_ids`` are relative to.
        image_ids: (N,) image files below ``root``.
        objects: The masks, which outline the images upright, as they are shown.
    """

    def __init__(self, root: Path, image_ids: NDArray[np.bytes_], objects: ObjectMasks) -> None:
        self._root, self._image_ids, self._objects = root, image_ids, objects

    def __call__(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (1,H,W) bool pixels of the image; null for an image without masks."""
        masks = self._objects.read(index, read_image_size(self._image(index)))
        return None if masks is None else (masks[0][None], masks[1][None])

    def boxes(self, index: int) -> NDArray[np.float32]:
        """Return (M,4) half-open xyxy pixels of the image."""
        try:
            size = read_image_size(self._image(index))
        except (OSError, ValueError):  # reported when the image itself is opened, or left out
            size = None
        return self._objects.boxes(index, size).numpy()

    def _image(self, index: int) -> Path:
        return self._root / os.fsdecode(bytes(self._image_ids[index]))


def mask_split(
    root: Path, image_ids: NDArray[np.bytes_], targets: Sequence[int] | NDArray[np.int64], objects: ObjectMasks
) -> FileSplit:
    """Make a split of images and masks: the boxes around the masks are found now, the masks are read when asked for.

    Args:
        root: Folder that ``image_ids`` are relative to.
        image_ids: (N,) image files below ``root``.
        targets: (N,) true classes, 0-based.
        objects: The images' masks, by the same index.

    Raises:
        FileNotFoundError: If an image or a mask is missing.
        ValueError: If a mask cannot be read.
    """
    masks, total = ImageMasks(root, image_ids, objects), len(image_ids)
    with ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
        boxes = pool.map(masks.boxes, range(total))
        quick = total < SHOW_PROGRESS_FROM
        shown = track(boxes, "boxes around masks", total, transient=True, disable=quick)
        return FileSplit(root, image_ids, targets, list(shown), masks)


def read_levels(path: Path, named_in: str) -> NDArray[np.uint8]:
    """Decode a mask file to (H,W) grey levels.

    Args:
        path: A PNG or another format that images have.
        named_in: What names the file and which option to change, for messages: ``FILE names; see OPTION``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, cannot be decoded, or its header states more than
            :data:`~camloc.data.images.headers.MAX_PIXELS`.
    """
    try:
        encoded = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        raise FileNotFoundError(f"no mask {path}, which {named_in}") from None
    try:
        check_header(io.BytesIO(encoded))
    except ValueError as error:
        raise ValueError(f"cannot read the mask {path}: {error}") from None
    levels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    if levels is None:
        raise ValueError(f"cannot read the mask {path}: it is cut off")
    return np.asarray(levels, dtype=np.uint8)


def refuse_other_aspect(levels: NDArray[np.generic], size: tuple[int, int] | None, path: Path) -> None:
    """Refuse a mask of another shape than its image: stretched over the image, it would not outline the object.

    Args:
        levels: (h,w) of the mask, which may be smaller or larger than its image.
        size: ``(height, width)`` of the image as it is shown; null where it is unknown.
        path: Of the mask.

    Raises:
        ValueError: If width over height differ by more than a pixel and two hundredths.
    """
    if size is None:
        return
    (height, width), (rows, columns) = size, levels.shape
    if abs(columns * height - rows * width) > max(ASPECTS_DIFFER * rows * width, height, width, rows, columns):
        turned = " (the mask is of the image before EXIF turned it)" if (columns, rows) == size else ""
        raise ValueError(
            f"the mask {path} is {columns} by {rows} pixels and its image, as it is shown, {width} by {height}: "
            f"another shape{turned}; draw it on the image as it is shown"
        )


def resize_levels(levels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return (H,W) grey levels resized to ``(height, width)``, each pixel one of the old ones."""
    height, width = size
    return np.asarray(cv2.resize(levels, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def tight_box(levels: NDArray[np.uint8], size: tuple[int, int] | None = None) -> Tensor:
    """Box what is above 0, in pixels of an image that may have another size.

    The box is rescaled, not the mask, so that a small object does not vanish between two pixels.

    Args:
        levels: (H,W).
        size: ``(height, width)`` of the image; null for ``(H, W)``.

    Returns:
        (1,4) float32 half-open xyxy pixels of the image, (0,4) where nothing is above 0.

    Example:
        >>> tight_box(np.uint8([[0, 9, 9, 0]]), size=(2, 8))
        tensor([[2., 0., 6., 2.]])
    """
    x, y, width, height = cv2.boundingRect(levels)
    if width == 0:
        return torch.zeros(0, 4)
    box = torch.tensor([[x, y, x + width, y + height]], dtype=torch.float32)
    rows, columns = levels.shape
    return rescale(box, (rows, columns), size or (rows, columns))


def refuse_missing(root: Path, files: NDArray[np.bytes_], named_in: str) -> None:
    """Raise if files are missing, before a run needs them.

    Args:
        root: Folder that the files are relative to.
        files: (L,) paths, empty ones for no file.
        named_in: What names the files and which option to change, for messages: ``FILE names; see OPTION``.

    Raises:
        FileNotFoundError: Naming one and how many there are.
    """
    names = [os.fsdecode(name) for name in files.tolist() if name]
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{root} lacks {len(missing)} of {len(names)} files, {missing[0]}, which {named_in}")

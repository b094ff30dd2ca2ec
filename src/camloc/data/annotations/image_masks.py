"""A mask image per image: every level above 0 is an object, every piece of it has a box."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from camloc.boxes import rescale
from camloc.data.annotations.mask_files import refuse_other_aspect, resize_levels

FORMATS = ("PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG")


class ImageMaskFiles:
    """The masks of N images, for :func:`camloc.data.annotations.mask_files.mask_split`.

    Args:
        files: N mask files, None for images without.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "1.png")
        ...     _ = cv2.imwrite(str(file), np.uint8([[255, 255, 0, 9]]))
        ...     ImageMaskFiles([file, None]).boxes(0, (1, 4))
        tensor([[0., 0., 2., 1.],
                [3., 0., 4., 1.]])
    """

    def __init__(self, files: Sequence[Path | None]) -> None:
        # Fixed-width bytes: one Python object each would be copied into every worker by reference counting.
        self._files = np.array([os.fsencode(file or "") for file in files], dtype=np.bytes_)

    def read(self, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return ``(mask, ignore)``, each (height,width) bool; nothing is ignored.

        Raises:
            ValueError: If the file cannot be read.
        """
        mask = np.zeros(size, dtype=bool)
        if self._files[index]:
            mask = resize_levels(read_mask(self._path(index)), size) > 0
        return torch.from_numpy(mask), torch.zeros(size, dtype=torch.bool)

    def boxes(self, index: int, size: tuple[int, int] | None) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the image, one per 8-connected piece.

        Raises:
            ValueError: If the file cannot be read, or is not of the image's shape.
        """
        if not self._files[index]:
            return torch.zeros(0, 4)
        levels = read_mask(self._path(index))
        refuse_other_aspect(levels, size, self._path(index))
        pieces = cv2.connectedComponentsWithStats(levels, connectivity=8)[2][1:]
        x, y, width, height = torch.from_numpy(pieces[:, :4].astype(np.float32)).unbind(dim=1)
        boxes = torch.stack([x, y, x + width, y + height], dim=1)
        return boxes if size is None else rescale(boxes, (levels.shape[0], levels.shape[1]), size)

    def _path(self, index: int) -> Path:
        return Path(os.fsdecode(bytes(self._files[index])))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the (H,W) mask of a file, 1 inside.

    A palette's index and 16 bits count as they are, whatever grey they are shown in, which OpenCV would read instead.
    Of colours any channel counts, and where they are the same everywhere, alpha does.

    Raises:
        ValueError: If the file cannot be read.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            pixels = np.array(image)
    except Exception as error:  # Pillow raises whatever a broken file provokes
        raise ValueError(f"cannot read the mask {path}: {error}; draw it anew, or take it away") from error
    if pixels.ndim == 3:  # noqa: PLR2004 - with channels
        has_alpha = image.mode in ("LA", "RGBA")
        colours = pixels[..., :-1] if has_alpha else pixels
        alpha = pixels[..., -1] if has_alpha else np.ones_like(pixels[..., 0])
        is_flat = has_alpha and bool((colours == colours[0, 0]).all())
        pixels = alpha if is_flat else colours.any(axis=2) & (alpha > 0)
    return (pixels > 0).astype(np.uint8)

"""A mask file per image: every piece of the mask has a box."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.boxes import rescale
from camloc.data.annotations.contract import IGNORED, INSIDE, MaskFileReader
from camloc.data.annotations.mask_files import refuse_other_aspect, resize_levels


class ImageMaskFiles:
    """The masks of N images, for :func:`camloc.data.annotations.mask_files.mask_split`.

    Args:
        files: N mask files, None for images without.
        reader: Of their format.

    Example:
        >>> import tempfile
        >>> from camloc.data.annotations.mask_images import MaskReader
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "1.png")
        ...     _ = cv2.imwrite(str(file), np.uint8([[255, 255, 0, 9]]))
        ...     ImageMaskFiles([file, None], MaskReader()).boxes(0, (1, 4))
        tensor([[0., 0., 2., 1.],
                [3., 0., 4., 1.]])
    """

    def __init__(self, files: Sequence[Path | None], reader: MaskFileReader) -> None:
        self._reader = reader
        # Fixed-width bytes: one Python object each would be copied into every worker by reference counting.
        self._files = np.array([os.fsencode(file or "") for file in files], dtype=np.bytes_)

    def read(self, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (height,width) bool; no pixel is in both. Null for an image without a mask.

        Raises:
            ValueError: If the file cannot be read.
        """
        if not self._files[index]:
            return None
        levels = resize_levels(self._reader.read(self._path(index)), size)
        return torch.from_numpy(levels == INSIDE), torch.from_numpy(levels == IGNORED)

    def boxes(self, index: int, size: tuple[int, int] | None) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the image, one per 8-connected piece.

        Raises:
            ValueError: If the file cannot be read, or is not of the image's shape.
        """
        if not self._files[index]:
            return torch.zeros(0, 4)
        levels = self._reader.read(self._path(index))
        refuse_other_aspect(levels, size, self._path(index))
        boxes = torch.from_numpy(piece_boxes((levels == INSIDE).astype(np.uint8)))
        return boxes if size is None else rescale(boxes, (levels.shape[0], levels.shape[1]), size)

    def _path(self, index: int) -> Path:
        return Path(os.fsdecode(bytes(self._files[index])))


def piece_boxes(inside: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (M,4) half-open xyxy pixels, one box around each 8-connected piece of an (H,W) mask, 1 inside.

    Example:
        >>> piece_boxes(np.uint8([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])).tolist()
        [[0.0, 0.0, 2.0, 2.0], [2.0, 3.0, 3.0, 4.0]]
    """
    x, y, width, height = cv2.connectedComponentsWithStats(inside, connectivity=8)[2][1:, :4].astype(np.float32).T
    return np.stack([x, y, x + width, y + height], axis=1)

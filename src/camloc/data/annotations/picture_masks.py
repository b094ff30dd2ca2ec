"""A mask picture per picture: every grey level above 0 is an object, every piece of it has a box."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from camloc.boxes import rescale
from camloc.data.mask_files import read_levels, resize_levels

NAMED_IN = "datamodule.annotations=masks found"


class PictureMaskFiles:
    """The masks of N pictures, for :func:`camloc.data.mask_files.mask_split`.

    Args:
        files: N mask files, None for pictures without.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "1.png")
        ...     _ = cv2.imwrite(str(file), np.uint8([[255, 255, 0, 9]]))
        ...     PictureMaskFiles([file, None]).boxes(0, (1, 4))
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
            mask = resize_levels(read_levels(self._path(index), NAMED_IN), size) > 0
        return torch.from_numpy(mask), torch.zeros(size, dtype=torch.bool)

    def boxes(self, index: int, size: tuple[int, int] | None) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the picture, one per 8-connected piece.

        Raises:
            ValueError: If the file cannot be read.
        """
        if not self._files[index]:
            return torch.zeros(0, 4)
        levels = read_levels(self._path(index), NAMED_IN)
        pieces = cv2.connectedComponentsWithStats((levels > 0).astype(np.uint8), connectivity=8)[2][1:]
        x, y, width, height = torch.from_numpy(pieces[:, :4].astype(np.float32)).unbind(dim=1)
        boxes = torch.stack([x, y, x + width, y + height], dim=1)
        return boxes if size is None else rescale(boxes, (levels.shape[0], levels.shape[1]), size)

    def _path(self, index: int) -> Path:
        return Path(os.fsdecode(bytes(self._files[index])))

"""Splits whose images are files, in arrays rather than an object for each image."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.images.decode import read_image
from camloc.data.images.intensity import Intensity
from camloc.data.loading.split import Shrink


class FileSplit:
    """Images in files, with labels and boxes in arrays that loader workers share.

    Args:
        root: Folder that the files are relative to.
        image_ids: (N,) names of the images.
        targets: (N,) true classes, 0-based.
        gt_boxes: N arrays (M_i,4), half-open xyxy pixels; null for a split without boxes.
        masks: From an index to ``(mask, ignore)``, each (H,W) bool; null for a split without masks.
        files: (N,) paths below ``root``; null where they are the ``image_ids``.

    Attributes:
        root: As given.
        files: (N,) paths below ``root``, in the file system's bytes.
        targets: (N,) true classes, 0-based.
        intensity: What becomes black to white of images with more than 8 bits per channel; null for the range of each
            file's type.
    """

    def __init__(
        self,
        root: Path,
        image_ids: Sequence[str] | NDArray[np.bytes_],
        targets: Sequence[int] | NDArray[np.int64],
        gt_boxes: Sequence[NDArray[np.floating]] | None = None,
        masks: Callable[[int], tuple[Tensor, Tensor]] | None = None,
        files: NDArray[np.bytes_] | None = None,
    ) -> None:
        self.root = root
        # Fixed-width byte arrays: one Python object each would be copied into every worker by reference counting.
        encoded = image_ids if isinstance(image_ids, np.ndarray) else [os.fsencode(image_id) for image_id in image_ids]
        self._image_ids = np.asarray(encoded, dtype=np.bytes_)
        self.files = self._image_ids if files is None else files
        self.targets = np.asarray(targets, dtype=np.int64)
        boxes = [np.zeros((0, 4))] * len(self.targets) if gt_boxes is None else gt_boxes
        self._boxes = np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float32)
        self._first_box = np.cumsum([0, *(len(b) for b in boxes)])
        self._masks = masks
        self.intensity: Intensity | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.targets)

    def image_id(self, index: int) -> str:
        r"""Return the image's name; bytes of a name that is not UTF-8 are written as ``\xe9``."""
        return bytes(self._image_ids[index]).decode(errors="backslashreplace")

    def target(self, index: int) -> int:
        """Return the true class, 0-based."""
        return int(self.targets[index])

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the image as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""
        return read_image(self.file(index), shrink, self.intensity)

    def file(self, index: int) -> Path:
        """Return the image's file."""
        return self.root / os.fsdecode(bytes(self.files[index]))

    def gt_boxes(self, index: int) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels; (0,4) without annotation."""
        return torch.from_numpy(self._boxes[self._first_box[index] : self._first_box[index + 1]])

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (H,W) bool; null for a split without masks."""
        return None if self._masks is None else self._masks(index)

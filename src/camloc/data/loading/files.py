"""Splits whose images are files, in arrays rather than an object for each image."""

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
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
        targets: (N,) true classes, 0-based; (N,C) bool where images have several labels.
        gt_boxes: P arrays (M_i,4), half-open xyxy pixels, one for each pair of an image and a true class, in the order
            of images and then of classes, so N arrays where an image has one label; null for a split without boxes.
        masks: From an index to ``(mask, ignore)``, each (K,H,W) bool for the image's K true classes, or to null where
            it has none; null for a split without masks.
        files: (N,) paths below ``root``; null where they are the ``image_ids``.

    Attributes:
        root: As given.
        files: (N,) paths below ``root``, in the file system's bytes.
        targets: (N,) true classes, 0-based, or (N,C) bool.
        intensity: What becomes black to white of images with more than 8 bits per channel; null for the range of each
            file's type.
    """

    def __init__(
        self,
        root: Path,
        image_ids: Sequence[str] | NDArray[np.bytes_],
        targets: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_],
        gt_boxes: Sequence[NDArray[np.floating]] | None = None,
        masks: Callable[[int], tuple[Tensor, Tensor] | None] | None = None,
        files: NDArray[np.bytes_] | None = None,
    ) -> None:
        self.root = root
        # Fixed-width byte arrays: one Python object each would be copied into every worker by reference counting.
        encoded = image_ids if isinstance(image_ids, np.ndarray) else [os.fsencode(image_id) for image_id in image_ids]
        self._image_ids = np.asarray(encoded, dtype=np.bytes_)
        self.files = self._image_ids if files is None else files
        several = isinstance(targets, np.ndarray) and targets.ndim > 1
        self.targets: NDArray[np.int64] | NDArray[np.bool_] = np.asarray(targets, dtype=bool if several else np.int64)
        per_image = self.targets.sum(axis=1) if several else np.ones(len(self.targets), dtype=np.int64)
        self._first_pair = np.concatenate([[0], np.cumsum(per_image, dtype=np.int64)])
        boxes = [np.zeros((0, 4))] * int(self._first_pair[-1]) if gt_boxes is None else gt_boxes
        if len(boxes) != self._first_pair[-1]:
            raise ValueError(f"gt_boxes has {len(boxes)} entries; give {self._first_pair[-1]}, one for each pair")
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

    def target(self, index: int) -> int | Tensor:
        """Return the true class, 0-based; (C,) bool where images have several labels."""
        return int(self.targets[index]) if self.targets.ndim == 1 else torch.from_numpy(self.targets[index])

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the image as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""
        return read_image(self.file(index), shrink, self.intensity)

    def file(self, index: int) -> Path:
        """Return the image's file."""
        return self.root / os.fsdecode(bytes(self.files[index]))

    def gt_boxes(self, index: int) -> list[Tensor]:
        """Return (M,4) float32 half-open xyxy pixels for each true class; (0,4) without annotation."""
        first = self._first_box[self._first_pair[index] : self._first_pair[index + 1] + 1].tolist()
        return [torch.from_numpy(self._boxes[start:end]) for start, end in pairwise(first)]

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (K,H,W) bool; null without masks."""
        return None if self._masks is None else self._masks(index)

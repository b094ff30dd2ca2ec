"""The one interface between a data set's layout and everything that loads it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

SplitName = Literal["train", "val", "test"]
Shrink = Callable[[tuple[int, int]], int]
"""From an image's ``(height, width)`` to how many times smaller its pixels may be read: 1, 2, 4 or 8."""
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Show progress over items, given what they are and how many."""


class Split(Protocol):
    """The labelled images of one split, before any transform; every data set provides these.

    Indexed 0 to ``len(split) - 1``. Implementations hold arrays rather than one Python object per image, so that
    loader workers share them. Either all images of a split have boxes or none have, and the same holds for masks; of
    ``train`` some may have boxes where training is to see them.
    """

    def __len__(self) -> int:
        """Return N."""

    def image_id(self, index: int) -> str:
        """Return the image's name, unique within the split."""

    def target(self, index: int) -> int:
        """Return the true class, 0-based."""

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the image as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""

    def file(self, index: int) -> Path | None:
        """Return the image's file; null for an image that is made in memory."""

    def gt_boxes(self, index: int) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the image, (0,4) without annotation; not for weak training."""

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (H,W) bool pixels of the image; null where the split has no masks."""


class Subset:
    """Some images of a split, in its order.

    Args:
        split: All of them.
        indices: Which.

    Example:
        >>> class Letters:
        ...     def image_id(self, index): return "abc"[index]
        >>> Subset(Letters(), np.array([0, 2])).image_id(1)
        'c'
    """

    def __init__(self, split: Split, indices: NDArray[np.int64]) -> None:
        self.whole, self.indices = split, indices

    def __len__(self) -> int:
        """Return N."""
        return len(self.indices)

    def image_id(self, index: int) -> str:
        """Return the image's name."""
        return self.whole.image_id(int(self.indices[index]))

    def target(self, index: int) -> int:
        """Return the true class, 0-based."""
        return self.whole.target(int(self.indices[index]))

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the image as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""
        return self.whole.image(int(self.indices[index]), shrink)

    def file(self, index: int) -> Path | None:
        """Return the image's file."""
        return self.whole.file(int(self.indices[index]))

    def gt_boxes(self, index: int) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the image."""
        return self.whole.gt_boxes(int(self.indices[index]))

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (H,W) bool; null where the split has no masks."""
        return self.whole.masks(int(self.indices[index]))

"""The one interface between a data set's layout and everything that loads it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

SplitName = Literal["train", "val", "test"]
Shrink = Callable[[tuple[int, int]], int]
"""From a picture's ``(height, width)`` to how many times smaller its pixels may be read: 1, 2, 4 or 8."""
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Shows progress over items: what they are, and how many."""


class Split(Protocol):
    """The labelled pictures of one split, before any transform; every data set provides these.

    Indexed 0 to ``len(split) - 1``. Implementations hold arrays rather than one Python object per picture, so that
    loader workers share them. Either all pictures of a split have boxes or none has, and the same goes for masks.
    """

    def __len__(self) -> int:
        """Return N."""

    def image_id(self, index: int) -> str:
        """Return the picture's name, unique within the split."""

    def target(self, index: int) -> int:
        """Return the true class, 0-based."""

    def picture(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the picture as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""

    def file(self, index: int) -> Path | None:
        """Return the picture's file; null for a picture that is made in memory."""

    def gt_boxes(self, index: int) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the picture, (0,4) without annotation; not for training."""

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (H,W) bool pixels of the picture; null where the split has no masks."""


class Subset:
    """Some pictures of a split, in its order.

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
        self._split, self._indices = split, indices

    def __len__(self) -> int:
        """Return N."""
        return len(self._indices)

    def image_id(self, index: int) -> str:
        """Return the picture's name."""
        return self._split.image_id(int(self._indices[index]))

    def target(self, index: int) -> int:
        """Return the true class, 0-based."""
        return self._split.target(int(self._indices[index]))

    def picture(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the picture as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""
        return self._split.picture(int(self._indices[index]), shrink)

    def file(self, index: int) -> Path | None:
        """Return the picture's file."""
        return self._split.file(int(self._indices[index]))

    def gt_boxes(self, index: int) -> Tensor:
        """Return (M,4) float32 half-open xyxy pixels of the picture."""
        return self._split.gt_boxes(int(self._indices[index]))

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (H,W) bool; null where the split has no masks."""
        return self._split.masks(int(self._indices[index]))

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
    loader workers share them. Localization is measured on the pairs that have boxes, or masks; the others count in
    classification alone.
    """

    def __len__(self) -> int:
        """Return N."""

    def image_id(self, index: int) -> str:
        """Return the image's name, unique within the split."""

    def target(self, index: int) -> int | Tensor:
        """Return the true class, 0-based; (C,) bool where the data set's images have several labels, or none."""

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the image as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""

    def file(self, index: int) -> Path | None:
        """Return the image's file; null for an image that is made in memory."""

    def gt_boxes(self, index: int) -> list[Tensor]:
        """Return the true boxes of each of the image's K true classes, in ascending order; not for weak training.

        K tensors (M,4), float32 half-open xyxy pixels of the image; (0,4) where none is known.
        """

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (K,H,W) bool pixels of the image for its K true classes; null without masks.

        Of a class without a mask, where others of the image have one, all is to be ignored.
        """


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

    def target(self, index: int) -> int | Tensor:
        """Return the true class, 0-based; (C,) bool where images have several labels."""
        return self.whole.target(int(self.indices[index]))

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:
        """Return the image as (3,H,W) uint8 RGB; where ``shrink`` allows, it may be that many times smaller."""
        return self.whole.image(int(self.indices[index]), shrink)

    def file(self, index: int) -> Path | None:
        """Return the image's file."""
        return self.whole.file(int(self.indices[index]))

    def gt_boxes(self, index: int) -> list[Tensor]:
        """Return (M,4) float32 half-open xyxy pixels of the image for each of its true classes."""
        return self.whole.gt_boxes(int(self.indices[index]))

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (K,H,W) bool; null without masks."""
        return self.whole.masks(int(self.indices[index]))

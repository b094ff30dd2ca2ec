"""The annotated objects of an image, as every format gives them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Objects:
    """The annotated objects of one image.

    Example:
        >>> Objects.checked([(0, 0, 4, 2)], ["cat"], "a.xml").boxes.tolist()
        [[0.0, 0.0, 4.0, 2.0]]
    """

    boxes: NDArray[np.float64]
    """(M,4) half-open xyxy pixels of the image."""
    names: tuple[str | None, ...]
    """M class names, None where the format or the line has none."""
    where: str
    """The file, and the line where it covers many images, for messages."""
    image_size: tuple[int, int] | None = None
    """``(height, width)`` of the image as the annotation states it; null where it does not."""

    @classmethod
    def checked(
        cls,
        boxes: Sequence[tuple[float, float, float, float]],
        names: Sequence[str | None],
        where: str,
        image_size: tuple[int, int] | None = None,
    ) -> "Objects":
        """Make objects of boxes that are checked.

        Raises:
            ValueError: If one is inverted, empty, or not finite.
        """
        for box in boxes:
            if not all(map(math.isfinite, box)) or box[2] <= box[0] or box[3] <= box[1]:
                shown = " ".join(f"{value:g}" for value in box)
                raise ValueError(f"{where}: the box {shown} (half-open x0 y0 x1 y1) is inverted, empty or not finite")
        return cls(np.array(boxes, dtype=np.float64).reshape(-1, 4), tuple(names), where, image_size)

    @classmethod
    def joined(cls, parts: Sequence["Objects"]) -> "Objects":
        """Join the objects of several lines on the same image, at least one; place and size are the first's."""
        boxes = np.concatenate([part.boxes for part in parts])
        names = tuple(name for part in parts for name in part.names)
        return cls(boxes, names, parts[0].where, parts[0].image_size)

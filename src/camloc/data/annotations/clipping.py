"""Boxes that reach beyond their pictures, which tools that draw them by hand let happen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camloc.data.picture_sizes import picture_sizes


def clip_to_pictures(
    boxes: Sequence[NDArray[np.float64]], files: Sequence[Path], where: Sequence[str]
) -> tuple[list[NDArray[np.float64]], int]:
    """Cut off what of each box lies outside its picture, for no map can show it.

    Args:
        boxes: N arrays (M_i,4), half-open xyxy pixels.
        files: (N,) the pictures; those that cannot be read leave their boxes as they are, and are told when opened.
        where: (N,) what annotates each, for the message.

    Returns:
        The boxes, and how many of them were cut.

    Raises:
        ValueError: If a box lies wholly outside; its annotation is of another picture, or of the picture unrotated.
    """
    sizes = picture_sizes(files)
    limits = np.where(sizes > 0, sizes, np.inf)[:, ::-1]
    clipped, count = [], 0
    for of_picture, limit, file, annotation in zip(boxes, limits, files, where, strict=True):
        inside = np.clip(of_picture, 0, np.tile(limit, 2))
        outside = (inside[:, 2:] <= inside[:, :2]).any(axis=1)
        if outside.any():
            box = " ".join(f"{value:g}" for value in of_picture[outside.argmax()])
            width, height = limit.astype(int)
            raise ValueError(
                f"{annotation}: the box {box} (half-open x0 y0 x1 y1) lies outside {file}, which is {width} wide and "
                f"{height} high as it is shown; correct the box, or take it away"
            )
        count += int((inside != of_picture).any(axis=1).sum())
        clipped.append(inside)
    return clipped, count

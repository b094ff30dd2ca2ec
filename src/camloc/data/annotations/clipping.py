"""Boxes against their images: cut at the edges, refused where they must belong to another image."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.objects import Objects
from camloc.data.images.sizes import read_image_sizes


class Clipped(NamedTuple):
    """Boxes as their images can show them."""

    boxes: list[NDArray[np.float64]]
    """N arrays (M_i,4), half-open xyxy pixels."""
    num_cut: int
    other_sizes: list[str]
    """Annotations that state another size than their image has, each with both."""


def clip_to_images(
    boxes: Sequence[NDArray[np.float64]], files: Sequence[Path], objects: Sequence[Objects | None]
) -> Clipped:
    """Cut off the part of each box that lies outside its image, since no map can show it.

    Args:
        boxes: N arrays (M_i,4), half-open xyxy pixels.
        files: (N,) the images; unreadable ones leave their boxes unchanged, and are reported when they are opened.
        objects: (N,) what the boxes were taken from.

    Raises:
        ValueError: If a box lies wholly outside, or the annotation is for the image before EXIF turned it.
    """
    clipped, num_cut, other_sizes = [], 0, []
    for of_image, size, file, found in zip(boxes, read_image_sizes(files).tolist(), files, objects, strict=True):
        height, width = size
        if found is None or not height:
            clipped.append(of_image)
            continue
        shown = f"{file}, which is {width} wide and {height} high as it is shown"
        if found.image_size not in (None, (height, width)):
            stated = f"{found.where} is for {found.image_size[1]} by {found.image_size[0]} pixels, and {shown}"
            if found.image_size == (width, height):
                raise ValueError(
                    f"{stated}: its boxes were drawn on the image before EXIF turned it; draw them on it as it is shown"
                )
            other_sizes.append(stated)
        inside = np.clip(of_image, 0, [width, height, width, height])
        outside = (inside[:, 2:] <= inside[:, :2]).any(axis=1)
        if outside.any():
            box = " ".join(f"{value:g}" for value in of_image[outside.argmax()])
            raise ValueError(
                f"{found.where}: the box {box} (half-open x0 y0 x1 y1) lies outside {shown}; correct or remove the box"
            )
        num_cut += int((inside != of_image).any(axis=1).sum())
        clipped.append(inside)
    return Clipped(clipped, num_cut, other_sizes)

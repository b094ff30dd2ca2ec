"""Boxes against their images: shares turned to pixels, other sizes scaled, what lies outside cut or refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.objects import Objects
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import Units
from camloc.data.images.sizes import read_image_sizes

NEGLIGIBLE = 0.01
"""Pixels that do not count, since shares are rounded: between a corner and a whole pixel, or beyond the image."""
PERCENT = 100
LARGE = 200
"""Pixels of the shorter side of images in which no box reaches beyond pixel 100 unless boxes are in percent."""
ENOUGH = 10
"""Boxes from which that is told without doubt."""
FAR = 80
"""How far the farthest of boxes in percent reaches on both axes, at least."""


class Fitted(NamedTuple):
    """Boxes as their images can show them."""

    boxes: NDArray[np.float64]
    """(M,4) half-open xyxy pixels of the images."""
    num_cut: int
    """Boxes that reached beyond their images."""
    scaled: list[str]
    """Images that are larger or smaller than their annotation states, each with both sizes; boxes were scaled."""
    problems: list[tuple[str, str]]
    """Where and what: boxes that cannot be of the image."""


def recognised_units(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> Units:
    """Tell what the boxes of a whole split are in, where the format leaves it open.

    Boxes that all lie in 0..1 are shares, since one of pixels would be smaller than a pixel. Boxes that all lie in
    0..100 are in percent where no image has a side below 200 pixels, ten boxes or more are known, and they reach beyond
    80 on both axes; where only some of this holds, nothing can be told.

    Args:
        boxes: (M,4) xyxy.
        sizes: (N,2) ``(height, width)`` of their images; zeros where unknown.

    Raises:
        ValueError: If boxes may be in pixels and in percent.

    Example:
        >>> recognised_units(np.array([[0, 0.25, 0.5, 1]]), np.array([[60, 80]]))
        'fractions'
        >>> recognised_units(np.array([[0, 0.25, 50, 40]]), np.array([[60, 80]]))
        'pixels'
    """
    if not len(boxes) or boxes.min() < -NEGLIGIBLE or boxes.max() > PERCENT + NEGLIGIBLE:
        return "pixels"
    if boxes.max() <= 1 + NEGLIGIBLE:
        if (boxes != boxes.round()).any():
            return "fractions"
        raise ValueError(
            f"all {len(boxes)} boxes are 0 0 1 1, which is a pixel or a whole image; say what they are in: "
            "datamodule.units=pixels or fractions"
        )
    known = sizes[(sizes > 0).all(axis=1)]
    if not len(known) or known.min() < LARGE:
        return "pixels"
    if len(boxes) >= ENOUGH and boxes[:, 2:].max(axis=0).min() > FAR:
        return "percent"
    raise ValueError(
        f"all {len(boxes)} boxes lie within the first {PERCENT} pixels of images of {LARGE} and more, so they may be "
        "in percent; say what they are in: datamodule.units=pixels or percent"
    )


def fit_boxes(
    boxes: NDArray[np.float64],
    owners: NDArray[np.int64],
    stated: NDArray[np.int64],
    sizes: NDArray[np.int64],
    units: Units,
    names: Callable[[int], tuple[str, str]],
) -> Fitted:
    """Turn boxes to pixels of the images as they are shown, and cut off what lies outside, since no map can show it.

    Where the annotation states another size than the image has and both have one shape, the image was resized after it
    was annotated, and boxes are scaled by the ratio of both sides.

    Args:
        boxes: (M,4) half-open xyxy in ``units``.
        owners: (M,) the image of each, 0 to N - 1.
        stated: (N,2) ``(height, width)`` that the annotation states, zeros where it does not.
        sizes: (N,2) ``(height, width)`` of the images; zeros leave boxes unchanged, as the image cannot be read.
        units: Of the boxes.
        names: From the place of an image to its annotation and its file, for messages.

    Example:
        >>> one, place = np.array([[10.0, 10, 20, 20]]), np.array([0])
        >>> size, half = np.array([[60, 80]]), np.array([[30, 40]])
        >>> fit_boxes(one, place, half, size, "pixels", lambda _: ("a.xml", "a.jpg")).boxes.tolist()
        [[20.0, 20.0, 40.0, 40.0]]
    """
    scale = np.ones((len(sizes), 2))
    scaled: list[str] = []
    problems: list[tuple[str, str]] = []
    refused: set[int] = set()
    reach = np.zeros((len(sizes), 2))
    np.maximum.at(reach, owners, boxes[:, 2:])
    is_known: NDArray[np.bool_] = np.all(sizes > 0, axis=1)
    if units != "pixels":
        scale[is_known] = sizes[is_known] / (PERCENT if units == "percent" else 1)
    other = is_known & (reach > 0).all(axis=1) & (stated > 0).all(axis=1) & (stated != sizes).any(axis=1)
    for place in np.flatnonzero(other).tolist():
        was, size = stated[place].tolist(), sizes[place].tolist()
        where, file = names(place)
        text = f"is for {was[1]} by {was[0]} pixels, and {_shown(file, size)}"
        fault = _fault(was, size, reach[place].tolist(), units)
        if fault:
            problems.append((where, f"it {text}: {fault}"))
            refused.add(place)
        elif units == "pixels":
            scale[place] = sizes[place] / stated[place]
            scaled.append(f"{where} {text}")
    fitted = boxes * np.tile(scale[:, ::-1], 2)[owners]
    if units != "pixels":
        # Files hold shares with few decimals; what was a whole pixel is one again, so that no corner lies beside it.
        whole = fitted.round()
        fitted = np.where(is_known[owners, None] & (np.abs(fitted - whole) < NEGLIGIBLE), whole, fitted)
    limits = np.tile(np.where(is_known[:, None], sizes, np.inf)[:, ::-1], 2)[owners]
    inside = np.where(is_known[owners, None], np.clip(fitted, 0, limits), fitted)
    for index in np.flatnonzero((inside[:, 2:] <= inside[:, :2]).any(axis=1)).tolist():
        place = int(owners[index])
        if place not in refused:
            where, file = names(place)
            box = " ".join(f"{value:g}" for value in fitted[index])
            shown = _shown(file, sizes[place].tolist())
            problems.append(
                (where, f"the box {box} (half-open x0 y0 x1 y1) lies outside {shown}; correct or remove it")
            )
    num_cut = int((np.abs(inside - fitted) > NEGLIGIBLE).any(axis=1).sum())
    return Fitted(inside, num_cut, scaled, problems)


def fit_objects(
    boxes: Sequence[NDArray[np.float64]],
    files: Sequence[Path],
    objects: Sequence[Objects | None],
    units: Units | None = None,
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Fit the boxes of a split whose annotation is read for each image; see :func:`fit_boxes`.

    Args:
        boxes: N arrays (M_i,4), half-open xyxy.
        files: (N,) the images; unreadable ones leave their boxes unchanged, and are reported when they are opened.
        objects: (N,) what the boxes were taken from.
        units: Of the boxes; null where they are to be told from them.

    Returns:
        N arrays (M_i,4), half-open xyxy pixels of the images, and notes on what was changed.

    Raises:
        DataProblems: If boxes cannot be of their images, naming all of them.
        ValueError: If the units cannot be told.
    """
    counts = [len(of_image) for of_image in boxes]
    flat, owners = np.concatenate([np.zeros((0, 4)), *boxes]), np.repeat(np.arange(len(files)), counts)
    sizes = read_image_sizes(files)
    stated = np.array([(found and found.image_size) or (0, 0) for found in objects], np.int64).reshape(-1, 2)
    units = units or recognised_units(flat, sizes[np.unique(owners)])

    def names(place: int) -> tuple[str, str]:
        found = objects[place]
        return "" if found is None else found.where, str(files[place])

    fitted = fit_boxes(flat, owners, stated, sizes, units, names)
    if fitted.problems:
        raise DataProblems(fitted.problems)
    return np.split(fitted.boxes, np.cumsum(counts)[:-1]), fitted_notes(fitted, units)


def fitted_notes(fitted: Fitted, units: Units) -> list[str]:
    """Say what was changed to fit boxes to their images."""
    notes = []
    if units != "pixels":
        share = "in percent" if units == "percent" else "shares in 0..1"
        notes.append(f"all {len(fitted.boxes)} boxes are {share} of the images' sides and were turned to pixels")
    if fitted.num_cut:
        notes.append(f"{fitted.num_cut} true boxes reached beyond their images and were cut off")
    if fitted.scaled:
        count = len(fitted.scaled)
        notes.append(
            f"the boxes of {count} images are of another size and were scaled to them, first {fitted.scaled[0]}"
        )
    return notes


def _shown(file: str, size: Sequence[int]) -> str:
    return f"{file}, which is {size[1]} wide and {size[0]} high as it is shown"


def _fault(stated: Sequence[int], size: Sequence[int], reach: Sequence[float], units: Units) -> str:
    """Say why boxes of an image of the stated size are not of the image of this size; empty where they are."""
    if stated[0] == size[1] and stated[1] == size[0]:
        return "its boxes were drawn on the image before EXIF turned it; draw them on it as it is shown"
    if units != "pixels":
        return ""
    if not _is_resized(stated, size):
        return "the shapes differ, so the boxes are of another image; correct either"
    if size[1] > stated[1] and (reach[0] > stated[1] + 1 or reach[1] > stated[0] + 1):
        return f"its boxes reach {reach[0]:g} {reach[1]:g}, beyond the size that it states; correct either"
    return ""


def _is_resized(stated: Sequence[int], size: Sequence[int]) -> bool:
    """Tell whether an image of one size may be a resized image of the other, whose sides were rounded to pixels."""
    larger, smaller = (stated, size) if max(stated) > max(size) else (size, stated)
    sides = list(zip(larger, smaller, strict=True))
    return max(many / (few + 1) for many, few in sides) < min(many / max(few - 1, 0.5) for many, few in sides)

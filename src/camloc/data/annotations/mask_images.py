"""Mask images as people draw them: every pixel above 0 is inside, or above half where a mask has soft edges."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.contract import MaskFileReader
from camloc.data.images.headers import open_header
from camloc.data.images.regular import open_regular

MOST_LABELS = 24
"""Grey levels up to which a mask may be a label map, as one of classes or of objects."""
NEAR = 16
"""Levels by which compression changes black and white."""
BLACK, HALF, WHITE = 0, 128, 255


class MaskReader(MaskFileReader):
    """PNG masks ``X.png`` or ``X_mask.png`` of an image ``X.jpg``; see :func:`read_mask`."""

    endings = (".png", "_mask.png")

    def __init__(self) -> None:
        self._cut: set[Path] = set()

    def read(self, file: Path) -> NDArray[np.uint8]:
        """Return the (H,W) mask; nothing is ignored."""
        levels, was_cut = read_mask_levels(file)
        if was_cut:
            self._cut.add(file)
        return levels

    def notes(self) -> list[str]:
        """Say how many masks had soft edges, or were compressed with loss."""
        if not self._cut:
            return []
        count, first = len(self._cut), min(self._cut)
        self._cut.clear()
        return [f"{count} masks have levels between black and white and were cut at half, first {first}"]


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the (H,W) mask of a file, 1 inside; see :func:`read_mask_levels`."""
    return read_mask_levels(path)[0]


def read_mask_levels(path: Path) -> tuple[NDArray[np.uint8], bool]:
    """Return the (H,W) mask of a file, 1 inside, and whether it was cut at half.

    A palette's index and 16 bit values count as stored; OpenCV would read the grey that they are shown in. Of colours
    the brightest channel counts; where the colour is the same everywhere, alpha does. A mask that was compressed with
    loss, or has soft edges, is black and white with levels between: it is cut at half. With more than 24 levels that
    are not 0, 1, 2, ... of a label map and are not mostly black and white, nobody can tell what is inside.

    Raises:
        ValueError: If the file is no regular file, cannot be read, its header states more than
            :data:`~camloc.data.images.headers.MAX_PIXELS`, or what is inside cannot be told.
    """
    try:
        with open_regular(path) as file, open_header(file) as image:
            pixels = np.array(image)
    except Exception as error:  # Pillow raises whatever a broken file provokes
        raise ValueError(f"cannot read the mask {path}: {error}; redraw or remove it") from error
    if pixels.ndim == 3:  # noqa: PLR2004 - with channels
        has_alpha = image.mode in ("LA", "RGBA")
        colours = pixels[..., :-1] if has_alpha else pixels
        alpha = pixels[..., -1] if has_alpha else np.ones_like(pixels[..., 0])
        is_flat = has_alpha and bool((colours == colours[0, 0]).all())
        pixels = alpha if is_flat else np.where(alpha > 0, colours.max(axis=2), BLACK)
    if image.mode == "P" or pixels.dtype != np.uint8 or not _is_soft(pixels, path):
        return (pixels > BLACK).astype(np.uint8), False
    return (pixels >= HALF).astype(np.uint8), True


def _is_soft(pixels: NDArray[np.uint8], path: Path) -> bool:
    """Tell whether a mask is black and white with levels between them, and no label map."""
    counts = np.bincount(pixels.ravel(), minlength=WHITE + 1)
    levels = np.flatnonzero(counts)
    if len(levels) <= MOST_LABELS:
        # Compression changes black and white by a little; a label map has small levels, and 255 itself at most.
        is_near = (levels <= NEAR) | (levels >= WHITE - NEAR)
        between = (levels > WHITE - NEAR - 1) & (levels < WHITE)
        return bool(is_near.all() and between.any())
    if len(levels) == levels[-1] + 1 < WHITE - NEAR:
        return False
    if counts[WHITE - NEAR :].sum() * 2 < counts[NEAR + 1 :].sum():
        raise ValueError(
            f"the mask {path} has {len(levels)} grey levels, more than a label map, and is not black and white either; "
            "save it as PNG, 0 outside and 255 inside"
        )
    return True

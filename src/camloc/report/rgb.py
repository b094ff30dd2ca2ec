"""RGB images as image files hold them: (H,W,3) uint8 arrays, from tensors, on contact sheets, in PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from camloc.export.replaced import replaced

RGB = NDArray[np.uint8]
"""(H,W,3) uint8."""

BACKGROUND = (24, 25, 29)
GAP = 8
"""Pixels between the images of a sheet."""


def as_rgb(image: Tensor) -> RGB:
    """Bring an image from a data set's layout into that of image files; no pixel changes.

    Args:
        image: (3,H,W) uint8 RGB.

    Returns:
        (H,W,3) uint8 RGB.

    Raises:
        ValueError: If the image is not (3,H,W) uint8.

    Example:
        >>> as_rgb(torch.zeros(3, 2, 4, dtype=torch.uint8)).shape
        (2, 4, 3)
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:  # noqa: PLR2004 - (3,H,W)
        raise ValueError(
            f"an image to draw on must be (3,H,W) uint8, got {tuple(image.shape)} {image.dtype}; "
            "draw on it before it is normalized"
        )
    return image.permute(1, 2, 0).cpu().numpy()


def contact_sheet(tiles: Sequence[RGB], columns: int) -> RGB:
    """Lay out tiles row by row; each column is as wide, and each row as high, as its largest tile.

    Args:
        tiles: (H,W,3) uint8 RGB each, of any sizes, at least one.
        columns: Tiles in a row, at least one.

    Returns:
        (height,width,3) uint8 RGB.

    Raises:
        ValueError: If there is no tile or no column.

    Example:
        >>> contact_sheet([np.zeros((20, 30, 3), np.uint8)] * 3, columns=2).shape  # gaps of 8 px
        (48, 68, 3)
    """
    if not tiles or columns < 1:
        raise ValueError(
            f"a contact sheet needs at least one tile and one column, got {len(tiles)} tiles in {columns} columns"
        )
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    tops = np.cumsum([0] + [max(len(tile) for tile in row) + GAP for row in rows])
    lefts = np.cumsum([0] + [max(tile.shape[1] for tile in tiles[c::columns]) + GAP for c in range(len(rows[0]))])
    sheet: RGB = np.full((tops[-1] - GAP, lefts[-1] - GAP, 3), BACKGROUND, dtype=np.uint8)
    for top, row in zip(tops, rows, strict=False):
        for left, tile in zip(lefts, row, strict=False):
            sheet[top : top + len(tile), left : left + tile.shape[1]] = tile
    return sheet


def save_png(path: Path, rgb: RGB) -> None:
    """Write an image as PNG, creating its folder if necessary.

    Args:
        path: PNG to write.
        rgb: (H,W,3) uint8.

    Raises:
        ValueError: If ``rgb`` is not (H,W,3) uint8.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     save_png(Path(directory, "new", "black.png"), np.zeros((2, 3, 3), np.uint8))
        ...     Image.open(Path(directory, "new", "black.png")).size
        (3, 2)
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:  # noqa: PLR2004 - (H,W,3)
        raise ValueError(f"{path}: an image to save must be (H,W,3) uint8, got {rgb.shape} {rgb.dtype}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        Image.fromarray(rgb).save(partial, format="PNG")

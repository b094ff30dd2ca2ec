"""Mask images as people draw them: every pixel above 0 is inside."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.contract import MaskFileReader
from camloc.data.images.headers import open_header
from camloc.data.images.regular import open_regular


class MaskReader(MaskFileReader):
    """PNG masks ``X.png`` or ``X_mask.png`` of an image ``X.jpg``; see :func:`read_mask`."""

    endings = (".png", "_mask.png")

    def read(self, file: Path) -> NDArray[np.uint8]:
        """Return the (H,W) mask; nothing is ignored."""
        return read_mask(file)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the (H,W) mask of a file, 1 inside.

    A palette's index and 16 bit values count as stored; OpenCV would read the grey that they are shown in. Of colours
    any channel counts; where the colour is the same everywhere, alpha does.

    Raises:
        ValueError: If the file is no regular file, cannot be read, or its header states more than
            :data:`~camloc.data.images.headers.MAX_PIXELS`.
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
        pixels = alpha if is_flat else colours.any(axis=2) & (alpha > 0)
    return (pixels > 0).astype(np.uint8)

"""The sizes of many images, from their headers."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from camloc.data.images.decode import read_image_size

SHOW_PROGRESS_FROM = 10_000
"""Images from which it takes longer than two seconds on one core."""


def read_image_sizes(files: Sequence[Path]) -> NDArray[np.int64]:
    """Return (N,2) ``(height, width)`` in pixels, as the images are shown; zeros for an image that cannot be read.

    Args:
        files: (N,).

    Example:
        >>> read_image_sizes([Path("nowhere.jpg")]).tolist()
        [[0, 0]]
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(_size, files)
        quick = len(files) < SHOW_PROGRESS_FROM
        # On a console of its own, since another progress bar may be running.
        shown = track(found, "sizes of images", len(files), console=Console(stderr=True), transient=True, disable=quick)
        return np.array(list(shown), np.int64).reshape(-1, 2)


def _size(file: Path) -> tuple[int, int]:
    try:
        return read_image_size(file)
    except (OSError, ValueError):
        return 0, 0

"""The sizes of many pictures, from their headers."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from camloc.data.picture import picture_size

SHOW_PROGRESS_FROM = 10_000
"""Pictures from which it takes longer than two seconds on one core."""


def picture_sizes(files: Sequence[Path]) -> NDArray[np.int64]:
    """Return (N,2) ``(height, width)`` in pixels, as the pictures are shown; zeros for a picture that cannot be read.

    Args:
        files: (N,).

    Example:
        >>> picture_sizes([Path("nowhere.jpg")]).tolist()
        [[0, 0]]
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(_size, files)
        quick = len(files) < SHOW_PROGRESS_FROM
        # On a console of its own, for another progress bar may be running.
        shown = track(
            found, "sizes of pictures", len(files), console=Console(stderr=True), transient=True, disable=quick
        )
        return np.array(list(shown), np.int64).reshape(-1, 2)


def _size(file: Path) -> tuple[int, int]:
    try:
        return picture_size(file)
    except (OSError, ValueError):
        return 0, 0

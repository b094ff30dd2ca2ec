"""What the union-finds over the pixels of a map share: compilation, finding a root, joining neighbours."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

CENTRE = 4
"""Index of the centre in a 3x3 window, in raster order."""
EIGHT_NEIGHBOURS = (0, 1, 2, 3, 5, 6, 7, 8)
"""Pixels of the window that touch its centre at an edge or a corner."""
FOUR_NEIGHBOURS = (1, 3, 5, 7)
"""Those that touch it at an edge."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile and cache the result on disk, or in each process anew where Numba finds no writable directory."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@compiled
def find(parent: NDArray[np.uint32], component: int) -> int:
    """Return the root of a component, halving the path to it."""
    root: int = parent[component]
    while parent[root] != root:
        parent[root] = parent[parent[root]]
        root = parent[root]
    return root


def neighbour_groups(neighbours: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return, for each pattern of joined pixels in a 3x3 window, one neighbour and the pattern without its group.

    Bit j is pixel j of the window in raster order, and ``neighbours`` are those of the centre. Neighbours that are
    connected within the window belong to one region already, so one look-up per group is enough. Where none is joined,
    the neighbour returned is the centre itself.
    """
    steps = [(j // 3 - 1, j % 3 - 1) for j in neighbours]
    first, rest = np.full(512, CENTRE, np.uint8), np.zeros(512, np.uint16)
    for pattern in range(512):
        members = {divmod(j, 3) for j in range(9) if pattern >> j & 1}
        start = [j for j in neighbours if pattern >> j & 1][:1]
        group = {divmod(j, 3) for j in start}
        for _ in members:
            group |= members & {(y + dy, x + dx) for y, x in group for dy, dx in steps}
        first[pattern] = (start or [CENTRE])[0]
        rest[pattern] = sum(1 << (3 * y + x) for y, x in members - group)
    return first, rest

"""The released box generator again, pixel by pixel and without OpenCV, from its description.

Regions and holes are flood-filled, and distances measured to every background pixel.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rect = tuple[int, int, int, int]
"""x, y, width, height."""


def boxes(score_map: NDArray[Any]) -> list[Rect]:
    """Return the boxes of all contours."""
    levels = [[math.floor(float(np.float32(value) * np.float32(255)) + 0.5) for value in row] for row in score_map]
    return [rect for level in (20, 100, 110) for rect in contour_rects(core(np.array(levels) > level))]


def core(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    outside = np.argwhere(~mask)
    if not len(outside) or not mask.any():
        return mask
    rows, columns = np.indices(mask.shape)
    squared = np.min([(rows - y) ** 2 + (columns - x) ** 2 for y, x in outside], axis=0)
    distance = np.sqrt(squared.astype(np.float32)).astype(np.float64)
    inside: NDArray[np.bool_] = np.floor(distance * (255 / distance.max()) + 0.5) > 10
    return inside


def contour_rects(mask: NDArray[np.bool_]) -> list[Rect]:
    """Return the rectangle of every region (8-connected), and of every hole (4-connected) with the ring around it."""
    rects = [rect_of(region) for region in regions(mask, diagonal=True)]
    height, width = mask.shape
    for hole in regions(~mask, diagonal=False):
        if not any(y in (0, height - 1) or x in (0, width - 1) for y, x in hole):
            x, y, w, h = rect_of(hole)
            rects.append((x - 1, y - 1, w + 2, h + 2))
    return rects


def regions(mask: NDArray[np.bool_], *, diagonal: bool) -> Iterator[list[tuple[int, int]]]:
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if diagonal or abs(dy) + abs(dx) == 1]
    while left:
        queue = [min(left)]
        left.discard(queue[0])
        region = []
        while queue:
            y, x = queue.pop()
            region.append((y, x))
            for dy, dx in steps:
                if (y + dy, x + dx) in left:
                    left.discard((y + dy, x + dx))
                    queue.append((y + dy, x + dx))
        yield region


def rect_of(region: list[tuple[int, int]]) -> Rect:
    ys, xs = [y for y, _ in region], [x for _, x in region]
    return min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1


def kept(rects: list[Rect]) -> list[Rect]:
    """Walk through boxes sorted by area with two counters, as the release does."""
    found = list(rects)
    i = 0
    while i < len(found):
        j = i + 1
        while j < len(found):
            (ax, ay, aw, ah), (bx, by, bw, bh) = found[i], found[j]
            shared = sum(
                bx <= x < bx + bw and by <= y < by + bh for x in range(ax, ax + aw) for y in range(ay, ay + ah)
            )
            if shared > max(aw * ah, bw * bh) // 2:
                found.pop(j)
            j += 1
        i += 1
    return found

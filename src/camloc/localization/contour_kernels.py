"""The two passes of :mod:`camloc.localization.contour_boxes` over one map, compiled.

One joins the pixels above a falling cut and tracks the boxes and polygon areas of outer borders, the other joins the
pixels not above a rising cut and tracks the boxes of holes.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from camloc.localization.union_find import (
    CENTRE,
    EIGHT_NEIGHBOURS,
    FOUR_NEIGHBOURS,
    compiled,
    find,
    neighbour_groups,
)

GREY_LEVELS = 256
_FIRST, _LAST, _LEFT, _RIGHT = range(4)
"""What is known of a region: its first and last pixel in raster order, leftmost and rightmost column."""


def _area_gains() -> NDArray[np.uint8]:
    """Return twice the area that a pixel adds to the polygon of its region, for each pattern of pixels around it.

    Four pixels in a square enclose an area of 1, any three of them 1/2.
    """
    squares = [sum(1 << (corner + j) for j in (0, 1, 3, 4) if corner + j != CENTRE) for corner in (0, 1, 3, 4)]
    gains = [sum((pattern & square).bit_count() > 1 for square in squares) for pattern in range(512)]
    return np.array(gains, np.uint8)


_OUTER_GROUPS = neighbour_groups(EIGHT_NEIGHBOURS)
_HOLE_GROUPS = neighbour_groups(FOUR_NEIGHBOURS)
_AREA_GAIN = _area_gains()


# The arrays below are unsigned because Numba checks every signed index for being negative.


@compiled
def measure_map(
    levels: NDArray[np.uint8], gt_boxes: NDArray[np.int64], wanted: NDArray[np.bool_], ious: NDArray[np.float64]
) -> None:
    """Write the single-contour and the multi-contour IoU (2,256) of one map (H,W) at each wanted cut."""
    height, width = levels.shape
    stride_bits = 0
    while 1 << stride_bits < width + 2:
        stride_bits += 1
    # Counting sort of the pixels ``y * stride + x``, lowest level first.
    starts = np.zeros(GREY_LEVELS + 1, np.uint32)
    for level in levels.flat:
        starts[level + 1] += 1
    starts = np.cumsum(starts).astype(np.uint32)
    ends = starts.copy()
    order = np.empty(height * width, np.uint32)
    for y in range(height):
        for x in range(width):
            order[ends[levels[y, x]]] = (y << stride_bits) + x
            ends[levels[y, x]] += 1

    ious[:, levels.max() :] = _iou(0, 0, 0, 0, gt_boxes)
    for outer in (True, False):
        _flood(levels, order, starts, stride_bits, outer, gt_boxes, wanted, ious)


@compiled
def _flood(
    levels: NDArray[np.uint8],
    order: NDArray[np.uint32],
    starts: NDArray[np.uint32],
    stride_bits: int,
    outer: bool,
    gt_boxes: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    ious: NDArray[np.float64],
) -> None:
    """Join the pixels above a falling cut (outer borders), or those not above a rising one (holes), cut by cut.

    The map is surrounded by a frame, so that every pixel has a full 3x3 window; the number of a pixel is that of the
    upper left corner of its window.
    """
    height, width = levels.shape
    window = np.empty(9, np.uint32)
    for j in range(9):
        window[j] = (j // 3 << stride_bits) + j % 3
    groups, rest = _OUTER_GROUPS if outer else _HOLE_GROUPS
    # Bits 0, 1, 2 of a pixel: its left neighbour, itself, its right neighbour are joined.
    joined = np.zeros((height + 2) << stride_bits, np.uint8)
    region_of = np.empty((height + 2) << stride_bits, np.uint32)
    # A region starts at a pixel without joined neighbours: of two that touch at a side, at most one. Plus the frame.
    most = height * (width + 1) // 2 + 2
    parent = np.empty(most, np.uint32)
    known = np.empty((most, 4), np.uint32)
    area = np.zeros(most, np.int64)  # twice that of the outer border's polygon without holes
    bound = np.empty(most, np.int64)  # twice that of the box around the polygon
    overlap = np.empty(most, np.float64)  # best IoU, or -1 until it is asked for
    live = np.empty(most, np.uint32)
    regions, num_live = np.uint32(0), 0
    if not outer:
        # The frame is a region that is never live, and of joined regions the older one stays: no hole touches it.
        _join_frame(joined, region_of, height, width, stride_bits)
        parent[0], known[0] = 0, 0
        regions += np.uint32(1)

    top = np.int64(levels.max())
    for step in range(top):
        level = top - step if outer else step
        for i in range(starts[level], starts[level + 1]):
            root = _join(order[i], window, groups, rest, regions, joined, region_of, parent, known, area)
            overlap[root] = -1
            if root == regions:
                live[num_live] = root
                num_live += 1
                regions += np.uint32(1)
        cut = level - 1 if outer else level
        if not wanted[cut]:
            continue

        num_live = _drop_joined(live[:num_live], parent)
        for region in live[:num_live]:
            if overlap[region] < 0:
                x0, y0, x1, y1 = _border_box(known[region], stride_bits, outer)
                bound[region] = 2 * (x1 - x0) * (y1 - y0)
                overlap[region] = _iou(x0, y0, min(x1 + 1, width - 1), min(y1 + 1, height - 1), gt_boxes)
            ious[1, cut] = max(ious[1, cut], overlap[region])
        if outer:
            largest = _largest(levels, stride_bits, cut, live[:num_live], known[:, _FIRST], area, bound)
            ious[0, cut] = overlap[largest]


@compiled
def _join_frame(
    joined: NDArray[np.uint8], region_of: NDArray[np.uint32], height: int, width: int, stride_bits: int
) -> None:
    """Make the pixels around the map region 0, with the bits of the columns that a window may be centred on."""
    for y in range(height + 2):
        row = y << stride_bits
        region_of[row] = region_of[row + width + 1] = 0
        joined[row + 1] |= 1
        joined[row + width] |= 4
    for row in (0, (height + 1) << stride_bits):
        region_of[row : row + width + 2] = 0
        joined[row : row + width + 2] = 7


@njit(inline="always")  # a call per pixel would count references to all these arrays, four times the total cost
def _join(
    pixel: np.uint32,
    window: NDArray[np.uint32],
    groups: NDArray[np.uint8],
    rest: NDArray[np.uint16],
    regions: np.uint32,
    joined: NDArray[np.uint8],
    region_of: NDArray[np.uint32],
    parent: NDArray[np.uint32],
    known: NDArray[np.uint32],
    area: NDArray[np.int64],
) -> np.uint32:
    """Join a pixel with the regions around it and return its region, ``regions`` for a new one."""
    x = pixel & (window[3] - 1)
    pattern = joined[pixel + window[1]] | joined[pixel + window[4]] << 3 | joined[pixel + window[7]] << 6
    gain = _AREA_GAIN[pattern]
    joined[pixel + window[3]] |= 4
    joined[pixel + window[4]] |= 2
    joined[pixel + window[5]] |= 1
    root = regions
    if groups[pattern] == CENTRE:
        parent[root] = root
        known[root, :2] = pixel
        known[root, 2:] = x
    while groups[pattern] != CENTRE:
        other = np.uint32(find(parent, region_of[pixel + window[groups[pattern]]]))
        pattern = rest[pattern]
        if root == regions:
            root = other
        elif other != root:
            root, other = min(root, other), max(root, other)
            parent[other] = root
            first, last, left, right = known[other]
            _grow(known[root], first, last, left, right)
            area[root] += area[other]
    region_of[pixel + window[4]] = root
    _grow(known[root], pixel, pixel, x, x)
    area[root] += gain
    return root


@compiled
def _grow(known: NDArray[np.uint32], first: int, last: int, left: int, right: int) -> None:
    """Add pixels to what is known of a region."""
    known[_FIRST] = min(known[_FIRST], first)
    known[_LAST] = max(known[_LAST], last)
    known[_LEFT] = min(known[_LEFT], left)
    known[_RIGHT] = max(known[_RIGHT], right)


@compiled
def _drop_joined(live: NDArray[np.uint32], parent: NDArray[np.uint32]) -> int:
    """Move the regions that were not joined to another to the front, and return how many there are."""
    count = 0
    for region in live:
        if parent[region] == region:
            live[count] = region
            count += 1
    return count


@compiled
def _border_box(
    known: NDArray[np.uint32], stride_bits: int, outer: bool
) -> tuple[np.int64, np.int64, np.int64, np.int64]:
    """Return the inclusive box of a region's border: its outermost pixels, or those around a hole."""
    margin = np.int64(0 if outer else 1)
    x0, x1 = np.int64(known[_LEFT]), np.int64(known[_RIGHT])
    y0, y1 = np.int64(known[_FIRST] >> stride_bits), np.int64(known[_LAST] >> stride_bits)
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


@compiled
def _iou(x0: int, y0: int, x1: int, y1: int, gt_boxes: NDArray[np.int64]) -> float:
    """Return the best IoU of an inclusive box with the true boxes."""
    best = 0.0
    for i in range(len(gt_boxes)):
        gt_x0, gt_y0, gt_x1, gt_y1 = gt_boxes[i]
        sides = max(0, min(x1, gt_x1) - max(x0, gt_x0) + 1), max(0, min(y1, gt_y1) - max(y0, gt_y0) + 1)
        intersection = sides[0] * sides[1]
        union = (x1 - x0 + 1) * (y1 - y0 + 1) + (gt_x1 - gt_x0 + 1) * (gt_y1 - gt_y0 + 1) - intersection
        best = max(best, intersection / union)
    return best


@compiled
def _largest(
    levels: NDArray[np.uint8],
    stride_bits: int,
    cut: int,
    live: NDArray[np.uint32],
    first: NDArray[np.uint32],
    area: NDArray[np.int64],
    bound: NDArray[np.int64],
) -> np.uint32:
    """Return the region with the largest polygon, of equal ones the one whose first pixel comes last.

    Holes are part of a polygon, so its area lies between ``area`` and ``bound``, which usually decides.
    """
    best: np.uint32 = live[0]
    for region in live:
        if area[region] > area[best]:
            best = region
    rivals = 0
    for region in live:
        rivals += bound[region] >= area[best]
    if rivals == 1:
        return best
    least, most = area[best], -1
    for region in live:
        if bound[region] >= max(least, most):
            polygon = _polygon_area(levels, stride_bits, first[region], cut)
            if polygon > most or (polygon == most and first[region] > first[best]):
                best, most = region, polygon
    return best


@compiled
def _polygon_area(levels: NDArray[np.uint8], stride_bits: int, start: np.uint32, cut: int) -> np.int64:
    """Return twice the area of the polygon through the pixel centres of an outer border, by Green's theorem.

    The border is followed clockwise from the first pixel of the region, trying the outermost neighbour first (Suzuki &
    Abe, "Topological structural analysis of digitized binary images by border following", CVGIP 1985), until its first
    step recurs.
    """
    dx = (1, 1, 0, -1, -1, -1, 0, 1)
    dy = (0, 1, 1, 1, 0, -1, -1, -1)
    height, width = levels.shape
    start_x, start_y = np.int64(start) & ((1 << stride_bits) - 1), np.int64(start) >> stride_bits
    x, y, area = start_x, start_y, np.int64(0)
    first_move, move = -1, 0  # nothing lies above or left of the first pixel
    while True:
        for _ in range(8):
            next_x, next_y = x + dx[move], y + dy[move]
            if 0 <= next_x < width and 0 <= next_y < height and levels[next_y, next_x] > cut:
                break
            move = (move + 1) & 7
        else:
            return area
        if x == start_x and y == start_y and move == first_move:
            return area
        if first_move < 0:
            first_move = move
        area += (x + next_x) * dy[move]
        x, y = next_x, next_y
        move = (move + 5) & 7

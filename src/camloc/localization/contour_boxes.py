"""Best IoU of the wsolevaluation boxes at every threshold, from two passes over each map.

That evaluator (Choe et al., CVPR 2020) draws the contours of a map anew at each of up to 1000 thresholds. It cuts 8 bit
maps, so at most 255 of the cuts differ, and from one to the next regions only grow: outer borders belong to the
8-connected components above the cut, which grow as it falls, and hole borders to the 4-connected components of the
rest, which grow as it rises. Each pass is one union-find that carries what the boxes need.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from camloc.localization.union_find import (
    CENTRE,
    EIGHT_NEIGHBOURS,
    FOUR_NEIGHBOURS,
    compiled,
    find,
    neighbour_groups,
)

_GREY_LEVELS = 256
_FIRST, _LAST, _LEFT, _RIGHT = range(4)
"""What is known of a region: its first and last pixel in raster order, leftmost and rightmost column."""


def best_iou_per_threshold(
    score_maps: Tensor, gt_boxes: Sequence[Tensor], thresholds: Sequence[float] | Tensor
) -> tuple[Tensor, Tensor]:
    r"""Best IoU with a true box that wsolevaluation finds at each threshold, for one contour and for all.

    The mask at threshold t is, with 8 bit levels (Choe et al., CVPR 2020, as its evaluator computes it):

    .. math:: mask_t = \{level > \lfloor t \cdot \max level \rfloor\}, \quad level = \lfloor 255 \cdot score \rfloor

    Its contours are the outer and hole borders of OpenCV's ``findContours(RETR_TREE)``: outer borders of 8-connected
    components, and around each 4-connected hole a border one pixel wider. A contour's box ends one pixel after it,
    inside the picture, and IoU counts inclusive pixels, (x1 - x0 + 1)(y1 - y0 + 1). A mask without a contour has the
    box (0, 0, 0, 0), one pixel. The single contour is the one with the largest polygon through its pixels' centres:
    never a hole border, as the outer border around it comes first and has no less area; of equal ones the one whose
    first pixel in raster order comes last, which is the first that OpenCV lists.

    The maps are spread over ``torch.get_num_threads()`` threads, which does not change the result.

    Args:
        score_maps: (B,H,W) in [0,1], any real type and device. A map with a NaN or infinite pixel is read as zeros;
            a flat map is cut as it is, so ones have the whole picture's box and zeros no contour.
        gt_boxes: B integer tensors (M_i,4), inclusive xyxy pixels of the map, at least one true box each.
        thresholds: (T,) fractions of the largest level, in [0,1] and in any order; read as float64.

    Returns:
        ``(single, multi)``, each (B,T) float64 on the CPU: the best IoU of the single contour's box, and of all boxes.

    Raises:
        ValueError: If a shape does not fit, a score or threshold lies outside [0,1], or a picture has no true box or
            one that is negative, inverted or not of an integer type.

    Example:
        >>> score_map = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.5]])
        >>> single, multi = best_iou_per_threshold(score_map[None], [torch.tensor([[4, 1, 4, 1]])], [0.2, 0.7])
        >>> single, multi
        (tensor([[0., 0.]], dtype=torch.float64), tensor([[1., 0.]], dtype=torch.float64))
    """
    fractions = _checked_thresholds(thresholds)
    true_boxes = _checked_boxes(gt_boxes, len(score_maps))
    maps = checked_score_maps(score_maps)[0].numpy()
    best = np.zeros((2, len(maps), len(fractions)))

    def measure(index: int) -> None:
        levels = (maps[index].astype(np.float64) * (_GREY_LEVELS - 1)).astype(np.uint8)
        cuts = (fractions * levels.max()).astype(np.int64)  # truncates, as int(t * max) does
        wanted = np.zeros(_GREY_LEVELS, np.bool_)
        wanted[cuts] = True
        ious = np.zeros((2, _GREY_LEVELS))
        _measure_map(levels, true_boxes[index], wanted, ious)
        best[:, index] = ious[:, cuts]

    # A pool of this call's own: one that outlives it would not survive a fork into a loader's worker.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(measure, range(len(maps))))
    single, multi = torch.from_numpy(best)
    return single, multi


def checked_score_maps(score_maps: Tensor) -> tuple[Tensor, Tensor]:
    """Read score maps as wsolevaluation wants them, which also says which of them it would not want.

    Args:
        score_maps: (B,H,W) in [0,1], any real type and device.

    Returns:
        The maps on the CPU, float64 where they were and float32 otherwise, with zeros for each that has a NaN or
        infinite pixel; and (B,) bool, the degenerate ones: those, and the flat ones, which stay as they are.

    Raises:
        ValueError: If ``score_maps`` is not (B,H,W) with pixels, or a finite map leaves [0,1].

    Example:
        >>> checked_score_maps(torch.tensor([[[0.2, 1.0]], [[0.2, 0.2]], [[0.2, torch.nan]]]))
        (tensor([[[0.2000, 1.0000]],
        <BLANKLINE>
                [[0.2000, 0.2000]],
        <BLANKLINE>
                [[0.0000, 0.0000]]]), tensor([False,  True,  True]))
    """
    if score_maps.ndim != len("BHW") or 0 in score_maps.shape[1:]:
        raise ValueError(f"score_maps has shape {tuple(score_maps.shape)}; give (B,H,W) with H and W at least 1.")
    maps = score_maps.detach().cpu()
    if maps.dtype != torch.float64:
        maps = maps.to(torch.float32)
    low, high = maps.amin((1, 2)), maps.amax((1, 2))  # fifty times faster than aminmax, NaN comes through too
    finite = low.isfinite() & high.isfinite()
    if outside := (finite & ((low < 0) | (high > 1))).nonzero().flatten().tolist():
        found = f"{float(low[outside[0]])} to {float(high[outside[0]])}"
        raise ValueError(f"score_maps[{outside[0]}] spans {found}; normalize every map to [0, 1] first.")
    if not finite.all():
        maps = maps.where(finite[:, None, None], 0.0)
    return maps, ~finite | (low == high)


def _checked_thresholds(thresholds: Sequence[float] | Tensor) -> NDArray[np.float64]:
    """The thresholds as (T,) float64 on the CPU, or one clear error."""
    fractions = torch.as_tensor(thresholds, dtype=torch.float64, device="cpu").detach()
    if fractions.ndim != 1 or len(fractions) == 0:
        raise ValueError(f"thresholds has shape {tuple(fractions.shape)}; give a list of at least one fraction.")
    if (outside := fractions[~((fractions >= 0) & (fractions <= 1))]).numel():
        raise ValueError(f"thresholds holds {float(outside[0])}; give fractions of the maximum, in [0, 1].")
    array: NDArray[np.float64] = fractions.numpy()
    return array


def _checked_boxes(gt_boxes: Sequence[Tensor], num_maps: int) -> list[NDArray[np.int64]]:
    """Each picture's true boxes as (M,4) int64, or one clear error."""
    if len(gt_boxes) != num_maps:
        raise ValueError(f"score_maps holds {num_maps} maps, gt_boxes those of {len(gt_boxes)} pictures.")
    for index, boxes in enumerate(gt_boxes):
        if boxes.ndim != len("M4") or boxes.shape[1] != len("xyxy") or len(boxes) == 0:
            raise ValueError(f"gt_boxes[{index}] has shape {tuple(boxes.shape)}; give (M,4) with at least one box.")
        if boxes.is_floating_point():
            raise ValueError(f"gt_boxes[{index}] is {boxes.dtype}; give inclusive whole pixels as an integer tensor.")
        if (boxes < 0).any() or (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValueError(f"gt_boxes[{index}] is {boxes.tolist()}; give 0 <= x0 <= x1 and 0 <= y0 <= y1.")
    return [boxes.detach().to("cpu", torch.int64).contiguous().numpy() for boxes in gt_boxes]


def _area_gains() -> NDArray[np.uint8]:
    """Twice the area that a pixel adds to its region's polygon, for each pattern of pixels above the cut around it.

    Of four pixels in a square, all together enclose an area of 1 and any three 1/2.
    """
    squares = [sum(1 << (corner + j) for j in (0, 1, 3, 4) if corner + j != CENTRE) for corner in (0, 1, 3, 4)]
    gains = [sum((pattern & square).bit_count() > 1 for square in squares) for pattern in range(512)]
    return np.array(gains, np.uint8)


_OUTER_GROUPS = neighbour_groups(EIGHT_NEIGHBOURS)
_HOLE_GROUPS = neighbour_groups(FOUR_NEIGHBOURS)
_AREA_GAIN = _area_gains()


# The arrays below are unsigned because Numba checks every signed index for being negative.


@compiled
def _measure_map(
    levels: NDArray[np.uint8], gt_boxes: NDArray[np.int64], wanted: NDArray[np.bool_], ious: NDArray[np.float64]
) -> None:
    """Write the single-contour and the multi-contour IoU (2,256) of one map (H,W) at each wanted cut."""
    height, width = levels.shape
    stride_bits = 0
    while 1 << stride_bits < width + 2:
        stride_bits += 1
    # Counting sort of the pixels ``y * stride + x``, lowest level first.
    starts = np.zeros(_GREY_LEVELS + 1, np.uint32)
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

    The picture lies in a frame, so that every pixel has a whole 3x3 window; a pixel's number is that of its window's
    upper left corner.
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
        # The frame is a region that is never live, and of joined regions the older remains: no hole touches it.
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
    """Make the pixels around the picture region 0, with the bits of the columns that a window may be centred on."""
    for y in range(height + 2):
        row = y << stride_bits
        region_of[row] = region_of[row + width + 1] = 0
        joined[row + 1] |= 1
        joined[row + width] |= 4
    for row in (0, (height + 1) << stride_bits):
        region_of[row : row + width + 2] = 0
        joined[row : row + width + 2] = 7


@njit(inline="always")  # a call per pixel would count references to all these arrays, four times the whole cost
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
    """Join a pixel with the regions around it and return what it belongs to, ``regions`` where that is a new one."""
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
    """Move the regions that no other one took in to the front, and return how many they are."""
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
    """Inclusive box of a region's border: its own outermost pixels, or those around a hole."""
    margin = np.int64(0 if outer else 1)
    x0, x1 = np.int64(known[_LEFT]), np.int64(known[_RIGHT])
    y0, y1 = np.int64(known[_FIRST] >> stride_bits), np.int64(known[_LAST] >> stride_bits)
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


@compiled
def _iou(x0: int, y0: int, x1: int, y1: int, gt_boxes: NDArray[np.int64]) -> float:
    """Best IoU of an inclusive box with the true boxes."""
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
    """Region with the largest polygon, of equal ones the one whose first pixel comes last.

    Holes are part of a polygon, so its area lies between ``area`` and ``bound``. Mostly that settles it.
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
    """Twice the area of the polygon through an outer border's pixel centres, by Green's theorem.

    The border is followed clockwise from the region's first pixel, looking at the outermost neighbour first (Suzuki &
    Abe, "Topological structural analysis of digitized binary images by border following", CVGIP 1985), until its first
    step comes again.
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

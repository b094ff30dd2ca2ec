"""Boxes of the largest connected component at every threshold, from one pass over each map.

Lowering the threshold only adds pixels, so components grow and merge but never split: they are the nodes of the map's
component tree (Najman & Couprie, "Building the component tree in quasi-linear time", IEEE TIP 2006). Pixels are
visited from the highest value down and joined to their neighbours by a union-find that carries area and bounding box.
A sweep over 256 thresholds costs at most about twice what one low threshold costs.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.localization.union_find import EIGHT_NEIGHBOURS, compiled, find, neighbour_groups

_BUCKETS = 4096
"""Equal slices of [0, maximum]; with 256 thresholds most hold no cut, and their pixels need no search."""
_AREA, _FIRST, _LAST, _LEFT, _RIGHT = range(5)
"""What is known of a component: its area, first and last pixel in raster order, leftmost and rightmost column."""


def largest_component_boxes(score_maps: Tensor, cam_thresholds: Sequence[float] | Tensor) -> Tensor:
    r"""Return the bounding box of the largest 8-connected component of each map at each threshold.

    The box rule of Zhou et al. (CVPR 2016), where t is 0.2, for all t at once:

    .. math:: mask_t = \{(x, y) : score(x, y) > t \cdot \max score\}

    Maps, thresholds and their product are float32, so the mask is ``score_map > t * score_map.max()`` as torch and
    NumPy compute it for a float32 map. Of components of equal area the one whose first pixel in raster order comes
    first is taken. The maps are spread over ``torch.get_num_threads()`` threads, which does not change the boxes.

    Args:
        score_maps: (P,H,W) real, any device; read as float32. A map with a NaN or infinite pixel, or without a
            pixel above 0, has no box at any threshold.
        cam_thresholds: (T,) fractions of each map's maximum, ascending; repeats, negatives and values over 1 may occur.

    Returns:
        (P,T,4) int32 half-open xyxy pixels on the device of ``score_maps``; (0, 0, 0, 0) where nothing is above
        the threshold, as always at 1.

    Raises:
        ValueError: ``score_maps`` is not (P,H,W) with pixels, or ``cam_thresholds`` is not 1-D, is empty, not finite or
            not ascending.

    Example:
        >>> score_map = torch.tensor([[0.9, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 1.0]])
        >>> largest_component_boxes(score_map[None], [0.2, 0.5, 0.95])
        tensor([[[2, 0, 4, 2],
                 [0, 0, 1, 1],
                 [3, 1, 4, 2]]], dtype=torch.int32)
    """
    if score_maps.ndim != len("PHW") or 0 in score_maps.shape[1:]:
        raise ValueError(f"score_maps has shape {tuple(score_maps.shape)}; give (P,H,W) with H and W at least 1.")
    fractions = _checked(cam_thresholds)
    maps = score_maps.detach().to("cpu", torch.float32).contiguous().numpy()
    # NumPy's arrays and extrema: torch's would wake its own threads, which keep spinning and slow down those below.
    boxes = np.zeros((len(maps), len(fractions), 4), dtype=np.int32)
    low, high = maps.min((1, 2)), maps.max((1, 2))
    maximum = np.where(np.isfinite(low) & np.isfinite(high), high, np.float32(0))
    # A new pool for each call: one that outlives it would not survive a fork into a loader worker.
    workers = max(1, min(torch.get_num_threads(), len(maps)))
    with ThreadPoolExecutor(workers) as pool:
        chunks = (np.array_split(array, workers) for array in (maps, maximum, boxes))
        list(pool.map(partial(_sweep_maps, fractions.numpy()), *chunks))
    return torch.from_numpy(boxes).to(score_maps.device)


def _checked(thresholds: Sequence[float] | Tensor) -> Tensor:
    """Return the thresholds as (T,) float32 on the CPU.

    Raises:
        ValueError: If they are not an ascending list of numbers.
    """
    fractions = torch.as_tensor(thresholds, dtype=torch.float32, device="cpu").detach()
    if fractions.ndim != 1 or len(fractions) == 0:
        raise ValueError(f"thresholds has shape {tuple(fractions.shape)}; give a list of at least one fraction.")
    if not fractions.isfinite().all():
        raise ValueError(f"thresholds holds {fractions[~fractions.isfinite()][0]}; give finite fractions only.")
    if (descents := (fractions.diff() < 0).nonzero()).numel():
        i = int(descents[0])
        raise ValueError(f"thresholds falls from {fractions[i]} to {fractions[i + 1]} at {i + 1}; sort it ascending.")
    return fractions


_GROUP_FIRST, _GROUP_REST = neighbour_groups(EIGHT_NEIGHBOURS)


# The arrays below are unsigned because Numba checks every signed index for being negative, a quarter of the run time.


@compiled
def _sweep_maps(
    thresholds: NDArray[np.float32],
    maps: NDArray[np.float32],
    maximum: NDArray[np.float32],
    boxes: NDArray[np.int32],
) -> None:
    """Write the boxes (P,T,4) of P maps; a map without a maximum above 0 keeps its zeros."""
    for b in range(len(maps)):
        if maximum[b] > 0:
            stride_bits = 0
            while 1 << stride_bits <= maps.shape[2]:
                stride_bits += 1
            levels, counts = _levels(maps[b], maximum[b], thresholds * maximum[b])
            order, ends = _descending(levels, counts, 1 << stride_bits)
            _flood(order, ends, maps.shape[1], stride_bits, boxes[b])


@compiled
def _bucket(value: float, scale: float) -> np.uint32:
    """Return the slice of a value; monotonic, so a cut in a lower slice than a pixel's is below that pixel."""
    return np.uint32(min(max(value * scale, 0.0), _BUCKETS - 1.0))


@compiled
def _levels(
    score_map: NDArray[np.float32], maximum: float, cuts: NDArray[np.float32]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the level of each pixel, (H,W) in 0..T, the number of cuts below it, and the pixels per level, (T+1,)."""
    scale = np.float64(_BUCKETS) / maximum
    cuts_before = np.zeros(_BUCKETS + 1, np.int64)
    for cut in cuts:
        cuts_before[_bucket(cut, scale) + 1] += 1
    for i in range(_BUCKETS):
        cuts_before[i + 1] += cuts_before[i]

    height, width = score_map.shape
    levels = np.empty((height, width), np.uint32)
    counts = np.zeros(len(cuts) + 1, np.uint32)
    for y in range(height):
        for x in range(width):
            value = score_map[y, x]
            bucket = _bucket(value, scale)
            level, above = cuts_before[bucket], cuts_before[bucket + 1]
            while level < above:
                middle = (level + above) >> 1
                if cuts[middle] < value:
                    level = middle + 1
                else:
                    above = middle
            levels[y, x] = level
            counts[level] += 1
    return levels, counts


@compiled
def _descending(
    levels: NDArray[np.uint32], counts: NDArray[np.uint32], stride: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Sort the pixels ``y * stride + x`` from level T down to 1 (counting sort), and return where levels 0..T+1 end."""
    ends = np.zeros(len(counts) + 1, np.uint32)
    position = 0
    for level in range(len(counts) - 1, 0, -1):
        ends[level] = position
        position += counts[level]
    order = np.empty(position, np.uint32)
    height, width = levels.shape
    for y in range(height):
        for x in range(width):
            level = levels[y, x]
            if level > 0:
                order[ends[level]] = y * stride + x
                ends[level] += 1
    return order, ends


@compiled
def _grow(known: NDArray[np.uint32], area: int, first: int, last: int, left: int, right: int) -> None:
    """Add pixels to what is known of a component."""
    known[_AREA] += area
    known[_FIRST] = min(known[_FIRST], first)
    known[_LAST] = max(known[_LAST], last)
    known[_LEFT] = min(known[_LEFT], left)
    known[_RIGHT] = max(known[_RIGHT], right)


@compiled
def _flood(
    order: NDArray[np.uint32], ends: NDArray[np.uint32], height: int, stride_bits: int, boxes: NDArray[np.int32]
) -> None:
    """Activate the pixels level by level, and write the box of the largest component (T,4) after each.

    The map is surrounded by pixels that never become active, so that every pixel has a full 3x3 window; the number of a
    pixel is that of the upper left corner of its window.
    """
    stride = 1 << stride_bits
    window = np.empty(9, np.uint32)
    for j in range(9):
        window[j] = j // 3 * stride + j % 3
    # Bits 0, 1, 2 of a pixel: its left neighbour, itself, its right neighbour are active.
    active = np.zeros((height + 2) * stride, np.uint8)
    component_of = np.empty((height + 2) * stride, np.uint32)
    # A component starts at a pixel without active neighbours: at most one in each 2x2 block of pixels.
    most = (height + 1) // 2 * (stride // 2) + 1
    parent = np.empty(most, np.uint32)
    known = np.empty((most, 5), np.uint32)
    components = 0
    largest, largest_rank = 0, np.int64(0)

    for threshold in range(len(boxes) - 1, -1, -1):
        for i in range(ends[threshold + 2], ends[threshold + 1]):
            pixel = order[i]
            x = pixel & (stride - 1)
            pattern = active[pixel + window[1]] | active[pixel + window[4]] << 3 | active[pixel + window[7]] << 6
            active[pixel + window[3]] |= 4
            active[pixel + window[4]] |= 2
            active[pixel + window[5]] |= 1
            if pattern == 0:
                components += 1
                root = components
                parent[root] = root
                known[root, _AREA] = 0
                known[root, _FIRST] = known[root, _LAST] = pixel
                known[root, _LEFT] = known[root, _RIGHT] = x
            else:
                root = find(parent, component_of[pixel + window[_GROUP_FIRST[pattern]]])
                pattern = _GROUP_REST[pattern]
                while pattern != 0:
                    other = find(parent, component_of[pixel + window[_GROUP_FIRST[pattern]]])
                    pattern = _GROUP_REST[pattern]
                    if other != root:
                        if known[other, _AREA] > known[root, _AREA]:
                            root, other = other, root
                        parent[other] = root
                        area, first, last, left, right = known[other]
                        _grow(known[root], area, first, last, left, right)
            component_of[pixel + window[4]] = root
            _grow(known[root], 1, pixel, pixel, x, x)
            # Larger area first, then the earlier first pixel, in one comparison; components only ever grow.
            rank = (np.int64(known[root, _AREA]) << 32) - known[root, _FIRST]
            if rank > largest_rank:
                largest, largest_rank = root, rank
        if largest > 0:
            boxes[threshold, 0] = known[largest, _LEFT]
            boxes[threshold, 1] = known[largest, _FIRST] >> stride_bits
            boxes[threshold, 2] = known[largest, _RIGHT] + 1
            boxes[threshold, 3] = (known[largest, _LAST] >> stride_bits) + 1

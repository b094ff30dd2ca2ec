"""The box generator that the authors of Zhou et al. (CVPR 2016) released, in place of the rule of the paper's text."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = (20, 100, 110)
"""Where the 8-bit map is binarized."""
CORE = 10
"""Of 255: what is no further inside than this is taken off each region."""
Box = tuple[int, int, int, int]


def released_boxes(score_maps: Tensor, *, box: Literal["loose", "tight"] = "loose") -> Tensor:
    """Box score maps without a CAM threshold, see :func:`loose_and_tight_boxes`.

    Args:
        score_maps: (P,H,W) in [0,1].
        box: Which of the two.

    Returns:
        (P,4) int32 half-open xyxy pixels of the maps; (0, 0, 0, 0) where there is no box.

    Raises:
        ValueError: As that function, or ``box`` is neither.

    Example:
        >>> score_map = torch.zeros(1, 20, 30)
        >>> score_map[0, 4:16, 5:25] = 1
        >>> released_boxes(score_map)
        tensor([[ 5,  4, 25, 16]], dtype=torch.int32)
    """
    if box not in ("loose", "tight"):
        raise ValueError(f"box_rule.box must be loose or tight, found {box!r}")
    return loose_and_tight_boxes(score_maps)[:, 0 if box == "loose" else 1]


def loose_and_tight_boxes(score_maps: Tensor) -> Tensor:
    r"""Box score maps at three fixed levels and keep the two largest boxes that differ.

    .. math::
        core_l = \{255 \, d_l / \max d_l > 10\}, \quad
        d_l(p) = \min_{q: level(q) \le l} |p - q|, \quad
        level = \mathrm{round}(255 \cdot score), \quad l \in \{20, 100, 110\}

    Distances are rounded after rescaling. Contours of the three cores, holes too, give boxes, which are sorted by area.
    From the largest on, a box is dropped that a larger one overlaps by more than half of the larger's area. The
    first is the loose box, the second the tight one.

    This is ``bboxgenerator/dt_box.cpp`` of the release. Its loop passes over the box that follows a dropped one; so the
    tight box is the second largest, or, if that one is dropped, the third, whatever the loose one covers of it. Left
    out is that it takes 5 pixels off boxes at the right and bottom edge of full-size images.

    Args:
        score_maps: (P,H,W) in [0,1]; a map with a pixel that is not finite has no box.

    Returns:
        (P,2,4) int32 half-open xyxy pixels of the maps. Where there is one box it is both; (0, 0, 0, 0) for none.

    Raises:
        ValueError: ``score_maps`` is not (P,H,W) with pixels, or a finite map leaves [0,1].

    Example:
        >>> score_map = torch.zeros(1, 40, 60)
        >>> score_map[0, 5:35, 5:55] = 0.3
        >>> score_map[0, 10:20, 10:20] = 1
        >>> loose_and_tight_boxes(score_map)
        tensor([[[ 5,  5, 55, 35],
                 [10, 10, 20, 20]]], dtype=torch.int32)
    """
    levels = _levels(score_maps)
    # An array: inference mode does not reach the threads, which could not write to a tensor that was made in it.
    boxes = np.zeros((len(levels), 2, 4), dtype=np.int32)

    def box(index: int) -> None:
        found = _boxes(levels[index])
        if found:
            boxes[index] = _loose_and_tight(found)

    # A new pool for each call: one that outlives it would not survive a fork into a loader worker.
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        list(pool.map(box, range(len(levels))))
    return torch.from_numpy(boxes)


def _levels(score_maps: Tensor) -> NDArray[np.uint8]:
    """Return the maps in 8 bits, zeros for those that are not finite."""
    if score_maps.ndim != len("PHW") or 0 in score_maps.shape[1:]:
        raise ValueError(f"score_maps has shape {tuple(score_maps.shape)}; give (P,H,W) with H and W at least 1.")
    maps = score_maps.detach().to("cpu", torch.float32)
    maps = maps.where(maps.isfinite().all(dim=2).all(dim=1)[:, None, None], 0.0)
    if ((maps < 0) | (maps > 1)).any():
        raise ValueError(f"score_maps span {maps.min():g} to {maps.max():g}; normalize every map to [0, 1] first.")
    array: NDArray[np.uint8] = np.floor(maps.numpy() * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return array


def _boxes(levels: NDArray[np.uint8]) -> list[Box]:
    """Return the bounding boxes of all contours, the largest first, of equal ones the one found first."""
    found = []
    for level in LEVELS:
        core = _core((levels > level).astype(np.uint8))
        for contour in cv2.findContours(core, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]:
            x, y, width, height = cv2.boundingRect(contour)
            found.append((x, y, x + width, y + height))
    return sorted(found, key=_area, reverse=True)  # stable


def _core(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what of a mask lies far enough inside, as 0 and 1."""
    if mask.all() or not mask.any():  # there is nothing to be far from, or nothing inside
        return mask
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
    core: NDArray[np.uint8] = (np.floor(distance * (255 / distance.max()) + 0.5) > CORE).astype(np.uint8)
    return core


def _loose_and_tight(boxes: Sequence[Box]) -> tuple[Box, Box]:
    """Return the first box, and the next one that is left."""
    loose, *others = boxes
    if others and 2 * _overlap(loose, others[0]) > _area(loose):
        others = others[1:]  # the box after a dropped one is passed over, in the release
    return loose, others[0] if others else loose


def _area(box: Box) -> int:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def _overlap(one: Box, other: Box) -> int:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)

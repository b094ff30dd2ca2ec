"""Why images were missed: one cause for each, from the boxes alone, and counts of the causes."""

from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from camloc.boxes import area, iou
from camloc.metrics.checks import (
    check_count,
    check_iou_threshold,
    check_predicted_boxes,
    check_size,
    check_tensor,
    checked_boxes,
)


class Cause(IntEnum):
    """What became of an image; exactly one cause applies, see :func:`miss_causes`."""

    HIT = 0
    WRONG_CLASS = 1
    NO_BOX = 2
    PART = 3
    CONTEXT = 4
    MERGED = 5
    ELSEWHERE = 6


NO_CAUSE = -1
"""Of a pair without a true box, which is neither hit nor missed."""
CAUSES = (
    "hit",
    "wrong class",
    "no box",
    "too small (part)",
    "too large (context)",
    "merged instances",
    "elsewhere",
)
"""Names of the causes for people, in the order of :class:`Cause`."""
OBJECT_SIZES = ("under 10%", "10 to 25%", "25 to 50%", "50% and more")
"""Bins of the object's share of its image; a share at a border belongs to the upper bin."""

MOSTLY = 0.7
"""A box is mostly inside another from this share on; TS-CAM (Gao et al., ICCV 2021) uses it for too large boxes."""
INSTANCE = 0.5
"""A true box is covered from this share on."""
_SIZE_BORDERS = (0.1, 0.25, 0.5)


def miss_causes(boxes: Tensor, gt_boxes: Sequence[Tensor], is_right_class: Tensor, iou_threshold: float) -> Tensor:
    """Find out for each image why its box is not a top-1 hit.

    Let g be the true box with the highest IoU (the first of several). The first rule that applies decides:

    1. The IoU with g is at least ``iou_threshold``: ``HIT``, or ``WRONG_CLASS`` if the class is wrong.
    2. The box has no area: ``NO_BOX``.
    3. It covers at least half of each of two true boxes, or overlaps two and has an IoU of at least ``iou_threshold``
       with the smallest box around all that it overlaps: ``MERGED``.
    4. It is smaller than g, and 70% of it lies inside g: ``PART``.
    5. It is not smaller than g, and 70% of g lies inside it: ``CONTEXT``.
    6. Otherwise ``ELSEWHERE``: next to the object, or across its edge.

    A box that misses gets its cause whether or not the class is right, so that the causes other than ``HIT`` add up to
    the top-1 localization error.

    Args:
        boxes: (N,4) half-open xyxy pixels, the box of each image at the reported CAM threshold.
        gt_boxes: N tensors (M_i,4) of true boxes in the same pixels, M_i at least 1.
        is_right_class: (N,) bool, whether the most likely class is the true one.
        iou_threshold: Fraction.

    Returns:
        (N,) int64 values of :class:`Cause`, on the CPU.

    Raises:
        ValueError: If a shape or type does not fit, a box is not finite, or an image has no true box.

    Example:
        >>> boxes = torch.tensor([[0, 0, 10, 10], [2, 2, 5, 5], [0, 0, 20, 20]])
        >>> gt_boxes, is_right = [torch.tensor([[0.0, 0.0, 10.0, 10.0]])] * 3, torch.tensor([False, True, True])
        >>> causes = miss_causes(boxes, gt_boxes, is_right, iou_threshold=0.5)
        >>> [CAUSES[cause] for cause in causes]
        ['wrong class', 'too small (part)', 'too large (context)']
    """
    check_tensor("boxes", boxes, "real numbers", "N", 4)
    check_tensor("is_right_class", is_right_class, "bool", len(boxes))
    check_iou_threshold("iou_threshold", iou_threshold)
    boxes, is_right_class = boxes.cpu()[:, None].to(torch.float64), is_right_class.cpu()
    check_predicted_boxes("boxes", boxes)
    each = checked_boxes("gt_boxes", gt_boxes, len(boxes))
    if not each:
        return torch.zeros(0, dtype=torch.int64)
    # A padded true box is (0,0,0,0), which overlaps nothing.
    true_boxes = pad_sequence(each, batch_first=True)
    overlap = iou(boxes, true_boxes)[:, 0]
    best = overlap.argmax(dim=1, keepdim=True)
    best_overlap = overlap.gather(1, best)[:, 0]
    corners = torch.maximum(boxes[..., :2], true_boxes[..., :2]), torch.minimum(boxes[..., 2:], true_boxes[..., 2:])
    shared, box_area, true_area = area(torch.cat(corners, dim=-1)), area(boxes)[:, 0], area(true_boxes)
    best_shared, best_area = shared.gather(1, best)[:, 0], true_area.gather(1, best)[:, 0]
    is_smaller = box_area < best_area

    cause = torch.full((len(boxes),), Cause.ELSEWHERE, dtype=torch.int64)
    # Rules in reverse order, as later ones overwrite earlier ones. Products, because an area may be zero.
    cause[~is_smaller & (best_shared >= MOSTLY * best_area)] = Cause.CONTEXT
    cause[is_smaller & (best_shared >= MOSTLY * box_area)] = Cause.PART
    touched = shared > 0
    covered = (touched & (shared >= INSTANCE * true_area)).sum(dim=1)
    # A single overlapped box needs no exception: a box with that IoU is a hit, below.
    fits_touched = iou(boxes, _around(true_boxes, touched)[:, None])[:, 0, 0] >= iou_threshold
    cause[(covered > 1) | fits_touched] = Cause.MERGED
    cause[box_area == 0] = Cause.NO_BOX
    is_found = best_overlap >= iou_threshold
    cause[is_found] = Cause.WRONG_CLASS
    cause[is_found & is_right_class] = Cause.HIT
    return cause


def by_class(causes: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Count causes per true class.

    Args:
        causes: (N,) from :func:`miss_causes`.
        target: (N,) true classes, 0-based.
        num_classes: C.

    Returns:
        (C,7) int64 numbers of images.

    Raises:
        ValueError: If a shape or type does not fit, a target is not in [0, C), or a cause is none.

    Example:
        >>> by_class(torch.tensor([Cause.HIT, Cause.PART, Cause.PART]), torch.tensor([0, 1, 1]), num_classes=2)
        tensor([[1, 0, 0, 0, 0, 0, 0],
                [0, 0, 0, 2, 0, 0, 0]])
    """
    check_tensor("causes", causes, "integers", "N")
    check_tensor("target", target, "integers", len(causes))
    check_count("num_classes", num_classes)
    if causes.numel() and not (int(causes.min()) >= 0 and int(causes.max()) < len(CAUSES)):
        raise ValueError(f"causes must lie in [0, {len(CAUSES)}), got {int(causes.min())} to {int(causes.max())}")
    if target.numel() and not (int(target.min()) >= 0 and int(target.max()) < num_classes):
        raise ValueError(f"target must lie in [0, {num_classes}), got {int(target.min())} to {int(target.max())}")
    return torch.bincount(target * len(CAUSES) + causes, minlength=num_classes * len(CAUSES)).view(-1, len(CAUSES))


def by_object_size(causes: Tensor, shares: Tensor) -> Tensor:
    """Count causes per bin of the object's share of its image.

    Args:
        causes: (N,) from :func:`miss_causes`.
        shares: (N,) from :func:`object_share`.

    Returns:
        (4,7) int64 numbers of images, one row for each of ``OBJECT_SIZES``.

    Raises:
        ValueError: If a shape or type does not fit, a share is negative or NaN, or a cause is none.

    Example:
        >>> by_object_size(torch.tensor([Cause.HIT, Cause.NO_BOX]), torch.tensor([0.25, 0.05])).tolist()
        [[0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]
    """
    check_tensor("shares", shares, "real numbers", "N")
    if not (shares >= 0).all():
        raise ValueError("shares must be fractions of the image's area, and some are negative or NaN")
    bins = torch.bucketize(shares.to(torch.float64), torch.tensor(_SIZE_BORDERS, dtype=torch.float64), right=True)
    return by_class(causes, bins, len(OBJECT_SIZES))


def object_share(gt_boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Return the largest true box's share of the image's area.

    Args:
        gt_boxes: N tensors (M_i,4) of half-open xyxy pixels, M_i at least 1.
        sizes: N times ``(height, width)`` of the images in the same pixels.

    Returns:
        (N,) float64, in [0,1] for boxes inside their images.

    Raises:
        ValueError: If a shape or type does not fit, an image has no true box, or a size is none.

    Example:
        >>> object_share([torch.tensor([[0, 0, 4, 2], [0, 0, 5, 5]])], [(10, 10)])
        tensor([0.2500], dtype=torch.float64)
    """
    each = checked_boxes("gt_boxes", gt_boxes, len(sizes))
    for size in sizes:
        check_size("each of sizes", size)
    shares = [float(area(b).max()) / (height * width) for b, (height, width) in zip(each, sizes, strict=True)]
    return torch.tensor(shares, dtype=torch.float64)


def _around(true_boxes: Tensor, touched: Tensor) -> Tensor:
    """Return (N,4), the smallest box around those of (N,M,4) that ``touched`` (N,M) marks; without area if none is."""
    low = true_boxes[..., :2].masked_fill(~touched[..., None], torch.inf).amin(dim=1)
    high = true_boxes[..., 2:].masked_fill(~touched[..., None], -torch.inf).amax(dim=1)
    return torch.cat([low, high], dim=-1)

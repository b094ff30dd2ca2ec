"""True boxes, thresholds and hits of MaxBoxAcc, exactly as the evaluator wsolevaluation computes them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from camloc.localization.contour_boxes import best_iou_per_threshold
from camloc.metrics.checks import MAX_THRESHOLDS, check_size, check_tensor, is_number

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
VERSIONS = ("max_box_acc", "max_box_acc_v2")
"""With one contour per map, and with all of its contours."""


def wsolevaluation_thresholds(interval: float) -> Tensor:
    """Return the thresholds 0, ``interval``, 2 ``interval``, ... below 1, bit for bit as NumPy's ``arange`` does.

    Args:
        interval: Step between thresholds, in (0, 1]; the field uses 0.001 and 0.01.

    Returns:
        (T,) float64.

    Raises:
        ValueError: If ``interval`` is no number in (0, 1], or so small that there are more than ``MAX_THRESHOLDS``.

    Example:
        >>> wsolevaluation_thresholds(0.25)
        tensor([0.0000, 0.2500, 0.5000, 0.7500], dtype=torch.float64)
    """
    if not is_number(interval) or not 0 < interval <= 1:
        raise ValueError(f"cam_curve_interval is the step between thresholds, in (0, 1], got {interval}")
    if interval < 1 / MAX_THRESHOLDS:
        raise ValueError(f"cam_curve_interval={interval} gives more than {MAX_THRESHOLDS} thresholds; widen it")
    return torch.from_numpy(np.arange(0, 1, interval))


def wsolevaluation_boxes(boxes: Tensor, image_size: tuple[int, int], map_size: tuple[int, int]) -> Tensor:
    r"""Carry annotated boxes to the pixels of a score map as wsolevaluation does, truncating fractions.

    .. math:: x' = \lfloor x \cdot W_{map} / W_{image} \rfloor

    Both corners are scaled as points although the second is an inclusive pixel, so boxes come out slightly too small.
    The numbers of the literature use these boxes; :func:`camloc.boxes.rescale` is exact.

    Args:
        boxes: (M,4) integers, inclusive xyxy pixels of the image.
        image_size: ``(height, width)`` the boxes were drawn at.
        map_size: ``(height, width)`` of the score map, 224x224 in the evaluator.

    Returns:
        (M,4) int64 inclusive xyxy pixels of the score map.

    Raises:
        ValueError: If ``boxes`` is not (M,4) integers, a box is negative or inverted, or a size is none.

    Example:
        >>> wsolevaluation_boxes(torch.tensor([[60, 27, 385, 331]]), image_size=(335, 500), map_size=(224, 224))
        tensor([[ 26,  18, 172, 221]])
    """
    check_tensor("boxes", boxes, "integers", "M", 4)
    check_size("image_size", image_size)
    check_size("map_size", map_size)
    if (boxes < 0).any() or (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError(f"boxes is {boxes.tolist()}; give 0 <= x0 <= x1 and 0 <= y0 <= y1")
    (height, width), (map_height, map_width) = image_size, map_size
    # First the product, then the quotient, in float64: another order may truncate to another pixel.
    product = boxes.to(torch.float64) * torch.tensor([map_width, map_height] * 2, device=boxes.device)
    return (product / torch.tensor([width, height] * 2, device=boxes.device)).to(torch.int64)


def max_box_hits(score_maps: Tensor, gt_boxes: Sequence[Tensor], thresholds: Sequence[float] | Tensor) -> Tensor:
    r"""Decide for every pair and threshold whether a contour's box is a hit.

    .. math:: hit = \max_{c, m} IoU(b_c, g_m) \ge \delta

    Args:
        score_maps: (P,H,W) in [0,1]; see :func:`~camloc.localization.contour_boxes.best_iou_per_threshold`.
        gt_boxes: P integer tensors (M_i,4), inclusive xyxy pixels of the map.
        thresholds: (T,) fractions of each map's maximum.

    Returns:
        (2,P,3,T) bool: of the largest contour and of any contour; at IoU 0.3, 0.5 and 0.7.

    Raises:
        ValueError: If a map, a true box or a threshold is not as above.

    Example:
        >>> score_map = torch.zeros(1, 8, 8)
        >>> score_map[0, 2:6, 2:6] = 1
        >>> max_box_hits(score_map, [torch.tensor([[2, 2, 6, 4]])], torch.tensor([0.0]))[:, 0, :, 0]
        tensor([[ True,  True, False],
                [ True,  True, False]])
    """
    best = torch.stack(best_iou_per_threshold(score_maps, gt_boxes, thresholds))
    return best[:, :, None] >= torch.tensor(IOU_THRESHOLDS, dtype=torch.float64)[:, None]

"""The official ILSVRC CLS-LOC error: five predictions, any true instance, whole pixels of the original image."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from camloc.boxes import area, iou
from camloc.metrics.checks import check_iou_threshold, check_predicted_boxes, check_tensor, checked_boxes
from camloc.metrics.functional.classification import TOP_K
from camloc.metrics.functional.localization import IOU_THRESHOLD

NO_PREDICTION = -1
"""Label of a prediction that was not made."""


class DevkitCounts(NamedTuple):
    """Hits of each image among the first prediction and the first five, (N,2) bool each."""

    localization: Tensor
    """Label and box are right."""
    classification: Tensor
    """The label is right."""


def devkit_pixels(boxes: Tensor) -> Tensor:
    """Round boxes to whole pixels, as a submission states them.

    Each edge moves to the nearest pixel edge, halves up. Where that leaves nothing, the box takes the pixel that its
    middle lies in, which is always inside the image. A box without area becomes ``(0, 0, 0, 0)``.

    Args:
        boxes: (..., 4) half-open xyxy pixels of the image, any fraction.

    Returns:
        (..., 4) float64 whole numbers, half-open; subtracting 1 from x1 and y1 gives the devkit's inclusive boxes.

    Raises:
        ValueError: If ``boxes`` is not (..., 4), or holds numbers that are not finite.

    Example:
        >>> devkit_pixels(torch.tensor([[0.4, 0.5, 9.6, 10.5], [3.1, 3.1, 3.3, 9.0], [0.0, 0.0, 0.0, 0.0]]))
        tensor([[ 0.,  1., 10., 11.],
                [ 3.,  3.,  4.,  9.],
                [ 0.,  0.,  0.,  0.]], dtype=torch.float64)
    """
    check_tensor("boxes", boxes, "real numbers", "...", 4)
    check_predicted_boxes("boxes", boxes)
    exact = boxes.to(torch.float64)
    nearest = (exact + 0.5).floor()
    corner, opposite = nearest[..., :2], nearest[..., 2:]
    middle = ((exact[..., :2] + exact[..., 2:]) / 2).floor()
    lost = corner == opposite
    whole = torch.cat([torch.where(lost, middle, corner), torch.where(lost, middle + 1, opposite)], dim=-1)
    return torch.where(area(exact)[..., None] > 0, whole, 0.0)


def devkit_hits(
    labels: Tensor, boxes: Tensor, target: Tensor, gt_boxes: Sequence[Tensor], iou_threshold: float = IOU_THRESHOLD
) -> DevkitCounts:
    r"""Decide which images are hits (ILSVRC devkit, ``eval_clsloc.m`` and ``compute_overlap.m``).

    .. math:: hit_i = \max_{j < k} \, [c_{ij} = C_i] \cdot [\max_m IoU(b_{ij}, g_{im}) \ge \delta]

    Args:
        labels: (N,G) predicted classes, best first; :data:`NO_PREDICTION` for none.
        boxes: (N,G,4) half-open xyxy pixels of the images.
        target: (N,) true classes, numbered like the labels.
        gt_boxes: N tensors (M_i,4), all true instances, in the same pixels.
        iou_threshold: Fraction.

    Returns:
        The hits, on the CPU.

    Raises:
        ValueError: If a shape or type does not fit, a label is below -1, a target below 0, a box not finite, or an
            image has no true box.

    Example:
        >>> labels, boxes = torch.tensor([[7, 3]]), torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 4]]])
        >>> devkit_hits(labels, boxes, torch.tensor([3]), [torch.tensor([[0, 0, 10, 5]])])
        DevkitCounts(localization=tensor([[False,  True]]), classification=tensor([[False,  True]]))
    """
    check_tensor("labels", labels, "integers", "N", "G")
    check_tensor("boxes", boxes, "real numbers", *labels.shape, 4)
    check_tensor("target", target, "integers", len(labels))
    check_iou_threshold("iou_threshold", iou_threshold)
    labels, boxes, target = labels.cpu(), boxes.cpu(), target.cpu()
    check_predicted_boxes("boxes", boxes)
    if (labels < NO_PREDICTION).any() or (target < 0).any():
        raise ValueError(f"labels must be at least {NO_PREDICTION} and target at least 0, and some are not")
    true_boxes = checked_boxes("gt_boxes", gt_boxes, len(labels))
    found = [iou(each, true).amax(dim=-1) >= iou_threshold for each, true in zip(boxes, true_boxes, strict=True)]
    overlaps = torch.stack(found) if found else torch.zeros_like(labels, dtype=torch.bool)
    right = labels == target[:, None]
    return DevkitCounts(
        torch.stack([(right & overlaps)[:, :k].any(dim=1) for k in TOP_K], dim=1),
        torch.stack([right[:, :k].any(dim=1) for k in TOP_K], dim=1),
    )

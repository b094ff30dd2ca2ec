"""The official ILSVRC CLS-LOC error: five predictions, any true instance, whole pixels of the original image."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from camloc.boxes import area, iou

NO_PREDICTION = -1
"""Label of a prediction that was not made."""
TOP_K = (1, 5)


class DevkitCounts(NamedTuple):
    """Hits of each image among the first prediction and the first five, (N,2) bool each."""

    localization: Tensor
    """Label and box are right."""
    classification: Tensor
    """The label is right."""


def devkit_pixels(boxes: Tensor) -> Tensor:
    """Round boxes to whole pixels, as a submission states them.

    Each edge goes to the nearest pixel edge, half ones up; where that leaves nothing, the box takes the pixel that its
    middle lies in, which no image's edge cuts off. A box without area becomes ``(0, 0, 0, 0)``.

    Args:
        boxes: (..., 4) half-open xyxy pixels of the image, any fraction.

    Returns:
        (..., 4) float64 whole numbers, half-open; minus 1 in x1 and y1 they are the devkit's inclusive ones.

    Example:
        >>> devkit_pixels(torch.tensor([[0.4, 0.5, 9.6, 10.5], [3.1, 3.1, 3.3, 9.0], [0.0, 0.0, 0.0, 0.0]]))
        tensor([[ 0.,  1., 10., 11.],
                [ 3.,  3.,  4.,  9.],
                [ 0.,  0.,  0.,  0.]], dtype=torch.float64)
    """
    exact = boxes.to(torch.float64)
    nearest = (exact + 0.5).floor()
    corner, opposite = nearest[..., :2], nearest[..., 2:]
    middle = ((exact[..., :2] + exact[..., 2:]) / 2).floor()
    lost = corner == opposite
    whole = torch.cat([torch.where(lost, middle, corner), torch.where(lost, middle + 1, opposite)], dim=-1)
    return torch.where(area(exact)[..., None] > 0, whole, 0.0)


def devkit_hits(
    labels: Tensor, boxes: Tensor, target: Tensor, gt_boxes: Sequence[Tensor], iou_threshold: float = 0.5
) -> DevkitCounts:
    r"""Decide which images are right (ILSVRC devkit, ``eval_clsloc.m`` and ``compute_overlap.m``).

    .. math:: hit_i = \max_{j < k} \, [c_{ij} = C_i] \cdot [\max_m IoU(b_{ij}, g_{im}) \ge 0.5]

    Args:
        labels: (N,G) predicted classes, best first; :data:`NO_PREDICTION` for none.
        boxes: (N,G,4) half-open xyxy pixels of the images.
        target: (N,) true classes, counted as the labels are.
        gt_boxes: N tensors (M_i,4), all true instances, in the same pixels.
        iou_threshold: Fraction.

    Returns:
        The hits.

    Raises:
        ValueError: If an image has no true box.

    Example:
        >>> labels, boxes = torch.tensor([[7, 3]]), torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 4]]])
        >>> devkit_hits(labels, boxes, torch.tensor([3]), [torch.tensor([[0, 0, 10, 5]])])
        DevkitCounts(localization=tensor([[False,  True]]), classification=tensor([[False,  True]]))
    """
    found: list[Tensor] = []
    for prediction, true_boxes in zip(boxes, gt_boxes, strict=True):
        if len(true_boxes) == 0:
            raise ValueError(f"image {len(found)} has no true box; the devkit's error cannot be measured on it")
        found.append(iou(prediction, true_boxes).amax(dim=-1) >= iou_threshold)
    overlaps = torch.stack(found) if found else torch.zeros_like(labels, dtype=torch.bool)
    right = labels == target[:, None]
    return DevkitCounts(
        torch.stack([(right & overlaps)[:, :k].any(dim=1) for k in TOP_K], dim=1),
        torch.stack([right[:, :k].any(dim=1) for k in TOP_K], dim=1),
    )


def devkit_errors(hits: DevkitCounts, blacklisted: Tensor) -> dict[str, float | int]:
    """Return the errors: localization without blacklisted images, classification over all.

    Args:
        hits: Of N images.
        blacklisted: (N,) bool, images whose boxes are not to be trusted (1,762 of 50,000).

    Returns:
        ``ilsvrc_top1_error`` and so on, float fractions and int counts.

    Example:
        >>> hits = DevkitCounts(torch.tensor([[False, True], [True, True]]), torch.tensor([[True, True], [True, True]]))
        >>> devkit_errors(hits, torch.tensor([True, False]))["ilsvrc_top1_error"]
        0.0
    """
    kept = ~blacklisted
    num_images, num_localized = len(kept), int(kept.sum())
    found: dict[str, float | int] = {
        "ilsvrc_num_images": num_images,
        "ilsvrc_num_blacklisted": num_images - num_localized,
    }
    for column, k in enumerate(TOP_K):
        localized, classified = int(hits.localization[kept, column].sum()), int(hits.classification[:, column].sum())
        found[f"ilsvrc_top{k}_hits"] = localized
        found[f"ilsvrc_top{k}_error"] = 1 - localized / num_localized if num_localized else float("nan")
        found[f"ilsvrc_top{k}_classification_hits"] = classified
        found[f"ilsvrc_top{k}_classification_error"] = 1 - classified / num_images
    return found

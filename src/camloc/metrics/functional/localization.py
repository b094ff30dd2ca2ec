"""Which boxes hit, at every CAM threshold and every IoU threshold."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from camloc.boxes import iou


def localization_hits(boxes: Tensor, gt_boxes: Sequence[Tensor], iou_thresholds: Tensor) -> Tensor:
    r"""Decide for every box whether it localizes its image's object.

    .. math:: hit(b) = \max_m IoU(b, g_m) \ge \delta

    The object counts as found with any of its true boxes (ILSVRC devkit, ``compute_overlap.m``).

    Args:
        boxes: (B,T,4) half-open xyxy pixels, one box per image and CAM threshold.
        gt_boxes: B tensors (M_i,4), at least one true box each, in the same pixels.
        iou_thresholds: (I,) fractions.

    Returns:
        (B,I,T) bool.

    Raises:
        ValueError: If the number of images differs or an image has no true box.

    Example:
        >>> boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 5]]])
        >>> localization_hits(boxes, [torch.tensor([[0.0, 0.0, 10.0, 4.0]])], torch.tensor([0.3, 0.5]))
        tensor([[[ True,  True],
                 [False,  True]]])
    """
    if len(gt_boxes) != len(boxes):
        raise ValueError(f"boxes are given for {len(boxes)} images, true boxes for {len(gt_boxes)}")
    without = [index for index, true_boxes in enumerate(gt_boxes) if len(true_boxes) == 0]
    if without:
        raise ValueError(f"images {without} of the batch have no true box; localization cannot be measured on them")
    if not gt_boxes:
        return torch.zeros(0, len(iou_thresholds), boxes.shape[1], dtype=torch.bool)
    # A padded true box is (0,0,0,0): it has IoU 0 with everything.
    overlap = iou(boxes, pad_sequence(list(gt_boxes), batch_first=True)).amax(dim=-1)
    return overlap[:, None, :] >= iou_thresholds.to(overlap)[None, :, None]

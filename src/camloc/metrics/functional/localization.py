"""How well boxes fit the true ones, and what counts as localized."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from camloc.boxes import iou
from camloc.metrics.checks import check_predicted_boxes, check_tensor, checked_boxes
from camloc.metrics.functional.classification import TOP_K

PAPER_CAM_THRESHOLD = 0.2
"""Where the paper cuts a map, a fraction of its maximum (Zhou et al., CVPR 2016, Sec. 3.2)."""
IOU_THRESHOLD = 0.5
"""From this IoU on a box is a hit, in the paper, the ILSVRC devkit and most of the literature."""

Condition = Literal["gt_known", "top1", "top5"]
CONDITIONS: tuple[Condition, ...] = ("gt_known", "top1", "top5")
"""Which predictions can be hits: any, or those whose true class ranks first or among the first five."""
RANK_LIMITS: Mapping[Condition, float] = dict(zip(CONDITIONS, (math.inf, *TOP_K), strict=True))
"""The rank of the true class must be below this."""


def best_iou(boxes: Tensor, gt_boxes: Sequence[Tensor]) -> Tensor:
    r"""Return the IoU of every box with the true box of its image that it fits best.

    .. math:: IoU(b) = \max_m IoU(b, g_m)

    A box is a hit when this reaches the IoU threshold: finding any of several objects is enough (ILSVRC devkit,
    ``compute_overlap.m``).

    Args:
        boxes: (P,T,4) half-open xyxy pixels, one box per pair and CAM threshold.
        gt_boxes: P tensors (M_i,4), at least one true box each, in the same pixels.

    Returns:
        (P,T) float64 in [0,1], on the CPU; 0 where there is no box.

    Raises:
        ValueError: If a shape or type does not fit, a box is not finite, or a pair has no true box or an inverted one.

    Example:
        >>> boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 5]]])
        >>> best_iou(boxes, [torch.tensor([[0.0, 0.0, 10.0, 4.0], [5.0, 5.0, 9.0, 9.0]])])
        tensor([[0.4000, 0.8000]], dtype=torch.float64)
    """
    check_tensor("boxes", boxes, "real numbers", "P", "T", 4)
    boxes = boxes.cpu()
    with one_thread():
        check_predicted_boxes("boxes", boxes)
        true_boxes = checked_boxes("gt_boxes", gt_boxes, len(boxes))
        if not true_boxes:
            return torch.zeros(boxes.shape[:2], dtype=torch.float64)
        # A padded true box is (0,0,0,0): it has IoU 0 with everything.
        return iou(boxes, pad_sequence(true_boxes, batch_first=True)).amax(dim=-1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on the CPU without torch's other threads.

    Once awake they keep a core each busy for some milliseconds, waiting for more, which counting a batch is not worth:
    it slows down the boxes of the next one.

    Example:
        >>> with one_thread():
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

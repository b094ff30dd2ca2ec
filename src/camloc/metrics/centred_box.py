"""The baseline without a network: one box in the middle of every image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camloc.boxes import centred
from camloc.metrics.checks import (
    MAX_THRESHOLDS,
    check_count,
    check_iou_threshold,
    check_list,
    check_size,
    checked_keep,
    kept_of,
)
from camloc.metrics.contract import Protocol
from camloc.metrics.functional.localization import IOU_THRESHOLD, best_iou
from camloc.records import Outcome, Row


class CentredBoxError(Protocol):
    """GT-known error of the best centred box, the baseline for every localization error.

    The box has the aspect ratio of the image; its scale is the best one for the whole data set (an oracle).

    Args:
        num_scales: Size of the grid ``1/n, 2/n, ..., 1`` of side lengths, fractions of the image's sides.
        iou_threshold: Fraction.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If ``num_scales`` is no whole number from 1 on, or the threshold lies outside its range.

    Example:
        >>> metric = CentredBoxError()
        >>> gt_boxes = [torch.tensor([[2.0, 2.0, 8.0, 8.0]]), torch.tensor([[0.0, 0.0, 2.0, 2.0]])]
        >>> _ = metric.update(gt_boxes, map_size=(10, 10))
        >>> metric.compute()["centred_box_gt_known_error"]
        tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = False
    hits: Tensor
    num_images: Tensor

    def __init__(self, num_scales: int = 100, iou_threshold: float = IOU_THRESHOLD, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(**kwargs)
        check_count("localization.protocols.centred_box.num_scales", num_scales, at_most=MAX_THRESHOLDS)
        check_iou_threshold("localization.iou_threshold", iou_threshold)
        self.scales = torch.arange(1, num_scales + 1) / num_scales
        self.iou_threshold = iou_threshold
        self.add_state("hits", torch.zeros(num_scales, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def rows(self) -> Sequence[Row]:
        """Its error; the scale is an oracle's."""
        return [Row("centred_box_gt_known_error", "GT-known, best centred box", "min", "oracle")]

    def update(  # type: ignore[override] # torchmetrics returns nothing
        self, gt_boxes: Sequence[Tensor], map_size: tuple[int, int], is_padding: Tensor | None = None
    ) -> Outcome:
        """Count a batch of images of one size.

        Args:
            gt_boxes: P tensors (M_i,4), half-open xyxy pixels.
            map_size: ``(height, width)`` of the score maps, in whose pixels the boxes are.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            No values.

        Raises:
            ValueError: If an argument is not as above, or a pair that counts has no true box.
        """
        check_list("gt_boxes", gt_boxes)
        keep = checked_keep(is_padding, len(gt_boxes))
        check_size("map_size", map_size)
        kept = kept_of(gt_boxes, keep)
        predictions = centred(self.scales, map_size).expand(len(kept), -1, -1)
        hits = best_iou(predictions, kept) >= self.iou_threshold
        self.hits += hits.sum(dim=0).to(self.hits.device)
        self.num_images += len(kept)
        return Outcome({})

    def compute(self) -> dict[str, Tensor]:
        """Return the error of the best scale.

        Returns:
            ``centred_box_gt_known_error``: float64 fraction; NaN when nothing was counted.
            ``centred_box_scale``: side length of the box, a fraction of the image's sides; of equally good the least.
            ``centred_box_num_images``: int64, pairs counted.
        """
        best = int(self.hits.argmax())
        return {
            "centred_box_gt_known_error": 1 - self.hits[best].to(torch.float64) / self.num_images,
            "centred_box_scale": self.scales[best].to(self.hits.device),
            "centred_box_num_images": self.num_images.clone(),
        }

"""Localization error of boxes that a network predicts itself, without a map."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camloc.metrics.checks import check_iou_threshold, check_tensor, counted_boxes
from camloc.metrics.contract import Interval, Protocol
from camloc.metrics.functional.bootstrap import Outcome as Hits
from camloc.metrics.functional.bootstrap import interval
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.localization import CONDITIONS, IOU_THRESHOLD, RANK_LIMITS, best_iou
from camloc.metrics.functional.per_image import PerImage, hits
from camloc.records import Outcome, Row, SplitOutcome


class BoxLocalizationError(Protocol):
    r"""Top-1, top-5 and GT-known localization error of one box per pair; there is no CAM threshold.

    .. math:: error = 1 - \frac{1}{N} \sum_i [rank_i < k] \cdot [\max_m IoU(b_i, g_{im}) \ge \delta]

    What :class:`~camloc.metrics.localization_error.LocalizationError` is at each threshold, under the same keys. States
    are int64 counts reduced by sum.

    Args:
        iou_threshold: Fraction.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If the threshold lies outside its range.

    Example:
        >>> metric = BoxLocalizationError()
        >>> boxes, true_boxes = torch.tensor([[2.0, 2.0, 6.0, 6.0]]), [torch.tensor([[2.0, 2.0, 6.0, 5.0]])]
        >>> outcome = metric.update(torch.tensor([[2.0, 1.0]]), torch.tensor([1]), boxes, true_boxes)
        >>> outcome.values["rank"], outcome.values["iou"]
        (tensor([1]), tensor([0.7500], dtype=torch.float64))
        >>> errors = metric.compute()
        >>> float(errors["gt_known_error"]), float(errors["top1_error"]), float(errors["top5_error"])
        (0.0, 1.0, 0.0)
    """

    higher_is_better = False
    hits: Tensor
    num_images: Tensor
    num_ranked: Tensor

    def __init__(self, iou_threshold: float = IOU_THRESHOLD, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(**kwargs)
        check_iou_threshold("localization.iou_threshold", iou_threshold)
        self.iou_threshold = iou_threshold
        self.add_state("hits", torch.zeros(len(CONDITIONS), dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("num_images", "num_ranked"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def rows(self) -> Sequence[Row]:
        """The three errors, at no threshold."""
        return [
            Row("top1_error", "top-1 localization error", "min"),
            Row("top5_error", "top-5 localization error", "min"),
            Row("gt_known_error", "GT-known localization error", "min"),
        ]

    def update(  # type: ignore[override] # torchmetrics returns nothing
        self,
        logits: Tensor | None,
        target: Tensor,
        reported_boxes: Tensor,
        image_boxes: Sequence[Tensor],
        is_padding: Tensor | None = None,
    ) -> Outcome:
        """Count a batch.

        Args:
            logits: (P,C); null where boxes come without a classifier.
            target: (P,) true classes, 0-based.
            reported_boxes: (P,4) the true class's box, half-open pixels of the image, (0,0,0,0) for none.
            image_boxes: P tensors (M_i,4), true boxes in the same pixels.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            ``iou``: (P,) float64, best IoU with a true box. ``rank``: (P,) int64, classes that rank above the true one;
            absent without logits.

        Raises:
            ValueError: If an argument is not as above, or a pair that counts has no true box.
        """
        target, reported_boxes, true_boxes, keep = counted_boxes(target, reported_boxes, image_boxes, is_padding)
        if logits is not None:
            check_tensor("logits", logits, "real numbers", len(target) if keep is None else len(keep), "C")
            logits = logits if keep is None else logits[keep]
        overlap = best_iou(reported_boxes[:, None], true_boxes)[:, 0]
        fits = overlap >= self.iou_threshold
        values = {"iou": overlap}
        if logits is None:
            self.hits[CONDITIONS.index("gt_known")] += int(fits.sum())
        else:
            rank = values["rank"] = class_rank(logits, target).cpu()
            counts = [int(fits[rank < RANK_LIMITS[condition]].sum()) for condition in CONDITIONS]
            self.hits += torch.tensor(counts, device=self.hits.device)
            self.num_ranked += len(rank)
        self.num_images += len(overlap)
        return Outcome(values)

    def compute(self) -> dict[str, Tensor]:
        """Return errors as float64 fractions, NaN when nothing was counted, and the int64 counts behind them.

        Returns:
            ``top1_error``, ``top5_error``, ``gt_known_error``, their ``..._hits`` and ``num_images``; top-1 and top-5
            are left out unless all pairs came with logits.
        """
        is_ranked = bool(self.num_ranked == self.num_images)
        found = {"num_images": self.num_images.clone()}
        for condition, count in zip(CONDITIONS, self.hits, strict=True):
            if is_ranked or condition == "gt_known":
                found[f"{condition}_hits"] = count
                found[f"{condition}_error"] = 1 - count.to(torch.float64) / self.num_images
        return found

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:  # noqa: ARG002 - nothing was chosen there
        """Return 95% bootstrap intervals of the errors; none without pairs."""
        if not len(outcome.image_ids):
            return {}
        per_image, found = PerImage.of(outcome, ()), {}
        for condition in per_image.conditions:
            error = interval(Hits(per_image.image_ids, hits(per_image, condition, self.iou_threshold)[:, 0]))
            found[f"{condition}_error"] = (error.low, error.high)
        return found

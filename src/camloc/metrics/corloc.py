"""CorLoc, correct localization of each class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from camloc.metrics.checks import (
    check_cam_threshold,
    check_iou_threshold,
    check_list,
    check_tensor,
    checked_keep,
    kept_of,
)
from camloc.metrics.contract import Protocol
from camloc.metrics.functional.localization import IOU_THRESHOLD, best_iou
from camloc.metrics.per_class import BY_CLASS, MEAN_OVER_CLASSES, PerClassHits, mean_of_measured
from camloc.records import Outcome, Row


class CorLoc(PerClassHits):
    r"""Share of a class's images in which its box hits any instance, averaged over classes.

    .. math:: CorLoc = \frac{1}{C} \sum_c \frac{1}{N_c} \sum_{i : y_{ic}} [\max_m IoU(b_{ic}, g_{icm}) \ge \delta]

    Deselaers, Alexe and Ferrari, "Weakly supervised localization and learning with generic knowledge" (IJCV 2012), of
    the :math:`N_c` images that show class c and whose instances are known; :math:`\delta` = 0.5. There is one box for
    each pair, at the reported CAM threshold. Classes without such an image are left out of the mean.

    Args:
        class_names: See :class:`~camloc.metrics.per_class.PerClass`.
        iou_threshold: Fraction.
        cam_threshold: Fraction of the score map's maximum that boxes are made at; null takes the one that another
            protocol chooses.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If a threshold lies outside its range.

    Example:
        >>> import torch
        >>> metric = CorLoc(["cat", "dog"])
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 4.0, 4.0]])
        >>> _ = metric.update(torch.tensor([0, 0, 1]), boxes, [torch.tensor([[0.0, 0.0, 4.0, 4.0]])] * 3)
        >>> metric.compute()["corloc"]
        tensor(0.7500, dtype=torch.float64)
    """

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        iou_threshold: float = IOU_THRESHOLD,
        cam_threshold: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        super().__init__(1, class_names, **kwargs)
        check_iou_threshold("localization.iou_threshold", iou_threshold)
        if cam_threshold is not None:
            check_cam_threshold("localization.cam_threshold", cam_threshold)
        self.iou_threshold, self.cam_threshold = iou_threshold, cam_threshold

    def without_thresholds(self) -> Protocol:
        """Return the same without a CAM threshold."""
        return CorLoc(self.class_names or None, self.iou_threshold)

    @property
    def rows(self) -> Sequence[Row]:
        """The mean over classes."""
        return [Row("corloc", f"CorLoc at IoU {self.iou_threshold:g}{MEAN_OVER_CLASSES}", "max", "reported")]

    def update(  # type: ignore[override] # torchmetrics returns nothing
        self,
        target: Tensor,
        reported_boxes: Tensor,
        image_boxes: Sequence[Tensor],
        is_padding: Tensor | None = None,
    ) -> Outcome:
        """Count a batch.

        Args:
            target: (P,) true classes, 0-based.
            reported_boxes: (P,4) the class's box, half-open pixels of the image, (0,0,0,0) for none.
            image_boxes: P tensors (M_i,4), its true boxes in the same pixels.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            ``hits``: (P,1) bool.

        Raises:
            ValueError: If an argument is not as above, or a pair that counts has no true box.
        """
        check_tensor("target", target, "integers", "P")
        check_tensor("reported_boxes", reported_boxes, "real numbers", len(target), 4)
        check_list("image_boxes", image_boxes, len(target))
        keep = checked_keep(is_padding, len(target))
        if keep is not None:
            target, reported_boxes = target[keep], reported_boxes[keep]
        hits = best_iou(reported_boxes[:, None], kept_of(image_boxes, keep)) >= self.iou_threshold
        self.count(hits, target)
        return Outcome({"hits": hits})

    def compute(self) -> dict[str, Tensor]:
        """Return the share as a float64 fraction; NaN when nothing was counted.

        Returns:
            ``corloc``: mean over classes. ``corloc_by_class``: (C,). ``corloc_num_images``: int64, pairs counted.
        """
        (by_class,) = self.shares()
        return {
            "corloc": mean_of_measured(by_class),
            f"corloc{BY_CLASS}": by_class,
            "corloc_num_images": self.pairs.sum(),
        }

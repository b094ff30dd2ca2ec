"""Accuracy of boxes at several IoU thresholds, as chest X-rays are measured."""

from collections.abc import Sequence
from typing import Any

import torch
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
from camloc.metrics.functional.localization import best_iou
from camloc.metrics.per_class import BY_CLASS, MEAN_OVER_CLASSES, PerClassHits, mean_of_measured
from camloc.records import Outcome, Row

IOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


class IouAccuracy(PerClassHits):
    r"""Share of a class's images whose box has at least an IoU, for each of several, averaged over classes.

    .. math:: Acc_c(\delta) = \frac{1}{N_c} \sum_{i : y_{ic}} [\max_m IoU(b_{ic}, g_{icm}) \ge \delta]

    Wang et al., "ChestX-ray8" (CVPR 2017, Table 4), T(IoU) = 0.1 to 0.7, with one box for each pair, at the reported
    CAM threshold. Classes without a true box are left out of the mean. At one IoU it is CorLoc.

    Args:
        class_names: See :class:`~camloc.metrics.per_class.PerClass`.
        iou_thresholds: Fractions, ascending.
        cam_threshold: Fraction of the score map's maximum that boxes are made at; null takes the one that another
            protocol chooses.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If a threshold lies outside its range, or two are the same in percent.

    Example:
        >>> metric = IouAccuracy(["cat", "dog"], iou_thresholds=[0.1, 0.5])
        >>> _ = metric.update(torch.tensor([0]), torch.tensor([[0.0, 0.0, 4.0, 1.0]]), [torch.tensor([[0, 0, 4, 4]])])
        >>> {key: float(value) for key, value in metric.compute().items() if value.ndim == 0}
        {'iou_accuracy_10': 1.0, 'iou_accuracy_50': 0.0, 'iou_accuracy_num_images': 1.0}
    """

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
        cam_threshold: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        for threshold in iou_thresholds:
            check_iou_threshold("each of localization.protocols.iou_accuracy.iou_thresholds", threshold)
        self.iou_thresholds = tuple(iou_thresholds)
        super().__init__(len(self.iou_thresholds), class_names, **kwargs)
        if cam_threshold is not None:
            check_cam_threshold("localization.cam_threshold", cam_threshold)
        if len(set(self._keys)) < len(self._keys):
            raise ValueError(f"iou_thresholds={list(iou_thresholds)} must differ in whole percent")
        self.cam_threshold = cam_threshold

    @property
    def _keys(self) -> list[str]:
        return [f"iou_accuracy_{round(100 * threshold)}" for threshold in self.iou_thresholds]

    def without_thresholds(self) -> Protocol:
        """Return the same without a CAM threshold."""
        return IouAccuracy(self.class_names or None, self.iou_thresholds)

    @property
    def rows(self) -> Sequence[Row]:
        """The mean over classes at each IoU."""
        return [
            Row(key, f"box accuracy at IoU {threshold:g}{MEAN_OVER_CLASSES}", "max", "reported")
            for key, threshold in zip(self._keys, self.iou_thresholds, strict=True)
        ]

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
            ``hits``: (P,I) bool, at each IoU.

        Raises:
            ValueError: If an argument is not as above, or a pair that counts has no true box.
        """
        check_tensor("target", target, "integers", "P")
        check_tensor("reported_boxes", reported_boxes, "real numbers", len(target), 4)
        check_list("image_boxes", image_boxes, len(target))
        keep = checked_keep(is_padding, len(target))
        if keep is not None:
            target, reported_boxes = target[keep], reported_boxes[keep]
        overlap = best_iou(reported_boxes[:, None], kept_of(image_boxes, keep))
        hits = overlap >= torch.tensor(self.iou_thresholds, dtype=torch.float64)
        self.count(hits, target)
        return Outcome({"hits": hits})

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracies as float64 fractions; NaN when nothing was counted.

        Returns:
            ``iou_accuracy_10`` and so on: mean over classes at an IoU of 0.1. The same with ``_by_class``: (C,).
            ``iou_accuracy_num_images``: int64, pairs counted.
        """
        found: dict[str, Tensor] = {}
        for key, by_class in zip(self._keys, self.shares(), strict=True):
            found |= {key: mean_of_measured(by_class), f"{key}{BY_CLASS}": by_class}
        return {**found, "iou_accuracy_num_images": self.pairs.sum()}

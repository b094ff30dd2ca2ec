"""Accuracy of boxes at several IoU thresholds, as chest X-rays are measured."""

from collections.abc import Sequence
from typing import Any

from camloc.metrics.box_hits import BoxHits
from camloc.metrics.per_class import MEAN_OVER_CLASSES
from camloc.records import Row

IOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


class IouAccuracy(BoxHits):
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
        >>> import torch
        >>> metric = IouAccuracy(["cat", "dog"], iou_thresholds=[0.1, 0.5])
        >>> _ = metric.update(torch.tensor([0]), torch.tensor([[0.0, 0.0, 4.0, 1.0]]), [torch.tensor([[0, 0, 4, 4]])])
        >>> {key: float(value) for key, value in metric.compute().items() if value.ndim == 0}
        {'iou_accuracy_10': 1.0, 'iou_accuracy_50': 0.0, 'iou_accuracy_num_images': 1.0}
    """

    counted_key = "iou_accuracy_num_images"

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
        cam_threshold: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        option = "each of localization.protocols.iou_accuracy.iou_thresholds"
        super().__init__(iou_thresholds, option, class_names, cam_threshold, **kwargs)
        if len({row.key for row in self.rows}) < len(self.iou_thresholds):
            raise ValueError(f"iou_thresholds={list(iou_thresholds)} must differ in whole percent")

    @property
    def rows(self) -> Sequence[Row]:
        """The mean over classes at each IoU."""
        return [
            Row(
                f"iou_accuracy_{round(100 * threshold)}",
                f"box accuracy at IoU {threshold:g}{MEAN_OVER_CLASSES}",
                "max",
                "reported",
            )
            for threshold in self.iou_thresholds
        ]

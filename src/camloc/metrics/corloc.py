"""CorLoc, correct localization of each class."""

from collections.abc import Sequence
from typing import Any

from camloc.metrics.box_hits import BoxHits
from camloc.metrics.functional.localization import IOU_THRESHOLD
from camloc.metrics.per_class import MEAN_OVER_CLASSES
from camloc.records import Row


class CorLoc(BoxHits):
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

    counted_key = "corloc_num_images"

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        iou_threshold: float = IOU_THRESHOLD,
        cam_threshold: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        super().__init__((iou_threshold,), "localization.iou_threshold", class_names, cam_threshold, **kwargs)

    @property
    def rows(self) -> Sequence[Row]:
        """The mean over classes."""
        return [Row("corloc", f"CorLoc at IoU {self.iou_thresholds[0]:g}{MEAN_OVER_CLASSES}", "max", "reported")]

"""What protocols share that count how often a class's reported box hits one of its instances."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Self

import torch
from torch import Tensor

from camloc.metrics.checks import check_cam_threshold, check_iou_threshold, counted_boxes
from camloc.metrics.functional.localization import best_iou
from camloc.metrics.per_class import BY_CLASS, PerClassHits, mean_of_measured
from camloc.records import Outcome


class BoxHits(PerClassHits):
    """Counts, for each class, the boxes that reach each of some IoU thresholds; row k is of threshold k.

    Args:
        iou_thresholds: I fractions.
        option: Names one of them in messages.
        class_names: See :class:`~camloc.metrics.per_class.PerClass`.
        cam_threshold: Fraction of the score map's maximum that boxes are made at; null takes the one that another
            protocol chooses.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If a threshold lies outside its range.
    """

    counted_key: str
    """Where the number of pairs stands."""

    def __init__(
        self,
        iou_thresholds: Sequence[float],
        option: str,
        class_names: Sequence[str] | None = None,
        cam_threshold: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        for threshold in iou_thresholds:
            check_iou_threshold(option, threshold)
        super().__init__(len(iou_thresholds), class_names, **kwargs)
        if cam_threshold is not None:
            check_cam_threshold("localization.cam_threshold", cam_threshold)
        self.iou_thresholds, self.cam_threshold = tuple(iou_thresholds), cam_threshold

    def without_thresholds(self) -> Self:
        """Return the same without a CAM threshold."""
        without = deepcopy(self)
        without.cam_threshold = None
        return without

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
        target, reported_boxes, true_boxes, _ = counted_boxes(target, reported_boxes, image_boxes, is_padding)
        overlap = best_iou(reported_boxes[:, None], true_boxes)
        hits = overlap >= torch.tensor(self.iou_thresholds, dtype=torch.float64)
        self.count(hits, target)
        return Outcome({"hits": hits})

    def compute(self) -> dict[str, Tensor]:
        """Return each row's share as a float64 fraction, NaN when nothing was counted.

        Returns:
            By the keys of ``rows``: means over classes. The same with ``_by_class``: (C,). By ``counted_key``: int64,
            pairs counted.
        """
        found: dict[str, Tensor] = {}
        for row, by_class in zip(self.rows, self.shares(), strict=True):
            found |= {row.key: mean_of_measured(by_class), f"{row.key}{BY_CLASS}": by_class}
        return {**found, self.counted_key: self.pairs.sum()}

"""Localization error of class activation maps."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.box_error import BoxLocalizationError
from camloc.metrics.checks import (
    MAX_THRESHOLDS,
    check_cam_threshold,
    check_count,
    check_iou_threshold,
    check_list,
    check_tensor,
    checked_keep,
    kept_of,
)
from camloc.metrics.contract import Interval, Protocol
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.localization import CONDITIONS, IOU_THRESHOLD, RANK_LIMITS, best_iou, one_thread
from camloc.metrics.functional.per_image import PerImage
from camloc.metrics.functional.threshold_choice import middle_of_best
from camloc.metrics.functional.threshold_intervals import error_intervals
from camloc.records import Outcome, Row, SplitOutcome


class LocalizationError(Protocol):
    r"""Top-1, top-5 and GT-known localization error at every CAM threshold.

    The box of a pair is that of the largest connected component of the true class's score map above a fraction ``t`` of
    its maximum (Zhou et al., CVPR 2016, Sec. 3.2: ``t`` = 0.2), or whatever another box rule makes of the map.

    .. math:: error_k(t) = 1 - \frac{1}{N} \sum_i [rank_i < k] \cdot [\max_m IoU(b_i(t), g_{im}) \ge \delta]

    GT-known drops the rank. One map per pair is enough: a prediction only counts when its class is the true one, so the
    true class's box and its rank among the logits decide every number. Without logits only GT-known is reported. States
    are int64 counts reduced by sum: exact for any number of processes.

    Args:
        cam_threshold: Fraction of the score map's maximum that errors are reported at; null reports them at the best
            threshold of the data fed in (an oracle on that data, a fair choice when carried to another split).
        num_thresholds: Size of the grid ``0, 1/n, 2/n, ...`` that the curve is measured on.
        iou_thresholds: IoU thresholds of the curves.
        iou_threshold: The one of ``iou_thresholds`` that scalar errors use and the best threshold is chosen by.
        more_thresholds: CAM thresholds measured in addition to the grid.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If a threshold lies outside its range, or an argument is of another type.

    Example:
        >>> metric = LocalizationError(cam_threshold=0.2)
        >>> score_maps = torch.zeros(1, 8, 8)
        >>> score_maps[0, 2:6, 2:6] = 1
        >>> logits, gt_boxes = torch.tensor([[2.0, 1.0]]), [torch.tensor([[2.0, 2.0, 6.0, 5.0]])]
        >>> outcome = metric.update(logits, torch.tensor([1]), score_maps, gt_boxes)
        >>> outcome.values["rank"], outcome.values["iou"][:, 20]
        (tensor([1]), tensor([0.7500], dtype=torch.float64))
        >>> errors = metric.compute()
        >>> float(errors["gt_known_error"]), float(errors["top1_error"]), float(errors["top5_error"])
        (0.0, 1.0, 0.0)
    """

    higher_is_better = False
    chooses_threshold: ClassVar[bool] = True
    hits: Tensor
    num_images: Tensor
    num_ranked: Tensor
    num_degenerate: Tensor

    def __init__(
        self,
        cam_threshold: float | None = None,
        num_thresholds: int = 100,
        iou_thresholds: Sequence[float] = (0.3, 0.5, 0.7),
        iou_threshold: float = IOU_THRESHOLD,
        more_thresholds: Sequence[float] = (),
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        super().__init__(**kwargs)
        check_count("localization.num_thresholds", num_thresholds, at_most=MAX_THRESHOLDS)
        check_list("localization.iou_thresholds", iou_thresholds)
        check_list("localization.more_thresholds", more_thresholds)
        fixed = () if cam_threshold is None else (cam_threshold,)
        for name, thresholds in (("cam_threshold", fixed), ("more_thresholds", more_thresholds)):
            for threshold in thresholds:
                check_cam_threshold(f"localization.{name}", threshold)
        for threshold in iou_thresholds:
            check_iou_threshold("each of localization.iou_thresholds", threshold)
        if len(set(iou_thresholds)) < len(iou_thresholds):
            raise ValueError(f"localization.iou_thresholds={list(iou_thresholds)} must differ from each other")
        if iou_threshold not in iou_thresholds:
            raise ValueError(
                f"localization.iou_threshold={iou_threshold} must be one of iou_thresholds={list(iou_thresholds)}"
            )
        grid = (index / num_thresholds for index in range(num_thresholds))
        self.cam_thresholds = sorted({*grid, *fixed, *more_thresholds})
        self.cam_threshold = cam_threshold
        self.iou_thresholds = tuple(iou_thresholds)
        self.iou_threshold = iou_threshold
        shape = (len(CONDITIONS), len(self.iou_thresholds), len(self.cam_thresholds))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("num_images", "num_ranked", "num_degenerate"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def rows(self) -> Sequence[Row]:
        """Errors at the reported threshold, and GT-known at the best."""
        titles = {
            "top1_error": "top-1 localization error",
            "top5_error": "top-5 localization error",
            "gt_known_error": "GT-known localization error",
        }
        reported = [Row(key, title, "min", "reported", "cam_threshold") for key, title in titles.items()]
        at_best = Row("gt_known_error_at_best", "GT-known, best threshold", "min", "oracle", "best_cam_threshold")
        return [*reported, at_best]

    def update(  # type: ignore[override] # torchmetrics returns nothing
        self,
        logits: Tensor | None,
        target: Tensor,
        score_maps: Tensor,
        gt_boxes: Sequence[Tensor],
        is_padding: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> Outcome:
        """Count a batch.

        Args:
            logits: (P,C); null where the maps come without a classifier.
            target: (P,) true classes, 0-based.
            score_maps: (P,H,W) in [0,1], the true class's. A map without foreground or with a pixel that is not finite
                gives no box, which is a miss; those maps and flat ones are counted as degenerate.
            gt_boxes: P tensors (M_i,4), half-open xyxy pixels of the score maps.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.
            boxes: (P,T,4) of the score maps at ``cam_thresholds``; null makes them of the largest components.

        Returns:
            ``iou``: (P,T) float64, best IoU with a true box at each threshold. ``rank``: (P,) int64, classes that rank
            above the true one; absent without logits.

        Raises:
            ValueError: If a shape or type does not fit, a score lies outside [0,1], a target is not a class, or a pair
                that counts has no true box.
        """
        check_tensor("target", target, "integers", "P")
        check_tensor("score_maps", score_maps, "bool or real numbers", len(target), "H", "W")
        check_list("gt_boxes", gt_boxes, len(target))
        if logits is not None:
            check_tensor("logits", logits, "real numbers", len(target), "C")
        if boxes is not None:
            check_tensor("boxes", boxes, "real numbers", len(target), len(self.cam_thresholds), 4)
        keep = checked_keep(is_padding, len(target))
        if keep is not None:
            gt_boxes = kept_of(gt_boxes, keep)
            logits, target, score_maps = None if logits is None else logits[keep], target[keep], score_maps[keep]
            boxes = None if boxes is None else boxes[keep]
        num_degenerate = _count_degenerate(score_maps)
        if boxes is None:
            boxes = largest_component_boxes(score_maps.cpu(), self.cam_thresholds)
        overlap = best_iou(boxes, gt_boxes)
        values = {"iou": overlap}
        with one_thread():
            hits = overlap[:, None] >= torch.tensor(self.iou_thresholds, dtype=torch.float64)[:, None]
            if logits is None:
                if (target < 0).any():
                    raise ValueError(f"target must be at least 0, got {int(target.min())}")
                self.hits[CONDITIONS.index("gt_known")] += hits.sum(dim=0).to(self.hits.device)
            else:
                rank = values["rank"] = class_rank(logits, target).cpu()
                counts = torch.stack([hits[rank < limit].sum(dim=0) for limit in RANK_LIMITS.values()])
                self.hits += counts.to(self.hits.device)
                self.num_ranked += len(rank)
        self.num_images += len(boxes)
        self.num_degenerate += num_degenerate
        return Outcome(values)

    def compute(self) -> dict[str, Tensor]:
        """Return errors as float64 fractions; NaN when nothing was counted.

        Returns:
            ``top1_error``, ``top5_error``, ``gt_known_error``: scalars at ``cam_threshold`` and ``iou_threshold``.
            ``cam_threshold``: the threshold they were taken at.
            ``best_cam_threshold``, ``gt_known_error_at_best``: the threshold with the least GT-known error, of several
            the middle of their longest run, and that error.
            ``top1_hits``, ``top5_hits``, ``gt_known_hits``, ``num_images``: the int64 counts behind the scalar errors.
            ``num_degenerate``: int64, pairs whose map is flat or not finite.
            ``gt_known_curve``, ``top1_curve``, ``top5_curve``: (I,T) errors at every IoU and CAM threshold.

            Top-1 and top-5 are left out unless all pairs came with logits.
        """
        curves = 1 - self.hits.to(torch.float64) / self.num_images
        thresholds = torch.tensor(self.cam_thresholds, dtype=torch.float64, device=curves.device)
        iou_index = self.iou_thresholds.index(self.iou_threshold)
        gt_known, top1, top5 = curves[:, iou_index]
        best = int(middle_of_best(self.hits[0, iou_index].cpu().numpy()))
        at = best if self.cam_threshold is None else self._index(self.cam_threshold)
        found = {
            "top1_error": top1[at],
            "top5_error": top5[at],
            "gt_known_error": gt_known[at],
            "cam_threshold": thresholds[at],
            "best_cam_threshold": thresholds[best],
            "gt_known_error_at_best": gt_known[best],
            **{f"{name}_hits": hits[iou_index, at] for name, hits in zip(CONDITIONS, self.hits, strict=True)},
            "num_images": self.num_images.clone(),
            "num_degenerate": self.num_degenerate.clone(),
            **{f"{name}_curve": curve for name, curve in zip(CONDITIONS, curves, strict=True)},
        }
        is_ranked = bool(self.num_ranked == self.num_images)
        return {key: value for key, value in found.items() if is_ranked or not key.startswith(("top1_", "top5_"))}

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:
        """Return 95% bootstrap intervals of the errors in ``rows``; none without pairs.

        A threshold that was chosen is chosen again in each resample: on ``val`` where that is given, else on
        ``outcome`` itself where ``cam_threshold`` is null.
        """
        if not len(outcome.image_ids):
            return {}
        return error_intervals(
            PerImage.of(outcome, self.cam_thresholds),
            None if val is None else PerImage.of(val, self.cam_thresholds),
            cam_threshold=self.cam_threshold,
            iou_threshold=self.iou_threshold,
        )

    def without_thresholds(self) -> Protocol:
        """Return the errors of boxes without thresholds, at the same IoU."""
        return BoxLocalizationError(self.iou_threshold)

    def set_threshold(self, cam_threshold: float) -> None:
        """Report errors at a threshold that was chosen elsewhere.

        Raises:
            ValueError: If it is not one of ``cam_thresholds``.
        """
        self._index(cam_threshold)
        super().set_threshold(cam_threshold)

    def _index(self, cam_threshold: float) -> int:
        try:
            return self.cam_thresholds.index(cam_threshold)
        except ValueError:
            raise ValueError(
                f"cam_threshold={cam_threshold} is not among the {len(self.cam_thresholds)} thresholds that were "
                "measured; add it to localization.more_thresholds"
            ) from None


def _count_degenerate(score_maps: Tensor) -> int:
    """Count the (P,H,W) maps that are flat or not finite; one transfer from their device.

    Raises:
        ValueError: If they have no pixel, or a finite one lies outside [0,1].
    """
    if 0 in score_maps.shape[1:]:
        raise ValueError(f"score_maps has shape {tuple(score_maps.shape)}; give maps of at least one pixel")
    low, high = torch.stack([score_maps.amin((1, 2)), score_maps.amax((1, 2))]).cpu().to(torch.float64)
    finite = low.isfinite() & high.isfinite()
    if outside := (finite & ((low < 0) | (high > 1))).nonzero().flatten().tolist():
        found = f"{float(low[outside[0]])} to {float(high[outside[0]])}"
        raise ValueError(f"score_maps[{outside[0]}] spans {found}; normalize every map to [0, 1] first")
    return int((~finite | (low == high)).sum())

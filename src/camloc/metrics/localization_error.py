"""Localization error of class activation maps as a torchmetrics Metric."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.localization import localization_hits

CONDITIONS = ("gt_known", "top1", "top5")


class LocalizationError(Metric):
    r"""Top-1, top-5 and GT-known localization error at every CAM threshold.

    For each image the box is that of the largest connected component of the true class's score map above a fraction
    ``t`` of its maximum (Zhou et al., CVPR 2016, sec. 3.2: ``t`` = 0.2).

    .. math:: error_k(t) = 1 - \frac{1}{N} \sum_i [rank_i < k] \cdot [\max_m IoU(b_i(t), g_{im}) \ge \delta]

    GT-known drops the rank. One map per image is enough: a prediction only counts when its class is the true one, so
    the true class's box and the class's rank among the logits settle every number. The threshold curve comes out of one
    pass over each map. States are int64 counts reduced by sum: exact for any number of processes.

    Args:
        cam_threshold: Fraction of the score map's maximum that errors are reported at; null reports them at the best
            threshold of the data fed in (an oracle there, a fair choice when carried to another split).
        num_thresholds: Size of the grid ``0, 1/n, 2/n, ...`` that the curve is measured on.
        iou_thresholds: IoU thresholds of the curves.
        iou_threshold: The one that scalar errors use, and on which the best threshold is chosen.
        more_thresholds: CAM thresholds to measure beside the grid.

    Raises:
        ValueError: If a threshold lies outside its range.

    Example:
        >>> metric = LocalizationError(cam_threshold=0.2)
        >>> score_maps = torch.zeros(1, 8, 8)
        >>> score_maps[0, 2:6, 2:6] = 1
        >>> logits, gt_boxes = torch.tensor([[2.0, 1.0]]), [torch.tensor([[2.0, 2.0, 6.0, 5.0]])]
        >>> metric.update(logits, torch.tensor([1]), score_maps, gt_boxes)
        >>> errors = metric.compute()
        >>> float(errors["gt_known_error"]), float(errors["top1_error"]), float(errors["top5_error"])
        (0.0, 1.0, 0.0)
    """

    full_state_update = False
    higher_is_better = False
    hits: Tensor
    num_images: Tensor
    num_degenerate: Tensor

    def __init__(
        self,
        cam_threshold: float | None = None,
        num_thresholds: int = 100,
        iou_thresholds: Sequence[float] = (0.3, 0.5, 0.7),
        iou_threshold: float = 0.5,
        more_thresholds: Sequence[float] = (),
    ) -> None:
        super().__init__()
        if num_thresholds < 1:
            raise ValueError(f"localization.num_thresholds must be at least 1, got {num_thresholds}")
        named = {*more_thresholds, *([] if cam_threshold is None else [cam_threshold])}
        for name, threshold in (("cam_threshold", cam_threshold), *(("more_thresholds", t) for t in more_thresholds)):
            if threshold is not None and not 0 <= threshold < 1:
                raise ValueError(
                    f"localization.{name} is a fraction of the score map's maximum in [0, 1), got {threshold}"
                )
        if not all(0 < threshold <= 1 for threshold in iou_thresholds):
            raise ValueError(f"localization.iou_thresholds are fractions in (0, 1], got {list(iou_thresholds)}")
        if iou_threshold not in iou_thresholds:
            raise ValueError(
                f"localization.iou_threshold={iou_threshold} must be one of iou_thresholds={list(iou_thresholds)}"
            )
        self.cam_thresholds = sorted({index / num_thresholds for index in range(num_thresholds)} | named)
        self.cam_threshold = cam_threshold
        self.iou_thresholds = tuple(iou_thresholds)
        self.iou_threshold = iou_threshold
        shape = (len(CONDITIONS), len(self.iou_thresholds), len(self.cam_thresholds))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_degenerate", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        logits: Tensor,
        target: Tensor,
        score_maps: Tensor,
        gt_boxes: Sequence[Tensor],
        is_padding: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> None:
        """Count a batch.

        Args:
            logits: (B,C).
            target: (B,) true classes, 0-based.
            score_maps: (B,H,W) in [0,1], the true class's. A map without foreground or with a pixel that is not finite
                gives no box, which is a miss; those maps and flat ones are counted as degenerate.
            gt_boxes: B tensors (M_i,4), half-open xyxy pixels of the score maps.
            is_padding: (B,) bool, images that must not count; null when all count.
            boxes: (B,T,4) of the score maps at ``cam_thresholds``, where they were made already.

        Raises:
            ValueError: If shapes do not fit or an image that counts has no true box.
        """
        if is_padding is not None:
            keep = ~is_padding
            gt_boxes = [boxes for boxes, kept in zip(gt_boxes, keep.tolist(), strict=True) if kept]
            logits, target, score_maps = logits[keep], target[keep], score_maps[keep]
            boxes = None if boxes is None else boxes[keep.to(boxes.device)]
        if boxes is None:
            boxes = largest_component_boxes(score_maps.cpu(), self.cam_thresholds)
        hits = localization_hits(
            boxes, [b.cpu() for b in gt_boxes], torch.tensor(self.iou_thresholds, dtype=torch.float64)
        )
        rank = class_rank(logits, target).cpu()
        counts = torch.stack([hits.sum(dim=0), hits[rank < 1].sum(dim=0), hits[rank < 5].sum(dim=0)])  # noqa: PLR2004 - top-5
        self.hits += counts.to(self.hits.device)
        self.num_images += len(boxes)
        spread = score_maps.amax((1, 2)) - score_maps.amin((1, 2))
        self.num_degenerate += int((~spread.isfinite() | (spread == 0)).sum())

    def compute(self) -> dict[str, Tensor]:
        """Return errors as float64 fractions; NaN when nothing was counted.

        Returns:
            ``top1_error``, ``top5_error``, ``gt_known_error``: scalars at ``cam_threshold`` and ``iou_threshold``.
            ``cam_threshold``: the threshold they were taken at.
            ``best_cam_threshold``, ``gt_known_error_at_best``: the lowest of the thresholds with the least GT-known
            error, and that error.
            ``top1_hits``, ``top5_hits``, ``gt_known_hits``, ``num_images``: the int64 counts behind the scalar errors.
            ``num_degenerate``: int64, images whose map is flat or not finite.
            ``gt_known_curve``, ``top1_curve``, ``top5_curve``: (I,T) errors at every IoU and CAM threshold.
        """
        curves = 1 - self.hits.to(torch.float64) / self.num_images
        thresholds = torch.tensor(self.cam_thresholds, dtype=torch.float64, device=curves.device)
        iou_index = self.iou_thresholds.index(self.iou_threshold)
        gt_known, top1, top5 = curves[:, iou_index]
        best = int(self.hits[0, iou_index].argmax())
        at = best if self.cam_threshold is None else self._index(self.cam_threshold)
        return {
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

    def set_threshold(self, cam_threshold: float) -> None:
        """Report errors at a threshold that was chosen elsewhere.

        Raises:
            ValueError: If it is not one of ``cam_thresholds``.
        """
        self._index(cam_threshold)
        self.cam_threshold = cam_threshold

    def _index(self, cam_threshold: float) -> int:
        try:
            return self.cam_thresholds.index(cam_threshold)
        except ValueError:
            raise ValueError(f"cam_threshold={cam_threshold} is not on the grid this metric measured") from None

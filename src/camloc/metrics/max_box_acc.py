"""MaxBoxAcc and MaxBoxAccV2 as a torchmetrics Metric."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.localization.contour_boxes import checked_score_maps
from camloc.metrics.functional.max_box_acc import IOU_THRESHOLDS, VERSIONS, max_box_hits, wsolevaluation_thresholds


class MaxBoxAcc(Metric):
    r"""MaxBoxAcc and MaxBoxAccV2 (Choe et al., CVPR 2020 and TPAMI 2022), equal to the evaluator wsolevaluation's.

    .. math:: MaxBoxAcc_\delta = \max_t \frac{1}{N} \sum_i [\max_{c, m} IoU(b_{ic}(t), g_{im}) \ge \delta]

    MaxBoxAcc takes the map's largest contour c and :math:`\delta` = 0.5; MaxBoxAccV2 takes any contour and is the mean
    over :math:`\delta` = 0.3, 0.5 and 0.7, each at its own best threshold. The threshold is one for the whole data
    set, chosen on the very data reported: an oracle. Normalize maps by min-max first, as the evaluator's users do.
    States are int64 counts reduced by sum: exact for any number of processes.

    Args:
        cam_curve_interval: Step between thresholds, in (0, 1].
        v1: Whether MaxBoxAcc is reported.
        v2: Whether MaxBoxAccV2 is reported. Both are where neither is named.

    Raises:
        ValueError: If ``cam_curve_interval`` lies outside its range.

    Example:
        >>> metric = MaxBoxAcc(cam_curve_interval=0.1)
        >>> score_maps = torch.zeros(1, 8, 8)
        >>> score_maps[0, 2:6, 2:6] = 1
        >>> metric.update(score_maps, [torch.tensor([[2, 2, 6, 4]])])
        >>> accuracy = metric.compute()
        >>> round(float(accuracy["max_box_acc"]), 3), round(float(accuracy["max_box_acc_v2"]), 3)
        (1.0, 0.667)
    """

    full_state_update = False
    higher_is_better = True
    hits: Tensor
    num_images: Tensor
    num_degenerate: Tensor
    image_counts: Tensor
    """(B,2,3,T) bool, the hits of each image last counted, by version and IoU threshold."""

    def __init__(self, cam_curve_interval: float = 0.001, *, v1: bool = False, v2: bool = False) -> None:
        super().__init__()
        self.reported = [name for name, wanted in zip(VERSIONS, (v1, v2), strict=True) if wanted] or list(VERSIONS)
        self.cam_thresholds = wsolevaluation_thresholds(cam_curve_interval)
        shape = (len(VERSIONS), len(IOU_THRESHOLDS), len(self.cam_thresholds))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_degenerate", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, score_maps: Tensor, resized_boxes: Sequence[Tensor], is_padding: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            score_maps: (B,H,W) in [0,1]. A map that is not finite counts as zeros, a flat one as it is; both are
                counted as degenerate.
            resized_boxes: B integer tensors (M_i,4), inclusive xyxy pixels of the map, as
                :func:`~camloc.metrics.functional.max_box_acc.wsolevaluation_boxes` gives them.
            is_padding: (B,) bool, images that must not count; null when all count.

        Raises:
            ValueError: If a shape does not fit, a score lies outside [0,1], or an image that counts has no true box
                or one that is negative, inverted or not of an integer type.
        """
        if is_padding is not None:
            keep = ~is_padding
            resized_boxes = [boxes for boxes, kept in zip(resized_boxes, keep.tolist(), strict=True) if kept]
            score_maps = score_maps[keep]
        maps, is_degenerate = checked_score_maps(score_maps)
        hits = max_box_hits(maps, resized_boxes, self.cam_thresholds)
        self.image_counts = hits.transpose(0, 1)
        self.hits += hits.sum(dim=1).to(self.hits.device)
        self.num_images += len(maps)
        self.num_degenerate += int(is_degenerate.sum())

    def compute(self) -> dict[str, Tensor]:
        """Return accuracies as float64 fractions; NaN when nothing was counted.

        Returns:
            ``max_box_acc_30``, ``_50``, ``_70``: accuracy of the largest contour at IoU 0.3, 0.5 and 0.7.
            ``max_box_acc``: the one at 0.5.
            ``max_box_acc_v2_30``, ``_50``, ``_70``: accuracy of the best contour.
            ``max_box_acc_v2``: their mean.
            ``max_box_acc_30_cam_threshold`` and so on for these six: the lowest of the thresholds with that accuracy.
            ``num_images``, ``num_degenerate``: int64, images counted, and those among them whose map is flat or not
            finite.
        """
        best, index = self.hits.max(dim=-1)  # of equal maxima the first
        accuracies = best.to(torch.float64) / self.num_images
        thresholds = self.cam_thresholds.to(index.device)[index]
        found = {}
        for i, name in enumerate(VERSIONS):
            if name in self.reported:
                for j, iou_threshold in enumerate(IOU_THRESHOLDS):
                    percent = round(100 * iou_threshold)
                    found[f"{name}_{percent}"] = accuracies[i, j]
                    found[f"{name}_{percent}_cam_threshold"] = thresholds[i, j]
                found[name] = accuracies[i].mean() if name.endswith("v2") else accuracies[i, IOU_THRESHOLDS.index(0.5)]
        return {**found, "num_images": self.num_images.clone(), "num_degenerate": self.num_degenerate.clone()}

"""MaxBoxAcc and MaxBoxAccV2."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.localization.contour_boxes import checked_score_maps
from camloc.metrics.checks import check_flag, check_list, check_tensor, checked_boxes, checked_keep, kept_of
from camloc.metrics.contract import Interval, Protocol
from camloc.metrics.functional.max_box_acc import IOU_THRESHOLDS, VERSIONS, max_box_hits, wsolevaluation_thresholds
from camloc.metrics.functional.resampling import percentiles, resampled_sums
from camloc.records import Outcome, Row, SplitOutcome

_MAIN = IOU_THRESHOLDS.index(0.5)
"""MaxBoxAcc is the accuracy at this one of ``IOU_THRESHOLDS``."""


class MaxBoxAcc(Protocol):
    r"""MaxBoxAcc and MaxBoxAccV2 (Choe et al., CVPR 2020 and TPAMI 2022), equal to the evaluator wsolevaluation's.

    .. math:: MaxBoxAcc_\delta = \max_t \frac{1}{N} \sum_i [\max_{c, m} IoU(b_{ic}(t), g_{im}) \ge \delta]

    MaxBoxAcc takes the map's largest contour c and :math:`\delta` = 0.5; MaxBoxAccV2 takes any contour and is the mean
    over :math:`\delta` = 0.3, 0.5 and 0.7, each at its own best threshold. That is one for the whole data set, chosen
    on the data it is reported on: an oracle. Normalize maps by min-max first, as users of the evaluator do.
    States are int64 counts reduced by sum: exact for any number of processes.

    Args:
        cam_curve_interval: Step between thresholds, in (0, 1].
        v1: Whether MaxBoxAcc is reported.
        v2: Whether MaxBoxAccV2 is reported. Both are reported when neither is named.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If ``cam_curve_interval`` lies outside its range, or ``v1`` or ``v2`` is no bool.

    Example:
        >>> metric = MaxBoxAcc(cam_curve_interval=0.1)
        >>> score_maps = torch.zeros(1, 8, 8)
        >>> score_maps[0, 2:6, 2:6] = 1
        >>> _ = metric.update(score_maps, [torch.tensor([[2, 2, 6, 4]])])
        >>> accuracy = metric.compute()
        >>> round(float(accuracy["max_box_acc"]), 3), round(float(accuracy["max_box_acc_v2"]), 3)
        (1.0, 0.667)
    """

    higher_is_better = True
    hits: Tensor
    num_images: Tensor
    num_degenerate: Tensor

    def __init__(self, cam_curve_interval: float = 0.001, *, v1: bool = False, v2: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(**kwargs)
        check_flag("v1", v1)
        check_flag("v2", v2)
        self.reported = [name for name, wanted in zip(VERSIONS, (v1, v2), strict=True) if wanted] or list(VERSIONS)
        self.cam_thresholds: list[float] = wsolevaluation_thresholds(cam_curve_interval).tolist()
        shape = (len(VERSIONS), len(IOU_THRESHOLDS), len(self.cam_thresholds))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_degenerate", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def rows(self) -> Sequence[Row]:
        """The accuracy of each reported version, at thresholds that are an oracle's."""
        rows = {
            "max_box_acc": Row(
                "max_box_acc", "MaxBoxAcc", "max", "oracle", f"{_key('max_box_acc', _MAIN)}_cam_threshold"
            ),
            "max_box_acc_v2": Row("max_box_acc_v2", "MaxBoxAccV2", "max", "oracle"),
        }
        return [rows[name] for name in self.reported]

    def update(self, score_maps: Tensor, resized_boxes: Sequence[Tensor], is_padding: Tensor | None = None) -> Outcome:  # type: ignore[override] # torchmetrics returns nothing
        """Count a batch.

        Args:
            score_maps: (P,H,W) in [0,1]. A map that is not finite counts as zeros, a flat one as it is; both are
                counted as degenerate.
            resized_boxes: P integer tensors (M_i,4), inclusive xyxy pixels of the map, as
                :func:`~camloc.metrics.functional.max_box_acc.wsolevaluation_boxes` gives them.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            ``hits``: (P,2,3,T) bool, by version, IoU threshold and CAM threshold.

        Raises:
            ValueError: If a shape or type does not fit, a score lies outside [0,1], or a pair that counts has no true
                box or one that is negative, inverted or not of an integer type.
        """
        check_tensor("score_maps", score_maps, "bool or real numbers", "P", "H", "W")
        check_list("resized_boxes", resized_boxes, len(score_maps))
        keep = checked_keep(is_padding, len(score_maps))
        if keep is not None:
            resized_boxes, score_maps = kept_of(resized_boxes, keep), score_maps[keep]
        checked_boxes("resized_boxes", resized_boxes, len(score_maps), inclusive=True)
        maps, is_degenerate = checked_score_maps(score_maps)
        hits = max_box_hits(maps, resized_boxes, self.cam_thresholds)
        self.hits += hits.sum(dim=1).to(self.hits.device)
        self.num_images += len(maps)
        self.num_degenerate += int(is_degenerate.sum())
        return Outcome({"hits": hits.transpose(0, 1)})

    def compute(self) -> dict[str, Tensor]:
        """Return accuracies as float64 fractions; NaN when nothing was counted.

        Returns:
            ``max_box_acc_30``, ``_50``, ``_70``: accuracy of the largest contour at IoU 0.3, 0.5 and 0.7.
            ``max_box_acc``: the one at 0.5.
            ``max_box_acc_v2_30``, ``_50``, ``_70``: accuracy of the best contour.
            ``max_box_acc_v2``: their mean.
            ``max_box_acc_30_cam_threshold`` and so on for these six: the lowest of the thresholds with that accuracy.
            ``num_images``, ``num_degenerate``: int64, pairs counted, and those whose map is flat or not finite.
        """
        best, index = self.hits.max(dim=-1)  # of equal maxima the first
        accuracies = best.to(torch.float64) / self.num_images
        thresholds = torch.tensor(self.cam_thresholds, dtype=torch.float64, device=index.device)[index]
        found = {}
        for name in self.reported:
            i = VERSIONS.index(name)
            for j in range(len(IOU_THRESHOLDS)):
                found[_key(name, j)] = accuracies[i, j]
                found[f"{_key(name, j)}_cam_threshold"] = thresholds[i, j]
            found[name] = accuracies[i].mean() if name.endswith("v2") else accuracies[i, _MAIN]
        return {**found, "num_images": self.num_images.clone(), "num_degenerate": self.num_degenerate.clone()}

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:  # noqa: ARG002 - an oracle's
        """Return 95% bootstrap intervals of the accuracies; every resample has its own best thresholds."""
        if not len(outcome.image_ids):
            return {}
        hits = outcome.values["hits"].numpy()
        curves = hits.reshape(len(hits), -1, hits.shape[-1])
        # Most of a thousand thresholds cut a map at the grey level of their neighbour.
        differ = [np.append(True, (curves[:, i, 1:] != curves[:, i, :-1]).any(axis=0)) for i in range(curves.shape[1])]
        columns = [curves[:, i, kept] for i, kept in enumerate(differ)]
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]
        of_all, num_pairs = resampled_sums(np.concatenate(columns, axis=1), outcome.image_ids)
        sums = np.split(of_all, ends, axis=1)
        best = np.stack([part.max(axis=1) for part in sums], axis=1).reshape(-1, *hits.shape[1:3])
        best = best / num_pairs.astype(best.dtype)[:, None, None]
        resampled: dict[str, NDArray[np.floating]] = {}
        for name in self.reported:
            i = VERSIONS.index(name)
            resampled |= {_key(name, j): best[:, i, j] for j in range(len(IOU_THRESHOLDS))}
            resampled[name] = best[:, i].mean(axis=1) if name.endswith("v2") else best[:, i, _MAIN]
        return {key: percentiles(values) for key, values in resampled.items()}


def _key(version: str, iou_index: int) -> str:
    """Name the accuracy of a version at one IoU threshold, such as ``max_box_acc_50``."""
    return f"{version}_{round(100 * IOU_THRESHOLDS[iou_index])}"

"""PxAP, the pixel average precision."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camloc.localization.contour_boxes import checked_score_maps
from camloc.metrics.checks import check_tensor, checked_keep
from camloc.metrics.contract import Interval, Protocol
from camloc.metrics.functional.max_box_acc import wsolevaluation_thresholds
from camloc.metrics.functional.pxap import pixel_average_precision, score_histograms
from camloc.metrics.functional.resampling import percentiles, resampled_sums
from camloc.records import Outcome, Row, SplitOutcome


class PxAP(Protocol):
    r"""Pixel average precision (Choe et al., CVPR 2020), equal to the evaluator wsolevaluation's.

    .. math:: PxAP = \sum_l Prec(\tau_l) \, (Rec(\tau_l) - Rec(\tau_{l-1}))

    Precision and recall are those of the pixels of all images pooled. Only counts of pixels between thresholds are
    kept, int64 and reduced by sum: exact for any number of images and processes, and the same for the same maps in
    batches of any shape, from any device.

    A network's maps may differ in their last bits between batch sizes and devices, whose kernels add up in another
    order. A pixel then changes its bin only where a threshold lies between its two scores, and each change of one bin
    moves PxAP by at most :math:`2 / N`, with N pixels of foreground in all images.

    Args:
        cam_curve_interval: Step between thresholds, in (0, 1].
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Raises:
        ValueError: If ``cam_curve_interval`` lies outside its range.

    Example:
        >>> metric = PxAP()
        >>> score_maps, masks = torch.tensor([[[0.1, 0.5, 0.6, 1.0]]]), torch.tensor([[[0, 1, 0, 1]]]).bool()
        >>> _ = metric.update(score_maps, masks, ignore=torch.zeros(1, 1, 4).bool())
        >>> round(float(metric.compute()["pxap"]), 3)
        0.833
    """

    higher_is_better = True
    histograms: Tensor
    num_images: Tensor
    num_degenerate: Tensor

    def __init__(self, cam_curve_interval: float = 0.001, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(**kwargs)
        self.cam_thresholds: list[float] = wsolevaluation_thresholds(cam_curve_interval).tolist()
        bins = torch.zeros(2, len(self.cam_thresholds) + 2, dtype=torch.int64)
        self.add_state("histograms", bins, dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_degenerate", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def rows(self) -> Sequence[Row]:
        """The precision, which is taken over all thresholds."""
        return [Row("pxap", "PxAP", "max")]

    def update(self, score_maps: Tensor, masks: Tensor, ignore: Tensor, is_padding: Tensor | None = None) -> Outcome:  # type: ignore[override] # torchmetrics returns nothing
        """Count a batch.

        Args:
            score_maps: (P,H,W) in [0,1]. A map that is not finite counts as zeros, a flat one as it is; both are
                counted as degenerate.
            masks: (P,H,W) bool, foreground.
            ignore: (P,H,W) bool, pixels that do not count; foreground among them counts all the same.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            ``pixels``: (P,2,T+2) int64, see :func:`~camloc.metrics.functional.pxap.score_histograms`.

        Raises:
            ValueError: If shapes or types do not fit, or a score lies outside [0,1].
        """
        check_tensor("score_maps", score_maps, "bool or real numbers", "P", "H", "W")
        check_tensor("masks", masks, "bool", *score_maps.shape)
        check_tensor("ignore", ignore, "bool", *score_maps.shape)
        keep = checked_keep(is_padding, len(score_maps))
        if keep is not None:
            score_maps, masks, ignore = score_maps[keep], masks[keep], ignore[keep]
        maps, is_degenerate = checked_score_maps(score_maps)
        pixels = score_histograms(maps, masks, ignore, torch.tensor(self.cam_thresholds, dtype=torch.float64))
        self.histograms += pixels.sum(dim=0).to(self.histograms.device)
        self.num_images += len(maps)
        self.num_degenerate += int(is_degenerate.sum())
        return Outcome({"pixels": pixels})

    def compute(self) -> dict[str, Tensor]:
        """Return the precision as a float64 fraction; NaN when no foreground was counted.

        Returns:
            ``pxap``: the pixel average precision.
            ``num_images``, ``num_degenerate``: int64, pairs counted, and those whose map is flat or not finite.
        """
        return {
            "pxap": pixel_average_precision(self.histograms),
            "num_images": self.num_images.clone(),
            "num_degenerate": self.num_degenerate.clone(),
        }

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:  # noqa: ARG002 - no threshold is chosen
        """Return the 95% bootstrap interval of the precision; none without foreground."""
        pixels = outcome.values["pixels"].numpy()
        if not pixels[:, 0].any():
            return {}
        sums, _ = resampled_sums(pixels.reshape(len(pixels), -1), outcome.image_ids)
        by_resample = sums.reshape(-1, *pixels.shape[1:])
        return {
            "pxap": percentiles(
                np.array([float(pixel_average_precision(torch.from_numpy(one))) for one in by_resample])
            )
        }

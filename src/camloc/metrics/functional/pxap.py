"""Pixel average precision from histograms of scores."""

import numpy as np
import torch
from torch import Tensor

from camloc.localization.contour_boxes import checked_score_maps
from camloc.metrics.checks import check_tensor


def score_histograms(score_maps: Tensor, masks: Tensor, ignore: Tensor, thresholds: Tensor) -> Tensor:
    """Count foreground and background pixels between thresholds.

    A pixel's bin depends on its own score alone: scores and thresholds are compared in float64, which holds both
    exactly, on the CPU. The same maps have the same counts in batches of any shape, from any device.

    Args:
        score_maps: (P,H,W) in [0,1]; a map that is not finite counts as zeros.
        masks: (P,H,W) bool, foreground. The evaluator resizes the mask of each instance to 224x224 by nearest
            neighbour, thresholds it at 0.5 and takes the union.
        ignore: (P,H,W) bool, pixels that do not count; foreground among them counts all the same.
        thresholds: (T,) float64, from 0 to below 1, ascending.

    Returns:
        (P,2,T+2) int64: of the foreground and of the background, the pixels whose score lies between neighbours of
        ``[*thresholds, 1, 2, 3]``, the lower one included.

    Raises:
        ValueError: If a shape or type does not fit, a score lies outside [0,1], or the thresholds are not as above.

    Example:
        >>> score_maps, masks = torch.tensor([[[0.1, 0.5, 0.6, 1.0]]]), torch.tensor([[[0, 0, 1, 1]]]).bool()
        >>> score_histograms(score_maps, masks, torch.zeros(1, 1, 4).bool(), torch.tensor([0.0, 0.5]))
        tensor([[[0, 1, 1, 0],
                 [1, 1, 0, 0]]])
    """
    check_tensor("score_maps", score_maps, "bool or real numbers", "P", "H", "W")
    check_tensor("masks", masks, "bool", *score_maps.shape)
    check_tensor("ignore", ignore, "bool", *score_maps.shape)
    check_tensor("thresholds", thresholds, "real numbers", "T")
    thresholds = thresholds.cpu().to(torch.float64)
    if not (len(thresholds) and thresholds[0] == 0 and thresholds[-1] < 1 and (thresholds.diff() > 0).all()):
        raise ValueError("thresholds must ascend from 0 to below 1")  # lower scores would be counted with another map
    masks, ignore = masks.cpu(), ignore.cpu()
    maps, _ = checked_score_maps(score_maps)
    edges = torch.cat([thresholds, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)])
    bins = torch.bucketize(maps.to(torch.float64).contiguous(), edges, right=True) - 1
    # One histogram over (image, bin) pairs instead of one per image.
    size = len(edges) - 1
    bins += size * torch.arange(len(maps))[:, None, None]
    chosen = (masks, ~masks & ~ignore)
    counted = [torch.bincount(bins[pixels], minlength=size * len(maps)) for pixels in chosen]
    return torch.stack([count.view(len(maps), size) for count in counted], dim=1)


def pixel_average_precision(histograms: Tensor) -> Tensor:
    r"""Area under the pixels' precision-recall curve (Choe et al., CVPR 2020).

    .. math:: PxAP = \sum_l Prec(\tau_l) \, (Rec(\tau_l) - Rec(\tau_{l-1}))

    The thresholds decrease with l, and the sum starts at the highest bin, which is empty as scores end at 1.

    Args:
        histograms: (2,L) int64, foreground and background pixels per bin of increasing score, the last bin empty.

    Returns:
        float64 scalar in [0,1]; NaN without foreground.

    Raises:
        ValueError: If the histograms are not (2,L), hold a negative count, or the last bin is not empty.

    Example:
        >>> pixel_average_precision(torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0]]))
        tensor(0.8333, dtype=torch.float64)
    """
    check_tensor("histograms", histograms, "real numbers", 2, "L")
    counts = histograms.cpu().numpy()
    if not counts.shape[1] or (counts < 0).any() or counts[:, -1].any():
        raise ValueError("histograms must hold counts from 0 on, and none in the last bin")
    above = counts[:, ::-1].cumsum(axis=1).astype(np.float64)
    true_positives, positives = above[0], above.sum(axis=0)
    with np.errstate(invalid="ignore"):
        recall = true_positives / true_positives[-1]
        precision = true_positives / positives
    steps = (precision[1:] * np.diff(recall))[positives[1:] != 0]
    area = steps.sum() if true_positives[-1] > 0 else np.nan
    return torch.tensor(area, dtype=torch.float64, device=histograms.device)

"""Best IoU of the wsolevaluation boxes at every threshold, from two passes over each map.

That evaluator (Choe et al., CVPR 2020) finds the contours of a map anew at each of up to 1000 thresholds. It cuts 8-bit
maps, so at most 255 of the cuts differ, and from one to the next regions only grow: outer borders belong to the
8-connected components above the cut, which grow as it falls, and hole borders to the 4-connected components of the
rest, which grow as it rises. Each pass is one union-find that carries what the boxes need.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.localization.contour_kernels import GREY_LEVELS, measure_map


def best_iou_per_threshold(
    score_maps: Tensor, gt_boxes: Sequence[Tensor], thresholds: Sequence[float] | Tensor
) -> tuple[Tensor, Tensor]:
    r"""Best IoU with a true box that wsolevaluation finds at each threshold, for one contour and for all.

    The mask at threshold t is, with 8-bit levels (Choe et al., CVPR 2020, as its evaluator computes it):

    .. math:: mask_t = \{level > \lfloor t \cdot \max level \rfloor\}, \quad level = \lfloor 255 \cdot score \rfloor

    Its contours are the outer and hole borders of OpenCV's ``findContours(RETR_TREE)``: outer borders of 8-connected
    components, and around each 4-connected hole a border one pixel wider. A contour's box ends one pixel after it,
    inside the image, and IoU counts inclusive pixels, (x1 - x0 + 1)(y1 - y0 + 1). A mask without a contour has the
    box (0, 0, 0, 0), one pixel. The single contour is the one with the largest polygon through its pixel centres: never
    a hole border, as the outer border around it comes first and is at least as large; of equal ones the one whose first
    pixel in raster order comes last, which is the first that OpenCV lists.

    The maps are spread over ``torch.get_num_threads()`` threads, which does not change the result.

    Args:
        score_maps: (P,H,W) in [0,1], any real type and device. A map with a NaN or infinite pixel is read as zeros; a
            flat map is cut as it is, so a map of ones has the box of the whole image and one of zeros no contour.
        gt_boxes: P integer tensors (M_i,4), inclusive xyxy pixels of the map, at least one true box each.
        thresholds: (T,) fractions of the largest level, in [0,1] and in any order; read as float64.

    Returns:
        ``(single, multi)``, each (P,T) float64 on the CPU: the best IoU of the single contour's box, and of all boxes.

    Raises:
        ValueError: If a shape does not fit, a score or threshold lies outside [0,1], or an image has no true box or
            one that is negative, inverted or not of an integer type.

    Example:
        >>> score_map = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.5]])
        >>> single, multi = best_iou_per_threshold(score_map[None], [torch.tensor([[4, 1, 4, 1]])], [0.2, 0.7])
        >>> single, multi
        (tensor([[0., 0.]], dtype=torch.float64), tensor([[1., 0.]], dtype=torch.float64))
    """
    fractions = _checked_thresholds(thresholds)
    true_boxes = _checked_boxes(gt_boxes, len(score_maps))
    maps = checked_score_maps(score_maps)[0].numpy()
    best = np.zeros((2, len(maps), len(fractions)))

    def measure(index: int) -> None:
        levels = (maps[index].astype(np.float64) * (GREY_LEVELS - 1)).astype(np.uint8)
        cuts = (fractions * levels.max()).astype(np.int64)  # truncates, as int(t * max) does
        wanted = np.zeros(GREY_LEVELS, np.bool_)
        wanted[cuts] = True
        ious = np.zeros((2, GREY_LEVELS))
        measure_map(levels, true_boxes[index], wanted, ious)
        best[:, index] = ious[:, cuts]

    # A new pool for each call: one that outlives it would not survive a fork into a loader worker.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(measure, range(len(maps))))
    single, multi = torch.from_numpy(best)
    return single, multi


def checked_score_maps(score_maps: Tensor) -> tuple[Tensor, Tensor]:
    """Prepare score maps for the measures of wsolevaluation, and find the degenerate ones.

    Args:
        score_maps: (P,H,W) in [0,1], any real type and device.

    Returns:
        The maps on the CPU, float64 if they were and float32 otherwise, with zeros for each map that has a NaN or
        infinite pixel; and (P,) bool, True for those maps and for flat ones, which stay as they are.

    Raises:
        ValueError: If ``score_maps`` is not (P,H,W) with pixels, or a finite map leaves [0,1].

    Example:
        >>> checked_score_maps(torch.tensor([[[0.2, 1.0]], [[0.2, 0.2]], [[0.2, torch.nan]]]))
        (tensor([[[0.2000, 1.0000]],
        <BLANKLINE>
                [[0.2000, 0.2000]],
        <BLANKLINE>
                [[0.0000, 0.0000]]]), tensor([False,  True,  True]))
    """
    if score_maps.ndim != len("PHW") or 0 in score_maps.shape[1:]:
        raise ValueError(f"score_maps has shape {tuple(score_maps.shape)}; give (P,H,W) with H and W at least 1.")
    maps = score_maps.detach().cpu()
    if maps.dtype != torch.float64:
        maps = maps.to(torch.float32)
    low, high = maps.amin((1, 2)), maps.amax((1, 2))  # fifty times faster than aminmax, and propagate NaN as well
    finite = low.isfinite() & high.isfinite()
    if outside := (finite & ((low < 0) | (high > 1))).nonzero().flatten().tolist():
        found = f"{float(low[outside[0]])} to {float(high[outside[0]])}"
        raise ValueError(f"score_maps[{outside[0]}] spans {found}; normalize every map to [0, 1] first.")
    if not finite.all():
        maps = maps.where(finite[:, None, None], 0.0)
    return maps, ~finite | (low == high)


def _checked_thresholds(thresholds: Sequence[float] | Tensor) -> NDArray[np.float64]:
    """Return the thresholds as (T,) float64 on the CPU.

    Raises:
        ValueError: If they are not a list of fractions.
    """
    fractions = torch.as_tensor(thresholds, dtype=torch.float64, device="cpu").detach()
    if fractions.ndim != 1 or len(fractions) == 0:
        raise ValueError(f"thresholds has shape {tuple(fractions.shape)}; give a list of at least one fraction.")
    if (outside := fractions[~((fractions >= 0) & (fractions <= 1))]).numel():
        raise ValueError(f"thresholds holds {float(outside[0])}; give fractions of the maximum, in [0, 1].")
    array: NDArray[np.float64] = fractions.numpy()
    return array


def _checked_boxes(gt_boxes: Sequence[Tensor], num_maps: int) -> list[NDArray[np.int64]]:
    """Return the true boxes of each pair as (M,4) int64.

    Raises:
        ValueError: If there are none, or one is not an inclusive integer box.
    """
    if len(gt_boxes) != num_maps:
        raise ValueError(f"score_maps holds {num_maps} maps, gt_boxes the boxes of {len(gt_boxes)}.")
    for index, boxes in enumerate(gt_boxes):
        if boxes.ndim != len("M4") or boxes.shape[1] != len("xyxy") or len(boxes) == 0:
            raise ValueError(f"gt_boxes[{index}] has shape {tuple(boxes.shape)}; give (M,4) with at least one box.")
        if boxes.is_floating_point():
            raise ValueError(f"gt_boxes[{index}] is {boxes.dtype}; give inclusive whole pixels as an integer tensor.")
        if (boxes < 0).any() or (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValueError(f"gt_boxes[{index}] is {boxes.tolist()}; give 0 <= x0 <= x1 and 0 <= y0 <= y1.")
    return [boxes.detach().to("cpu", torch.int64).contiguous().numpy() for boxes in gt_boxes]

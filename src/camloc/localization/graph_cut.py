"""Boxes from a graph cut of the image that is seeded by the score map."""

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import cv2
import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from torch import Tensor

Quantile = Annotated[float, Ge(0), Le(1)]
Iterations = Annotated[int, Ge(1)]


def graph_cut_boxes(
    score_maps: Tensor,
    images: Tensor,
    *,
    foreground: Quantile = 0.95,
    background: Quantile = 0.3,
    iterations: Iterations = 1,
) -> Tensor:
    """Box the largest 8-connected component of what a graph cut of the image calls foreground.

    The rule of Simonyan et al. (arXiv 1312.6034, Sec. 3.2) for their saliency maps: pixels above the 95% quantile of
    the map are seeds of the foreground, those below the 30% quantile seeds of the background, and a cut of the image by
    colours divides the rest. The cut is OpenCV's ``grabCut`` (Rother et al., SIGGRAPH 2004), which fits its colour
    models again after each cut; pixels between the quantiles start as background. It has no CAM threshold.

    Args:
        score_maps: (P,H,W).
        images: (P,3,H,W) uint8, each map's image.
        foreground: Quantile, a fraction of the map's pixels.
        background: The same; below ``foreground``.
        iterations: Cuts.

    Returns:
        (P,4) int32 half-open xyxy pixels of the maps. A map without a pixel above the quantile, as a flat one, or with
        one that is not finite, has no box: (0, 0, 0, 0).

    Raises:
        ValueError: A shape or type does not fit, or the quantiles do not ascend.

    Example:
        >>> image = torch.zeros(1, 3, 24, 32, dtype=torch.uint8)
        >>> image[:, :, 6:18, 8:20] = 250
        >>> score_map = torch.zeros(1, 24, 32)
        >>> score_map[:, 10:13, 12:15] = 1
        >>> graph_cut_boxes(score_map, image)
        tensor([[ 8,  6, 20, 18]], dtype=torch.int32)
    """
    if not 0 <= background < foreground <= 1:
        raise ValueError(
            f"box_rule.background={background} and box_rule.foreground={foreground} must ascend within [0, 1]"
        )
    if score_maps.ndim != len("PHW") or 0 in score_maps.shape[1:]:
        raise ValueError(f"score_maps has shape {tuple(score_maps.shape)}; give (P,H,W) with H and W at least 1.")
    count, height, width = score_maps.shape
    if images.dtype != torch.uint8 or tuple(images.shape) != (count, 3, height, width):
        raise ValueError(f"images is {images.dtype} {tuple(images.shape)}; give uint8 {(count, 3, height, width)}.")
    maps = score_maps.detach().to("cpu", torch.float32).numpy()
    pixels = np.ascontiguousarray(images.detach().cpu().permute(0, 2, 3, 1).numpy())
    # An array: inference mode does not reach the threads, which could not write to a tensor that was made in it.
    boxes = np.zeros((count, 4), dtype=np.int32)

    def box(index: int) -> None:
        seeds = _seeds(maps[index], foreground, background)
        if seeds is not None:
            boxes[index] = _largest_component(_cut(pixels[index], seeds, iterations))

    # A new pool for each call: one that outlives it would not survive a fork into a loader worker.
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        list(pool.map(box, range(count)))
    return torch.from_numpy(boxes)


def _seeds(score_map: NDArray[np.float32], foreground: float, background: float) -> NDArray[np.uint8] | None:
    """Return what OpenCV calls a mask; None where the foreground has no seed."""
    if not np.isfinite(score_map).all():
        return None
    low, high = np.quantile(score_map, [background, foreground])
    inside, outside = score_map > high, score_map < low
    if not inside.any():
        return None
    seeds = np.full(score_map.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[outside] = cv2.GC_BGD
    seeds[inside] = cv2.GC_FGD
    return seeds


def _cut(image: NDArray[np.uint8], seeds: NDArray[np.uint8], iterations: int) -> NDArray[np.uint8]:
    """Return the foreground as 0 and 1."""
    cv2.setRNGSeed(0)  # of this thread: the colour models start from random centres, which must not depend on the batch
    mask, _, _ = cv2.grabCut(image, seeds, None, None, None, iterations, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload] # null models are made
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _largest_component(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the box of the component with the most pixels, of equal ones the first that OpenCV numbers."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())  # 0 is the background
    x, y, width, height, _ = stats[largest].tolist()
    return x, y, x + width, y + height

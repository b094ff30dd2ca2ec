"""What the explorer shows: (image, class) pairs with their boxes at every CAM threshold, and the runs they are of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from camloc.boxes import rescale
from camloc.metrics.functional.breakdown import miss_causes
from camloc.metrics.functional.localization import best_iou

MAX_MAP_SIDE = 56
"""Pixels of a stored score map's longer side; few networks see finer."""
MAX_THRESHOLDS = 256
"""CAM thresholds that a page holds; of a finer grid every k-th is taken."""


class ShownPair(NamedTuple):
    """An (image, class) pair as one run sees it."""

    class_index: int
    """0-based."""
    boxes: NDArray[np.float32]
    """(T,4) xyxy fractions of the thumbnail's sides at each CAM threshold, (1,4) where there is none; all 0: no box."""
    score_map: NDArray[np.uint8] | None = None
    """(h,w), 255 for 1; null where boxes are not read off maps."""
    probability: float | None = None
    """Of the class; null without a classifier."""
    rank: int | None = None
    """Classes that stand before it."""
    gt_boxes: NDArray[np.float32] = np.zeros((0, 4), np.float32)
    """(M,4) true boxes, likewise; (0,4): none is known."""
    iou: NDArray[np.float64] | None = None
    """(T,) best IoU with a true box at each CAM threshold; null without true boxes."""
    causes: NDArray[np.uint8] | None = None
    """(T,) why it was missed, see :mod:`camloc.metrics.functional.breakdown`; null without true boxes."""


class ShownImage(NamedTuple):
    """An image as one run sees it."""

    name: str
    """Unique within the report."""
    position: int
    """Place in the split, 0-based; names the thumbnail's file."""
    size: tuple[int, int]
    """``(height, width)`` of the thumbnail, from :func:`camloc.report.explorer.thumbnails.save_thumbnail`."""
    pairs: Sequence[ShownPair]
    """Its true classes; where no truth is known, the classes that were found. An image without any is shown as such."""
    ranked: Sequence[tuple[int, float]] = ()
    """The most likely classes with their probabilities, best first."""
    predicted: ShownPair | None = None
    """The most likely class where it is not among ``pairs`` and was mapped as well."""


class ShownRun(NamedTuple):
    """What all images of a run have in common."""

    label: str
    cam_thresholds: Sequence[float]
    """(T,) fractions of the score map's maximum, ascending; empty where boxes have none."""
    cam_threshold: float | None = None
    """The reported one, among them; null where boxes have none."""
    threshold_source: str = ""
    """``fixed``, ``val``, ``pseudo`` or ``oracle``."""
    iou_threshold: float | None = None
    """Fraction from which a box is a hit; null without true boxes."""
    num_pairs: int = 0
    """Pairs that ``errors`` were counted on, those that are not shown included."""
    errors: Mapping[str, Sequence[float]] = {}
    """(T,) fractions by name, such as ``GT-known``."""


def shown_pair(
    class_index: int,
    boxes: Tensor,
    map_size: tuple[int, int],
    *,
    score_map: NDArray[np.uint8] | None = None,
    probability: float | None = None,
    rank: int | None = None,
    gt_boxes: Tensor | None = None,
    iou_threshold: float | None = None,
) -> ShownPair:
    """Measure a pair's boxes at every CAM threshold.

    Args:
        class_index: 0-based.
        boxes: (T,4) half-open xyxy pixels of the score map.
        map_size: ``(height, width)`` of the score map, which covers the thumbnail.
        score_map: From :func:`small_map`.
        probability: Of the class.
        rank: Classes that stand before it; null counts as the right class, as without a classifier.
        gt_boxes: (M,4) true boxes in the same pixels; null or (0,4) where none is known.
        iou_threshold: Fraction from which a box is a hit; needed with true boxes.

    Example:
        >>> boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 0, 0]])
        >>> pair = shown_pair(3, boxes, (20, 10), gt_boxes=torch.tensor([[0.0, 0.0, 10.0, 5.0]]), iou_threshold=0.5)
        >>> pair.boxes[0].tolist(), pair.iou.tolist(), pair.causes.tolist()  # a hit, then no box
        ([0.0, 0.0, 1.0, 0.5], [0.5, 0.0], [0, 2])
    """
    boxes = boxes.cpu().double()
    found = ShownPair(class_index, _fractions(boxes, map_size), score_map, probability, rank)
    if gt_boxes is None or not len(gt_boxes) or iou_threshold is None:
        return found
    # Neighbouring thresholds often give the same box.
    unique, inverse = np.unique(boxes.numpy(), axis=0, return_inverse=True)
    distinct, place = torch.from_numpy(unique), torch.from_numpy(inverse.reshape(-1))
    is_right = torch.full((len(distinct),), not rank)
    causes = miss_causes(distinct, [gt_boxes] * len(distinct), is_right, iou_threshold)
    return found._replace(
        gt_boxes=_fractions(gt_boxes.double(), map_size),
        iou=best_iou(distinct[None], [gt_boxes])[0, place].numpy(),
        causes=causes[place].numpy().astype(np.uint8),
    )


def small_map(score_map: Tensor, cam_size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Reduce a score map to what a page stores: its values at the centres of its CAM's cells and between them.

    Interpolated linearly, a third of a cell apart, they give back what was upsampled linearly. Of a finer CAM the
    centres alone are taken. A map without a CAM, or with one above :data:`MAX_MAP_SIDE`, is averaged.

    Args:
        score_map: (H,W) in [0,1].
        cam_size: ``(h,w)`` of the CAM that it was upsampled from; null where it was given at full size.

    Returns:
        (h,w) uint8; NaN becomes 0.

    Example:
        >>> small_map(torch.ones(64, 64), (4, 4)).shape
        (12, 12)
    """
    height, width = score_map.shape
    scale = min(1.0, MAX_MAP_SIDE / max(height, width))
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    cells = cam_size or (height, width)
    per_cell = next((n for n in (3, 1) if n * cells[0] <= size[0] and n * cells[1] <= size[1]), 0)
    if per_cell:
        size = [per_cell * side for side in cells]
    small = interpolate(score_map[None, None].float().cpu(), size, mode="bilinear", antialias=not per_cell)[0, 0]
    codes: NDArray[np.uint8] = (small.nan_to_num(0).clamp(0, 1) * 255).round().byte().numpy()
    return codes


def shown_thresholds(cam_thresholds: Sequence[float], reported: float | None) -> list[int]:
    """Return the places of the CAM thresholds that a page holds, the reported one among them.

    Example:
        >>> len(shown_thresholds([i / 1000 for i in range(1000)], 0.123))
        251
        >>> shown_thresholds([0.1, 0.2], 0.2)
        [0, 1]
    """
    step = -(-len(cam_thresholds) // MAX_THRESHOLDS) or 1
    places = set(range(0, len(cam_thresholds), step))
    if reported is not None:
        places.add(list(cam_thresholds).index(reported))
    return sorted(places)


def _fractions(boxes: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return boxes as fractions of the thumbnail, cut at its edges."""
    found: NDArray[Any] = rescale(boxes, size, (1, 1)).clamp(0, 1).numpy().astype(np.float32)
    return found

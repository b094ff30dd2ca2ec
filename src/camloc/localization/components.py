"""Every connected component of a score map above one CAM threshold."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_EIGHT = 8


class Components(NamedTuple):
    """The N components of one map, the largest first; of equal ones the one whose first pixel comes first."""

    boxes: NDArray[np.int32]
    """(N,4) half-open xyxy pixels of the map."""
    labels: NDArray[np.int32]
    """(H,W) component of each pixel, 1 to N; 0 for none."""


def components(score_map: NDArray[np.float32], cam_threshold: float) -> Components:
    r"""Find the 8-connected components of one map above a threshold.

    .. math:: mask_t = \{(x, y) : score(x, y) > t \cdot \max score\}

    The first one is that of :func:`~camloc.localization.threshold_sweep.largest_component_boxes`.

    Args:
        score_map: (H,W); one with a NaN or infinite pixel, or without a pixel above 0, has no component.
        cam_threshold: t, a fraction of the map's maximum.

    Example:
        >>> score_map = np.array([[0.9, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 1.0]], np.float32)
        >>> components(score_map, 0.2).boxes.tolist()
        [[2, 0, 4, 2], [0, 0, 1, 1]]
    """
    highest = score_map.max()
    if not np.isfinite(score_map).all() or highest <= 0:
        return Components(np.zeros((0, 4), np.int32), np.zeros(score_map.shape, np.int32))
    mask = (score_map > np.float32(cam_threshold) * highest).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=_EIGHT)
    # OpenCV numbers components by blocks of pixels, not by their first pixels.
    seen, first = np.unique(labels, return_index=True)
    first_of = np.zeros(count, np.int64)
    first_of[seen] = first
    order = np.lexsort((first_of[1:], -stats[1:, cv2.CC_STAT_AREA])) + 1
    x0, y0, width, height, _ = stats[order].T
    number = np.zeros(count, np.int32)
    number[order] = np.arange(1, count)
    return Components(np.stack([x0, y0, x0 + width, y0 + height], axis=1).astype(np.int32), number[labels])

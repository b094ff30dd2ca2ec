"""What wsolevaluation computes, one OpenCV call per threshold: slow, plain, and independent of the package."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = Sequence[Sequence[int]]


def boxes_at(levels: NDArray[np.uint8], threshold: float) -> tuple[list[list[int]], int]:
    """Inclusive boxes (x0, y0, x1, y1) of all contours at one threshold, and which of them is the single contour's."""
    height, width = levels.shape
    mask = (levels > int(threshold * levels.max())).astype(np.uint8)
    contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if len(contours) == 0:
        return [[0, 0, 0, 0]], 0
    areas = [cv2.contourArea(contour) for contour in contours]
    boxes = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        boxes.append([x, y, min(x + w, width - 1), min(y + h, height - 1)])
    return boxes, areas.index(max(areas))


def ious(boxes: Boxes, gt_boxes: Boxes) -> NDArray[np.float64]:
    """IoU (N,M) of inclusive boxes."""
    a, b = np.asarray(boxes)[:, None], np.asarray(gt_boxes)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    shared = sides.clip(0).prod(-1)
    areas = [(c[..., 2:] - c[..., :2] + 1).prod(-1) for c in (a, b)]
    found: NDArray[np.float64] = shared / (areas[0] + areas[1] - shared)
    return found


def best_ious(
    score_map: NDArray[np.float64], gt_boxes: Boxes, thresholds: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Best IoU at each threshold of the single contour, and of all contours."""
    levels = (score_map.astype(np.float64) * 255).astype(np.uint8)
    single, multi = [], []
    for threshold in thresholds:
        boxes, largest = boxes_at(levels, threshold)
        found = ious(boxes, gt_boxes).max(1)
        single.append(float(found[largest]))
        multi.append(float(found.max()))
    return single, multi


def correct(best: Sequence[float]) -> NDArray[np.int64]:
    """1 where the best IoU reaches 30, 50 and 70 percent, (3,T)."""
    return np.array([[iou >= percent / 100 for iou in best] for percent in (30, 50, 70)], dtype=np.int64)


def resized_box(box: Sequence[int], image_size: tuple[int, int], map_size: tuple[int, int]) -> list[int]:
    """An inclusive box of an image in pixels of its map; sizes are (height, width)."""
    (height, width), (map_height, map_width) = image_size, map_size
    x0, y0, x1, y1 = (float(corner) for corner in box)
    return [
        int(x0 * map_width / width),
        int(y0 * map_height / height),
        int(x1 * map_width / width),
        int(y1 * map_height / height),
    ]


def pxap(
    score_maps: Sequence[NDArray[np.float64]],
    masks: Sequence[NDArray[np.bool_]],
    ignores: Sequence[NDArray[np.bool_]],
    interval: float,
) -> float:
    """Pixel average precision of all images together, in percent."""
    edges = [*np.arange(0, 1, interval), 1.0, 2.0, 3.0]
    foreground = np.zeros(len(edges) - 1)
    background = np.zeros(len(edges) - 1)
    for score_map, mask, ignore in zip(score_maps, masks, ignores, strict=True):
        scores = score_map.astype(np.float64)
        foreground += np.histogram(scores[mask], edges)[0]
        background += np.histogram(scores[~mask & ~ignore], edges)[0]
    area, below, above = 0.0, 0.0, 0.0
    recall = 0.0
    for num_true, num_false in zip(foreground[::-1], background[::-1], strict=True):
        above, below = above + num_true, below + num_false
        if above + below > 0:
            area += above / (above + below) * (above / foreground.sum() - recall)
            recall = above / foreground.sum()
    return float(100 * area)

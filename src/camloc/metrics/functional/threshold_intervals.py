"""Intervals of localization errors at thresholds that were chosen, fixed, or swept."""

import numpy as np

from camloc.metrics.functional.bootstrap import Select, interval, localization_outcome
from camloc.metrics.functional.localization import Condition
from camloc.metrics.functional.per_image import PerImage, hits
from camloc.metrics.functional.resampling import percentiles, resampled_sums

Ends = tuple[float, float]


def error_intervals(
    test: PerImage, val: PerImage | None, *, cam_threshold: float | None, iou_threshold: float
) -> dict[str, Ends]:
    """Bootstrap the localization errors of a split over its images.

    Args:
        test: N pairs, at least one.
        val: What the threshold was chosen on; None where it was fixed, or is the best of ``test``.
        cam_threshold: The fixed one; None for the best of ``test``.
        iou_threshold: Fraction.

    Returns:
        Ends of the intervals of ``gt_known_error``, ``top1_error``, ``top5_error`` and ``gt_known_error_at_best``.

    Example:
        >>> ids, rank, iou = np.array(["a", "b"]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]])
        >>> test = PerImage(ids, rank, rank, iou, np.array([0.1, 0.2]))
        >>> error_intervals(test, None, cam_threshold=0.2, iou_threshold=0.5)["gt_known_error"]
        (0.0, 0.0)
    """
    select: Select = "val" if val is not None else "oracle" if cam_threshold is None else "fixed"
    outcomes = {
        f"{condition}_error": localization_outcome(
            test, condition, select, iou_threshold=iou_threshold, cam_threshold=cam_threshold, val=val
        )
        for condition in test.conditions
    }
    outcomes["gt_known_error_at_best"] = localization_outcome(test, "gt_known", "oracle", iou_threshold=iou_threshold)
    errors = {name: interval(outcome) for name, outcome in outcomes.items()}
    return {name: (error.low, error.high) for name, error in errors.items()}


def fixed_intervals(test: PerImage, iou_threshold: float) -> dict[Condition, list[Ends]]:
    """Bootstrap the errors at every measured threshold, each as if it had been fixed beforehand.

    The same intervals as :func:`error_intervals` gives one threshold at a time, from one draw.

    Args:
        test: N pairs, at least one; T thresholds.
        iou_threshold: Fraction.

    Returns:
        Ends of the interval at each of T thresholds, by error.

    Example:
        >>> ids, rank, iou = np.array(["a", "b"]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]])
        >>> fixed_intervals(PerImage(ids, rank, rank, iou, np.array([0.1, 0.2])), 0.5)["gt_known"]
        [(0.0, 1.0), (0.0, 0.0)]
    """
    counted = np.concatenate([hits(test, condition, iou_threshold) for condition in test.conditions], axis=1)
    sums, num_pairs = resampled_sums(counted, test.image_ids.tolist())
    errors = 1 - sums.astype(np.float64) / num_pairs[:, None]
    ends = [percentiles(errors[:, column]) for column in range(errors.shape[1])]
    size = test.iou.shape[1]
    return {condition: ends[i * size : (i + 1) * size] for i, condition in enumerate(test.conditions)}

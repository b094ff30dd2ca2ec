"""A 95% interval beside every error of a finished run."""

from collections.abc import Container
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from camloc.metrics.functional.bootstrap import (
    Outcome,
    Select,
    interval,
    localization_outcome,
    percentiles,
    resampled_sums,
)
from camloc.metrics.functional.devkit import TOP_K
from camloc.metrics.functional.max_box_acc import IOU_THRESHOLDS, VERSIONS
from camloc.metrics.functional.per_image import Condition, PerImage, hits, read_image_counts
from camloc.metrics.functional.pxap import pixel_average_precision

ERRORS: tuple[Condition, ...] = ("gt_known", "top1", "top5")


def error_intervals(
    per_image: Path, cam_threshold: float, iou_threshold: float, threshold_source: str
) -> dict[str, float]:
    """Bootstrap the errors of both splits over their images.

    Args:
        per_image: Folder with ``val.npz`` and ``test.npz``.
        cam_threshold: The reported one.
        iou_threshold: Fraction.
        threshold_source: Of test's errors, ``fixed`` or ``val``; on ``val`` itself a chosen threshold is an oracle's.

    Returns:
        ``<split>/.../<error>_low`` and ``..._high``, fractions, to stand beside the keys of ``metrics.json``.
    """
    splits = {name: PerImage.load(per_image / f"{name}.npz") for name in ("val", "test")}
    found: dict[str, float] = {}
    for split, kept in splits.items():
        select: Select = "fixed" if threshold_source == "fixed" else "val" if split == "test" else "oracle"
        outcomes = {f"classification/top{k}_error": Outcome(kept.image_ids, kept.rank < k) for k in (1, 5)} | {
            f"localization/{condition}_error": localization_outcome(
                kept, condition, select, iou_threshold=iou_threshold, cam_threshold=cam_threshold, val=splits["val"]
            )
            for condition in ERRORS
        }
        outcomes["localization/gt_known_error_at_best"] = localization_outcome(
            kept, "gt_known", "oracle", iou_threshold=iou_threshold
        )
        for name, outcome in outcomes.items():
            error = interval(outcome)
            found |= {f"{split}/{name}_low": error.low, f"{split}/{name}_high": error.high}
    return found


def fixed_intervals(kept: PerImage, iou_threshold: float) -> dict[Condition, list[tuple[float, float]]]:
    """Bootstrap the errors at every threshold that was measured, each as if it had been fixed beforehand.

    The same intervals as :func:`error_intervals` gives one threshold at a time, from one draw.

    Args:
        kept: N images, T thresholds.
        iou_threshold: Fraction.

    Returns:
        Ends of the interval at each of T thresholds, by error.
    """
    counted = np.concatenate([hits(kept, condition, iou_threshold) for condition in ERRORS], axis=1)
    errors = 1 - resampled_sums(counted).astype(np.float64) / len(counted)
    ends = [percentiles(errors[:, column]) for column in range(errors.shape[1])]
    size = len(kept.cam_thresholds)
    return {condition: ends[i * size : (i + 1) * size] for i, condition in enumerate(ERRORS)}


def protocol_intervals(per_image: Path, measured: Container[str]) -> dict[str, float]:
    """Bootstrap MaxBoxAcc, MaxBoxAccV2, PxAP and the devkit's errors on test over its images.

    Each resample has its own best thresholds where they are an oracle's.

    Args:
        per_image: Folder with ``test_max_box_acc.npz``, ``test_pxap.npz``, ``test_ilsvrc.npz``, as far as measured.
        measured: Keys of ``metrics.json``; no other number gets an interval.

    Returns:
        ``test/localization/<name>_low`` and ``..._high``, fractions.
    """
    resampled: dict[str, NDArray[np.float64]] = {}
    if (boxes := per_image / "test_max_box_acc.npz").is_file():
        resampled |= _max_box_acc(read_image_counts(boxes))
    if (pixels := per_image / "test_pxap.npz").is_file():
        counts = read_image_counts(pixels)
        sums = resampled_sums(counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
        resampled["pxap"] = np.array([pixel_average_precision(torch.from_numpy(one)).item() for one in sums])
    if (predictions := per_image / "test_ilsvrc.npz").is_file():
        resampled |= _ilsvrc(read_image_counts(predictions))
    found: dict[str, float] = {}
    for name, values in resampled.items():
        if (key := f"test/localization/{name}") in measured:
            low, high = percentiles(values)
            found |= {f"{key}_low": low, f"{key}_high": high}
    return found


def _ilsvrc(counts: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Resample (N,5) counts of :class:`camloc.metrics.ilsvrc_error.IlsvrcError` into errors (R,) by name."""
    sums = resampled_sums(counts).astype(np.float64)
    localization = 1 - sums[:, :2] / (len(counts) - sums[:, 4:])
    classification = 1 - sums[:, 2:4] / len(counts)
    return {
        **{f"ilsvrc_top{k}_error": localization[:, i] for i, k in enumerate(TOP_K)},
        **{f"ilsvrc_top{k}_classification_error": classification[:, i] for i, k in enumerate(TOP_K)},
    }


def _max_box_acc(hits: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Resample (N,2,3,T) hits into accuracies (R,) by name."""
    curves = hits.reshape(len(hits), -1, hits.shape[-1])
    # Most of a thousand thresholds cut a map at the grey level of their neighbour.
    differ = [np.append(True, (curves[:, i, 1:] != curves[:, i, :-1]).any(axis=0)) for i in range(curves.shape[1])]
    columns = [curves[:, i, kept] for i, kept in enumerate(differ)]
    ends = np.cumsum([column.shape[1] for column in columns])[:-1]
    sums = np.split(resampled_sums(np.concatenate(columns, axis=1)), ends, axis=1)
    best = np.stack([part.max(axis=1) for part in sums], axis=1).reshape(-1, *hits.shape[1:3]) / len(hits)
    found: dict[str, NDArray[np.float64]] = {}
    for i, name in enumerate(VERSIONS):
        found |= {f"{name}_{round(100 * iou)}": best[:, i, j] for j, iou in enumerate(IOU_THRESHOLDS)}
        found[name] = best[:, i].mean(axis=1) if name.endswith("v2") else best[:, i, IOU_THRESHOLDS.index(0.5)]
    return found

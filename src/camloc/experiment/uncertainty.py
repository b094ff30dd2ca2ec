"""A 95% interval beside every error of a finished run."""

from pathlib import Path

from camloc.metrics.functional.bootstrap import Outcome, Select, interval, localization_outcome
from camloc.metrics.functional.per_image import Condition, PerImage

ERRORS: tuple[Condition, ...] = ("gt_known", "top1", "top5")


def error_intervals(
    per_image: Path, cam_threshold: float, iou_threshold: float, threshold_source: str
) -> dict[str, float]:
    """Bootstrap the errors of both splits over their pictures.

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

"""Many CAM thresholds from one evaluation: its outcomes per image hold the errors at all of them."""

import json
from collections.abc import Mapping
from pathlib import Path

from omegaconf import OmegaConf

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.uncertainty import ERRORS, fixed_intervals
from camloc.metrics.functional.per_image import PerImage, hits
from camloc.report.drawing import threshold_curve

IMAGE = "threshold_sweep.png"
NAMES = {"gt_known": "GT-known", "top1": "top-1 localization", "top5": "top-5 localization"}


def write_jobs(evaluation: Path, directories: Mapping[float, Path]) -> None:
    """Give each threshold a run directory with its own numbers, and draw the errors against the threshold.

    Numbers that do not depend on the threshold are the evaluation's.

    Args:
        evaluation: A finished run that measured all the thresholds.
        directories: Run directory of each.
    """
    config = OmegaConf.load(evaluation / "config.yaml")
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    iou_threshold = float(config.localization.iou_threshold)
    splits = {name: PerImage.load(evaluation / "per_image" / f"{name}.npz") for name in ("val", "test")}
    intervals = {name: fixed_intervals(kept, iou_threshold) for name, kept in splits.items()}
    curves: dict[str, list[float]] = {f"{name}, test": [] for name in NAMES.values()}
    thresholds = sorted(directories)
    for cam_threshold in thresholds:
        found = dict(metrics)
        for split, kept in splits.items():
            at = kept.threshold_index(cam_threshold)
            for condition in ERRORS:
                count = int(hits(kept, condition, iou_threshold)[:, at].sum())
                found[f"{split}/localization/{condition}_hits"] = count
                error = f"{split}/localization/{condition}_error"
                found[error] = 1 - count / len(kept.image_ids)
                found[f"{error}_low"], found[f"{error}_high"] = intervals[split][condition][at]
            found[f"{split}/localization/cam_threshold"] = cam_threshold
            found[f"{split}/localization/threshold_source"] = "fixed"
        for condition in ERRORS:
            curves[f"{NAMES[condition]}, test"].append(found[f"test/localization/{condition}_error"])
        directories[cam_threshold].mkdir(parents=True, exist_ok=True)
        run = RunDirectory(directories[cam_threshold])
        config.localization.cam_threshold = cam_threshold
        config.localization.more_thresholds = []
        run.write_config(config)  # type: ignore[arg-type] # a DictConfig
        run.write_metrics(found)
        run.write_status("completed")
    chosen = float(metrics["test/localization/cam_threshold"])
    image = evaluation.parent / IMAGE
    threshold_curve(thresholds, curves, chosen, str(metrics["test/localization/threshold_source"]), image)
    print(f"Error against the CAM threshold: {image}")  # noqa: T201 - in order with what the jobs print themselves

"""Many CAM thresholds from one evaluation: its outcomes per image hold the errors at all of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from camloc.experiment.run_directory import RunDirectory, read_json
from camloc.metrics.functional.localization import Condition
from camloc.metrics.functional.per_image import PerImage, hits
from camloc.metrics.functional.threshold_intervals import fixed_intervals
from camloc.report.charts import threshold_curve

IMAGE = "threshold_sweep.png"
NAMES: Mapping[Condition, str] = {
    "gt_known": "GT-known",
    "top1": "top-1 localization",
    "top5": "top-5 localization",
}


def write_jobs(evaluation: Path, directories: Mapping[float, Path]) -> None:
    """Give each threshold a run directory with its own numbers, and draw them as points on the errors' whole curves.

    Numbers that do not depend on the threshold are the evaluation's.

    Args:
        evaluation: A finished run that measured all the thresholds.
        directories: Run directory of each.
    """
    shared = RunDirectory(evaluation)
    config: Any = OmegaConf.load(shared.config)
    metrics, rows = read_json(shared.metrics), shared.read_rows()
    iou_threshold = float(config.localization.iou_threshold)
    files = {name: shared.per_image(name) for name in ("val", "test")}
    splits = {name: PerImage.load(file) for name, file in files.items() if file.is_file()}  # val may have no boxes
    intervals = {name: fixed_intervals(kept, iou_threshold) for name, kept in splits.items()}
    errors = {
        f"{split}/localization/{condition}_error" for split, kept in splits.items() for condition in kept.conditions
    }
    # The boxes of val may be pseudo boxes, at a fixed threshold too.
    of_split = {"val": "pseudo" if metrics.get("val/localization/threshold_source") == "pseudo" else "fixed"}
    fixed = [
        row._replace(threshold_source=of_split.get(row.key.partition("/")[0], "fixed")) if row.key in errors else row
        for row in rows
    ]
    for cam_threshold in sorted(directories):
        found = dict(metrics)
        for split, kept in splits.items():
            at = kept.threshold_index(cam_threshold)
            for condition in kept.conditions:
                count = int(hits(kept, condition, iou_threshold)[:, at].sum())
                found[f"{split}/localization/{condition}_hits"] = count
                error = f"{split}/localization/{condition}_error"
                found[error] = 1 - count / len(kept.image_ids)
                found[f"{error}_low"], found[f"{error}_high"] = intervals[split][condition][at]
            found[f"{split}/localization/cam_threshold"] = cam_threshold
            found[f"{split}/localization/threshold_source"] = of_split.get(split, "fixed")
        directories[cam_threshold].mkdir(parents=True, exist_ok=True)
        run = RunDirectory(directories[cam_threshold])
        run.start(overwrite=True)  # the launcher has refused completed jobs already
        for entry in (config.localization, *config.localization.protocols.values()):
            for name, value in (("cam_threshold", cam_threshold), ("more_thresholds", [])):
                if entry and name in entry and not OmegaConf.is_interpolation(entry, name):  # which follows by itself
                    entry[name] = value
        run.write_config(config)
        run.write_metrics(found)
        run.write_rows(fixed)
        run.write_status("completed")
    chosen = float(metrics["test/localization/cam_threshold"])
    image, test = evaluation.parent / IMAGE, splits["test"]
    curves = {
        f"{NAMES[condition]}, test": (1 - hits(test, condition, iou_threshold).mean(axis=0)).tolist()
        for condition in test.conditions
    }
    source = str(metrics["test/localization/threshold_source"])
    threshold_curve(test.cam_thresholds.tolist(), curves, chosen, source, image, list(directories))
    print(f"Error against the CAM threshold: {image}")  # noqa: T201 - in order with what the jobs print themselves

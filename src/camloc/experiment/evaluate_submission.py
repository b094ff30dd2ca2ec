"""Evaluate a file of predictions as the ILSVRC devkit does: no network, no images."""

from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console

from camloc.experiment.build import build_datamodule
from camloc.experiment.run_directory import RunDirectory
from camloc.metrics.functional.bootstrap import percentiles, resampled_sums
from camloc.metrics.functional.devkit import TOP_K, devkit_errors, devkit_hits
from camloc.metrics.ilsvrc_error import read_blacklist
from camloc.predictors.submission import read_submission
from camloc.report.table import results_table


def evaluate_submission(config: DictConfig, run: RunDirectory) -> None:
    """Evaluate ``submission=FILE`` against the test split's true boxes.

    Labels are the devkit's where the data module knows them, else 1 for the first class and so on.

    Raises:
        ValueError: If the localization is not the devkit's, or the file does not fit the split.
    """
    protocol = config.localization.also.get("ilsvrc")
    if protocol is None:
        raise ValueError("submission= is measured by localization=ilsvrc")
    run.write_config(config)
    datamodule = build_datamodule(config, ("test",))
    split = datamodule.split("test")
    ids = getattr(datamodule, "devkit_ids", None) or range(1, datamodule.num_classes + 1)
    labels, boxes = read_submission(Path(config.submission), len(split), ids)
    target = torch.tensor([ids[split.target(index)] for index in range(len(split))])
    gt_boxes = [split.gt_boxes(index) for index in range(len(split))]
    hits = devkit_hits(labels, boxes, target, gt_boxes, protocol.get("iou_threshold", 0.5))
    listed = read_blacklist(protocol.blacklist, len(split))
    blacklisted = torch.tensor([index in listed for index in range(len(split))])
    metrics: dict[str, float | int | str] = {
        f"test/localization/{name}": value for name, value in devkit_errors(hits, blacklisted).items()
    }
    parts = ((hits.localization[~blacklisted], "_error"), (hits.classification, "_classification_error"))
    for counted, suffix in parts:
        sums = resampled_sums(counted.numpy()).astype(float)
        for column, k in enumerate(TOP_K):
            low, high = percentiles(1 - sums[:, column] / len(counted))
            key = f"test/localization/ilsvrc_top{k}{suffix}"
            metrics |= {f"{key}_low": low, f"{key}_high": high}
    run.write_metrics(metrics)
    console = Console()
    console.print(results_table(metrics, ("test",)))
    console.print(f"Run directory: {run.path}", highlight=False, soft_wrap=True)

"""What a finished run leaves behind: numbers, curves, the report, a table on the terminal."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from rich.console import Console
from torch import Tensor

from camloc.classifier import Classifier
from camloc.experiment.run_directory import RunDirectory
from camloc.report.drawing import threshold_curve, training_curve
from camloc.report.page import Figure, GalleryItem, write_page
from camloc.report.table import result_rows, results_table

SPLITS = ("val", "test")
EPOCH_CURVES = (
    "train/classification/top1_error",
    "val/classification/top1_error",
    "val/localization/gt_known_error",
    "val/localization/top1_error",
)


def conclude(
    config: DictConfig,
    run: RunDirectory,
    trainer: Trainer,
    classifier: Classifier,
    metrics: Mapping[str, float | int | str],
    note: str,
) -> None:
    """Write the run's files and print its table; every process waits for the gallery, the first one writes.

    Args:
        config: Of the run.
        run: Where the files go.
        trainer: Has just tested.
        classifier: Holds the curves.
        metrics: What goes into ``metrics.json``.
        note: A sentence on which weights were measured.
    """
    trainer.strategy.barrier("gallery drawn")
    run.write_metrics(metrics)
    if not trainer.is_global_zero:
        return
    notes = [note, _threshold_note(metrics), _counts_note(metrics)]
    curves = _named_curves(classifier)
    thresholds = classifier.test_metrics.localization.cam_thresholds
    _write_curves(run.path / "threshold_curve.csv", thresholds, curves)
    run.report.mkdir(exist_ok=True)
    page = write_page(
        run.report,
        title=f"{run.path.name}: localization from image labels",
        rows=result_rows(metrics, SPLITS),
        figures=_figures(run, thresholds, curves, metrics),
        gallery=_gallery(run.report),
        config_yaml=OmegaConf.to_yaml(config, resolve=True),
        notes=notes,
    )
    console = Console()
    console.print(results_table(metrics, SPLITS))
    for line in (*notes, f"Run directory: {run.path}", f"Report: {page}"):
        console.print(line, highlight=False, soft_wrap=True)


def _threshold_note(metrics: Mapping[str, float | int | str]) -> str:
    threshold = metrics["test/localization/cam_threshold"]
    if metrics["test/localization/threshold_source"] == "fixed":
        return f"The CAM threshold {threshold} was fixed beforehand."
    return f"The CAM threshold {threshold} has the least GT-known error on val; test did not take part in the choice."


def _counts_note(metrics: Mapping[str, float | int | str]) -> str:
    hits = {name: metrics[f"test/localization/{name}_hits"] for name in ("gt_known", "top1", "top5")}
    return (
        f"Localized on test: {hits['gt_known']} GT-known, {hits['top1']} top-1, {hits['top5']} top-5 "
        f"of {metrics['test/localization/num_images']} pictures."
    )


def _named_curves(classifier: Classifier) -> dict[str, list[float]]:
    results, metric = classifier.results["test"], classifier.test_metrics.localization
    curves: dict[str, list[float]] = {}
    for condition, name in (("gt_known", "GT-known"), ("top1", "top-1 localization")):
        by_iou: Tensor = results[f"localization/{condition}_curve"]
        for iou_threshold, curve in zip(metric.iou_thresholds, by_iou, strict=True):
            if condition == "gt_known" or iou_threshold == metric.iou_threshold:
                curves[f"{name}, IoU {iou_threshold:g}"] = curve.tolist()
    return curves


def _write_curves(path: Path, thresholds: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["cam_threshold", *curves])
        writer.writerows(zip(thresholds, *curves.values(), strict=True))


def _figures(
    run: RunDirectory,
    thresholds: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    metrics: Mapping[str, float | int | str],
) -> list[Figure]:
    by_threshold = run.report / "threshold_curve.png"
    reported = float(metrics["test/localization/cam_threshold"])
    threshold_curve(thresholds, curves, reported, str(metrics["test/localization/threshold_source"]), by_threshold)
    figures = [Figure(by_threshold, "Error on test against the CAM threshold.")]
    history = run.path / "metrics.csv"
    if history.exists():
        with history.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
        by_epoch = run.report / "training_curve.png"
        training_curve(rows, EPOCH_CURVES, by_epoch)
        figures.append(Figure(by_epoch, "Errors by epoch."))
    return figures


def _gallery(report: Path) -> list[GalleryItem]:
    items = []
    for picture in sorted((report / "gallery").glob("*.png")):
        record = json.loads(picture.with_suffix(".json").read_text(encoding="utf-8"))
        items.append(GalleryItem(picture, record["caption"], record["image_id"]))
    return items

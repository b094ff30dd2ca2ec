"""What a finished run leaves behind: numbers, curves, the report, a table on the terminal."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning import Trainer
from rich.console import Console
from torch import Tensor

from camloc.evaluation import EvaluationModule
from camloc.experiment.loggers import summarize
from camloc.experiment.misses import misses_by_class, misses_by_size
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.uncertainty import error_intervals, protocol_intervals
from camloc.report.drawing import contact_sheet, misses_chart, save_png, threshold_curve, training_curve
from camloc.report.misses import MissRow, misses_table, worst_first
from camloc.report.page import Figure, GalleryItem, write_page
from camloc.report.table import result_rows, results_table

SPLITS = ("val", "test")
GALLERY_COLUMNS = 4
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
    module: EvaluationModule,
    metrics: Mapping[str, float | int | str],
    note: str,
) -> None:
    """Write the run's files and print its table; every process waits for the gallery, the first one writes.

    Args:
        config: Of the run.
        run: Where the files go.
        trainer: Has just tested.
        module: Holds the curves.
        metrics: What goes into ``metrics.json``.
        note: A sentence on which weights were measured.
    """
    trainer.strategy.barrier("gallery drawn")
    if not trainer.is_global_zero:
        return
    run.write_metrics(metrics)  # first of all: nothing that follows can cost the numbers
    metrics = {**metrics, **_intervals(run, module, metrics)}
    run.write_metrics(metrics)
    summarize(trainer, metrics)
    notes = [note, _threshold_note(metrics), *_counts_notes(metrics), *_unmeasured_notes(module)]
    curves = _named_curves(module)
    if curves:
        _write_curves(run.path / "threshold_curve.csv", module.cam_thresholds, curves)
    run.report.mkdir(exist_ok=True)
    misses, gallery = _misses(run, trainer, module.results["test"]), _gallery(run.report)
    if gallery:
        tiles = [np.asarray(Image.open(item.path).convert("RGB")) for item in gallery]
        save_png(run.report / "gallery.png", contact_sheet(tiles, GALLERY_COLUMNS))
    page = write_page(
        run.report,
        title=f"{run.path.name}: localization from image labels",
        rows=result_rows(metrics, SPLITS),
        figures=_figures(run, module.cam_thresholds, curves, metrics, misses.get("object size", [])),
        gallery=gallery,
        misses=misses,
        config_yaml=OmegaConf.to_yaml(config, resolve=True),
        notes=notes,
    )
    console = Console()
    console.print(results_table(metrics, SPLITS))
    if misses:
        console.print(misses_table("object size", misses["object size"]))
    for line in (*notes, f"Run directory: {run.path}", f"Report: {page}"):
        console.print(line, highlight=False, soft_wrap=True)


def _intervals(
    run: RunDirectory, module: EvaluationModule, metrics: Mapping[str, float | int | str]
) -> dict[str, float]:
    per_image = run.path / "per_image"
    found = protocol_intervals(per_image, metrics)
    if (per_image / "test.npz").is_file():  # not with callbacks.predictions=null, nor without true boxes
        source = str(metrics["test/localization/threshold_source"])
        iou_threshold = module.test_metrics.localization.iou_threshold
        found |= error_intervals(per_image, module.test_threshold(), iou_threshold, source)
    return found


def _threshold_note(metrics: Mapping[str, float | int | str]) -> str:
    threshold = metrics.get("test/localization/cam_threshold")
    if threshold is None:
        return "The test images have no true boxes: localization was not measured."
    if metrics["test/localization/threshold_source"] == "fixed":
        return f"The CAM threshold {threshold} was fixed beforehand."
    return f"The CAM threshold {threshold} has the least GT-known error on val; test did not take part in the choice."


def _counts_notes(metrics: Mapping[str, float | int | str]) -> list[str]:
    if "test/localization/gt_known_hits" not in metrics:
        return []
    hits = {name: metrics[f"test/localization/{name}_hits"] for name in ("gt_known", "top1", "top5")}
    localized = f"{hits['gt_known']} GT-known, {hits['top1']} top-1, {hits['top5']} top-5"
    notes = [f"Localized on test: {localized} of {metrics['test/localization/num_images']} images."]
    if degenerate := metrics["test/localization/num_degenerate"]:
        notes.append(f"{degenerate} score maps are flat or not finite; a flat map of zeros gives no box.")
    return notes


def _unmeasured_notes(module: EvaluationModule) -> list[str]:
    idle = [name for name, metric in module.test_metrics.also.items() if name not in module.measured_beside]
    return [f"{name} was not measured: the test split lacks what it is measured against." for name in idle]


def _named_curves(module: EvaluationModule) -> dict[str, list[float]]:
    results, metric = module.results["test"], module.test_metrics.localization
    curves: dict[str, list[float]] = {}
    if "localization/gt_known_curve" not in results:
        return curves
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
    by_size: Sequence[MissRow],
) -> list[Figure]:
    figures = []
    if curves:
        by_threshold = run.report / "threshold_curve.png"
        reported = float(metrics["test/localization/cam_threshold"])
        threshold_curve(thresholds, curves, reported, str(metrics["test/localization/threshold_source"]), by_threshold)
        figures.append(Figure(by_threshold, "Error on test against the CAM threshold."))
    if by_size:
        chart = run.report / "misses.png"
        groups, counts = [row.group for row in by_size], [row.counts for row in by_size]
        misses_chart(groups, by_size[0].causes, counts, chart)
        figures.append(Figure(chart, "What became of the test images, by the object's share of its image."))
    history = run.path / "metrics.csv"
    if history.exists():
        with history.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
        by_epoch = run.report / "training_curve.png"
        training_curve(rows, EPOCH_CURVES, by_epoch)
        figures.append(Figure(by_epoch, "Errors by epoch."))
    return figures


def _misses(run: RunDirectory, trainer: Trainer, results: Mapping[str, Tensor]) -> dict[str, list[MissRow]]:
    predictions = run.path / "predictions.csv"
    # Not with callbacks.predictions=null; without true boxes there is nothing to miss.
    if not predictions.is_file() or "localization/gt_known_error" not in results:
        return {}
    class_names = trainer.datamodule.class_names  # type: ignore[attr-defined] # of the data just tested on
    return {
        "object size": misses_by_size(predictions),
        "class": worst_first(misses_by_class(predictions, class_names)),
    }


def _gallery(report: Path) -> list[GalleryItem]:
    items = []
    for image in sorted((report / "gallery").glob("*.png")):
        record = json.loads(image.with_suffix(".json").read_text(encoding="utf-8"))
        items.append(GalleryItem(image, record["caption"], record["image_id"]))
    return items

"""What a finished run leaves behind: numbers, records of every pair, curves, the report, a table on the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning import Trainer
from rich.console import Console

from camloc.callbacks.epoch_csv import EpochCsv
from camloc.callbacks.explorer import Explorer
from camloc.callbacks.gallery import Gallery
from camloc.callbacks.watched import WatchedData, datamodule_of
from camloc.experiment.loggers import summarize
from camloc.experiment.measuring.results import MeasuredSplit, Numbers
from camloc.experiment.notes import WITH_BOXES, notes_on, remarks_on
from camloc.experiment.run_directory import ReportedRow, RunDirectory
from camloc.export.csv_file import write_csv
from camloc.export.outcomes import write_outcomes
from camloc.export.predictions_csv import write_predictions
from camloc.export.replaced import replaced
from camloc.export.submission import write_submission
from camloc.metrics.box_error import BoxLocalizationError
from camloc.metrics.functional.breakdown import NO_CAUSE
from camloc.metrics.functional.devkit import devkit_pixels
from camloc.metrics.functional.per_image import PerImage
from camloc.metrics.localization_error import LocalizationError
from camloc.records import PairRecords
from camloc.report.charts import misses_chart, threshold_curve, training_curve
from camloc.report.explorer.choose import rule_text
from camloc.report.explorer.files import Explored
from camloc.report.explorer.records import ShownRun, shown_thresholds
from camloc.report.misses import MissRow, misses_by_class, misses_by_size, misses_table, worst_first
from camloc.report.page import Figure, write_page
from camloc.report.rgb import contact_sheet, save_png
from camloc.report.table import TRAINED_WITH_BOXES, ReportedNumber, SplitSize, results_table

Kind = TypeVar("Kind")
GALLERY_COLUMNS = 4
EPOCH_CURVES = (
    "train/classification/top1_error",
    "train/classification/hamming_loss",
    "val/classification/top1_error",
    "val/localization/gt_known_error",
    "val/localization/top1_error",
)


def conclude(
    config: DictConfig,
    run: RunDirectory,
    trainer: Trainer,
    results: Mapping[str, MeasuredSplit],
    notes: Sequence[str],
    *,
    trained_with_boxes: bool = False,
) -> None:
    """Write the run's files and print its table; every process waits for the gallery, the first one writes.

    Args:
        config: Of the run.
        run: Where the files go.
        trainer: Has just tested.
        results: Of the splits.
        notes: On what was measured.
        trained_with_boxes: Whether the network's training saw true boxes, which everything here then says.
    """
    trainer.strategy.barrier("gallery drawn")
    if not trainer.is_global_zero:
        return
    data, test = datamodule_of(trainer), results["test"]
    sizes = {name: _size(split, len(data.split(name))) for name, split in results.items()}
    metrics: Numbers = {key: value for split in results.values() for key, value in split.numbers().items()}
    for name, size in sizes.items():
        metrics |= {f"{name}/num_images": size.num_images, f"{name}/num_images_in_split": size.in_split}
        if size.num_pairs is not None:
            metrics[f"{name}/num_pairs"] = size.num_pairs
        if size.num_localized is not None:
            metrics[f"{name}/num_with_true_boxes"] = size.num_localized
    supervision = TRAINED_WITH_BOXES if trained_with_boxes else ""
    metrics |= {f"{name}/supervision": supervision for name in results if supervision}
    run.write_metrics(metrics)  # first of all: nothing that follows can cost the numbers
    intervals = {
        key: interval for split in results.values() for key, interval in split.intervals(results.get("val")).items()
    }
    for key, (low, high) in intervals.items():
        metrics |= {f"{key}_low": low, f"{key}_high": high}
    run.write_metrics(metrics)
    rows = [replace(row, supervision=supervision) for split in results.values() for row in split.rows(intervals)]
    parts = {name: size.text for name, size in sizes.items() if size.is_part}
    run.write_rows(
        [
            ReportedRow(row.key, row.title, row.direction, row.threshold_source, parts.get(row.split, ""), supervision)
            for row in rows
        ]
    )
    summarize(trainer, metrics)
    test_pairs = test.pairs()
    _write_records(run, data, results, test_pairs)
    remarks = remarks_on(rows, test_pairs, data.class_names)
    rows = [replace(row, has_note=any(row.key in remark.keys for remark in remarks)) for row in rows]
    all_notes = [
        *([WITH_BOXES] if trained_with_boxes else []),
        *notes,
        *(
            f"The boxes of {name} are pseudo boxes, made without people: its numbers say how well they are hit."
            for name, split in results.items()
            if split.has_pseudo_boxes
        ),
        *(
            f"Only {part} of {name} were measured: numbers of a part are not those of the split."
            for name, part in parts.items()
        ),
        *(remark.sentence for remark in remarks),
        *notes_on(test, metrics),
    ]
    misses = _misses(test_pairs, data.class_names)
    run.report.mkdir(exist_ok=True)
    gallery = [item for callback in _of_kind(trainer, Gallery) for item in callback.items]
    if gallery:
        tiles = [np.asarray(Image.open(item.path).convert("RGB")) for item in gallery]
        save_png(run.report / "gallery.png", contact_sheet(tiles, GALLERY_COLUMNS))
    page = write_page(
        run.report,
        title=f"{run.path.name}: localization {supervision or 'from image labels'}",
        numbers=rows,
        num_images=sizes,
        figures=[
            *_curve_figures(run, test),
            *_miss_figures(run, misses.get("object size", [])),
            *_epoch_figures(run, trainer),
        ],
        gallery=gallery,
        misses=misses,
        by_class=test.class_table(),
        config_yaml=OmegaConf.to_yaml(config, resolve=True),
        notes=all_notes,
        explorer=_explored(run, trainer, test),
    )
    _print(rows, sizes, misses, [*all_notes, f"Run directory: {run.path}", f"Report: {page}"])


def _size(split: MeasuredSplit, in_split: int) -> SplitSize:
    """Return how much of a split was measured, and in how many pairs where an image is not always one."""
    pairs = split.result.pairs
    shares = pairs.values.get("object_shares", np.zeros(0))
    num_images, num_pairs, num_localized = split.result.num_images, len(pairs.positions), int(np.isfinite(shares).sum())
    one_each = num_images == num_pairs == len(np.unique(pairs.positions))
    return SplitSize(
        num_images,
        in_split,
        None if one_each else num_pairs,
        None if num_localized in (0, num_pairs) else num_localized,
    )


def _write_records(
    run: RunDirectory, data: WatchedData, results: Mapping[str, MeasuredSplit], test_pairs: PairRecords
) -> None:
    for name, split in results.items():
        for protocol in split.protocols.protocols:
            outcome = split.outcome(protocol)
            if outcome is None:
                continue
            measured = split.protocols.protocols[protocol]
            if protocol == split.protocols.shown and isinstance(measured, LocalizationError | BoxLocalizationError):
                with replaced(run.per_image(name)) as partial:
                    PerImage.of(outcome, measured.cam_thresholds).save(partial)
            else:
                write_outcomes(run.per_image(name, protocol), outcome)
    write_predictions(run.predictions, test_pairs, data.class_names)
    stored = results["test"].result.pairs.values
    if "ranked_boxes" in stored:
        ids = data.devkit_ids or range(1, len(data.class_names) + 1)
        labels = [[ids[one] for one in classes] for classes in stored["ranked_classes"].tolist()]
        boxes = list(devkit_pixels(torch.from_numpy(stored["ranked_boxes"])))
        write_submission(run.submission, labels, boxes)


def _curve_figures(run: RunDirectory, test: MeasuredSplit) -> list[Figure]:
    shown = test.protocols.shown
    protocol = None if shown is None else test.protocols.protocols[shown]
    if shown is None or not isinstance(protocol, LocalizationError) or not test.is_counted(shown):
        return []
    curves: dict[str, list[float]] = {}
    for condition, name in (("gt_known", "GT-known"), ("top1", "top-1 localization")):
        by_iou = test.result.numbers.get(test.protocols.key(shown, f"{condition}_curve"))
        if by_iou is None:
            continue
        for iou_threshold, curve in zip(protocol.iou_thresholds, by_iou, strict=True):
            if condition == "gt_known" or iou_threshold == protocol.iou_threshold:
                curves[f"{name}, IoU {iou_threshold:g}"] = curve.tolist()
    errors = zip(protocol.cam_thresholds, *curves.values(), strict=True)
    write_csv(run.threshold_curve, ["cam_threshold", *curves], errors)
    image = run.report / "threshold_curve.png"
    threshold_curve(protocol.cam_thresholds, curves, *test.thresholds[shown], image)
    return [Figure(image, "Error on test against the CAM threshold.")]


def _explored(run: RunDirectory, trainer: Trainer, test: MeasuredSplit) -> Explored | None:
    images = [image for callback in _of_kind(trainer, Explorer) for image in callback.images]
    if not images:
        return None
    protocols, data = test.protocols, datamodule_of(trainer)
    protocol = None if protocols.shown is None else protocols.protocols[protocols.shown]
    thresholds, reported = protocols.shown_thresholds, protocols.shown_threshold
    kept = shown_thresholds(thresholds, reported)
    errors: dict[str, list[float]] = {}
    threshold = test.thresholds.get(protocols.shown or "")
    if protocols.shown is not None and isinstance(protocol, LocalizationError) and test.is_counted(protocols.shown):
        iou_index = protocol.iou_thresholds.index(protocol.iou_threshold)
        for condition, name in (("gt_known", "GT-known"), ("top1", "top-1 localization")):
            curve = test.result.numbers.get(protocols.key(protocols.shown, f"{condition}_curve"))
            if curve is not None:
                errors[name] = curve[iou_index, kept].tolist()
    shown = ShownRun(
        label=run.path.name,
        cam_thresholds=[thresholds[place] for place in kept],
        cam_threshold=reported,
        threshold_source="" if threshold is None else threshold.source,
        iou_threshold=_of_kind(trainer, Explorer)[0].iou_threshold,
        num_pairs=len(test.image_ids),
        errors=errors,
    )
    return Explored(data.class_names, [(shown, images)], rule_text(len(images), test.result.num_images))


def _miss_figures(run: RunDirectory, by_size: Sequence[MissRow]) -> list[Figure]:
    if not by_size:
        return []
    chart = run.report / "misses.png"
    misses_chart([row.group for row in by_size], by_size[0].causes, [row.counts for row in by_size], chart)
    return [Figure(chart, "What became of the test images, by the object's share of its image.")]


def _epoch_figures(run: RunDirectory, trainer: Trainer) -> list[Figure]:
    history = [row for callback in _of_kind(trainer, EpochCsv) for row in callback.rows]
    if not history:
        return []
    rows = [{name: float(value) for name, value in row.items() if value} for row in history]
    by_epoch = run.report / "training_curve.png"
    training_curve(rows, EPOCH_CURVES, by_epoch)
    return [Figure(by_epoch, "Errors by epoch.")]


def _misses(pairs: PairRecords, class_names: Sequence[str]) -> dict[str, list[MissRow]]:
    if pairs.causes is None or pairs.object_shares is None:
        return {}  # without true boxes there is nothing to miss
    known = pairs.causes != NO_CAUSE
    return {
        "object size": misses_by_size(pairs.causes[known], pairs.object_shares[known]),
        "class": worst_first(misses_by_class(pairs.causes[known], pairs.classes[known], class_names)),
    }


def _print(
    rows: Sequence[ReportedNumber],
    sizes: Mapping[str, SplitSize],
    misses: Mapping[str, Sequence[MissRow]],
    lines: Sequence[str],
) -> None:
    console = Console()
    console.print(results_table(rows, sizes))
    if misses:
        console.print(misses_table("object size", misses["object size"]))
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _of_kind(trainer: Trainer, kind: type[Kind]) -> list[Kind]:
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]  # type: ignore[attr-defined] # Lightning's

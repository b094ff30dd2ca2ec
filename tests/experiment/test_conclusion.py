"""What a finished run leaves behind, and what cannot cost its numbers."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from torch import Tensor

from camloc.boxes import area
from camloc.callbacks.epoch_csv import EpochCsv
from camloc.experiment import conclusion
from camloc.experiment.conclusion import conclude
from camloc.experiment.measuring.measure import measure
from camloc.experiment.measuring.results import MeasuredSplit
from camloc.experiment.run_directory import ReportedRow, RunDirectory
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import Protocol
from camloc.metrics.functional.per_image import PerImage
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.records import Outcome, Row

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]


def measured(
    trainer: Trainer,
    protocols: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    **module: Any,  # noqa: ANN401 - of the module
) -> dict[str, MeasuredSplit]:
    made = SQUARES["module"](SQUARES["measures"](protocols), **module)
    return measure(trainer, made, SQUARES["data"](**(data or {})))


def test_numbers_records_curves_and_report_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path)
    epochs = EpochCsv(run)
    trainer = SQUARES["trainer"](epochs)
    results = measured(trainer)
    epochs.rows = [{"epoch": "0", "step": "1", "val/localization/gt_known_error": "0.5", "train/loss": ""}]
    conclude(config(), run, trainer, results, ["Weights: best.ckpt."])
    metrics = json.loads(run.metrics.read_text())
    assert metrics["test/localization/gt_known_error"] == 1
    assert (
        metrics["test/localization/gt_known_error_low"],
        metrics["test/localization/gt_known_error_high"],
        metrics["test/localization/gt_known_error_at_best_high"],
        metrics["test/localization/threshold_source"],
    ) == (1, 1, 0, "val")
    rows = {row.key: row for row in run.read_rows()}
    assert rows["val/localization/gt_known_error"] == ReportedRow(
        "val/localization/gt_known_error", "GT-known localization error", "min", "oracle"
    )
    assert rows["test/localization/top1_error"].threshold_source == "val"
    assert rows["test/classification/top1_error"].threshold_source == ""
    for name, length in (("val", 2), ("test", 3)):
        kept = PerImage.load(run.per_image(name))
        assert kept.image_ids.tolist() == [f"{name}{index}.png" for index in range(length)]
        assert kept.rank is not None
        assert kept.rank.tolist() == [0] * length
        assert np.load(run.per_image(name, "classification"))["rank"].tolist() == [0] * length
    with run.predictions.open(newline="") as file:
        first, *others = csv.DictReader(file)
    assert len(others) == 2
    assert (first["image_id"], first["true_class"]) == ("test0.png", "red")
    assert [first[f"prediction_{place}"] for place in (1, 2, 3)] == ["red", "green", ""]
    assert [first[name] for name in ("x0", "y0", "x1", "y1")] == ["0", "1", "8", "7"]
    assert (first["iou"], first["best_iou"], first["cause"]) == ("0.333333", "1.000000", "too large (context)")
    with run.threshold_curve.open(newline="") as file:
        header, *curve = csv.reader(file)
    assert header == [
        "cam_threshold",
        "GT-known, IoU 0.3",
        "GT-known, IoU 0.5",
        "GT-known, IoU 0.7",
        "top-1 localization, IoU 0.5",
    ]
    assert [row[2] for row in curve] == ["1.0"] * 8 + ["0.0"] * 2
    assert {path.name for path in run.report.iterdir()} == {
        "index.html",
        "threshold_curve.png",
        "misses.png",
        "training_curve.png",
    }
    page = (run.report / "index.html").read_text()
    assert "Weights: best.ckpt." in page
    assert "has the least GT-known error on val" in page
    printed = capsys.readouterr().out
    assert f"Run directory: {tmp_path}" in printed
    assert "test, 3 images" in printed
    assert not run.submission.exists()


@pytest.mark.parametrize("broken", ["write_page", "_write_records", "threshold_curve"])
def test_the_numbers_are_there_even_if_drawing_fails(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(conclusion, broken, fail)
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    results = measured(trainer)
    with pytest.raises(OSError, match="No space left"):
        conclude(config(), run, trainer, results, [])
    metrics = json.loads(run.metrics.read_text())
    assert metrics["test/localization/gt_known_error"] == 1
    assert metrics["test/localization/gt_known_error_high"] == 1


def test_the_numbers_are_there_even_if_their_intervals_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    results = measured(trainer)
    monkeypatch.setattr(LocalizationError, "intervals", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conclude(config(), run, trainer, results, [])
    assert json.loads(run.metrics.read_text())["test/localization/gt_known_error"] == 1


def test_only_the_first_process_writes_and_all_wait_for_the_gallery(tmp_path: Path) -> None:
    waited: list[str] = []
    other: Any = SimpleNamespace(strategy=SimpleNamespace(barrier=waited.append), is_global_zero=False)
    conclude(config(), RunDirectory(tmp_path), other, {}, [])
    assert waited == ["gallery drawn"]
    assert list(tmp_path.iterdir()) == []


def test_without_boxes_there_is_nothing_to_miss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    conclude(config(), run, trainer, measured(trainer, data={"val_boxes": False, "test_boxes": False}), [])
    metrics = json.loads(run.metrics.read_text())
    assert metrics["test/classification/top1_error"] == 0
    assert not any("localization" in key for key in metrics)
    assert {path.name for path in run.report.iterdir()} == {"index.html"}
    assert not run.threshold_curve.exists()
    assert not run.per_image("test").exists()
    with run.predictions.open(newline="") as file:
        assert all(set(row) >= {"iou"} and not row["iou"] for row in csv.DictReader(file))
    assert "val_threshold was not measured: it needs true boxes" in capsys.readouterr().out


def test_each_protocol_keeps_its_outcomes_in_a_file_of_its_own(tmp_path: Path) -> None:
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    protocols = {
        "max_box_acc": MaxBoxAcc(0.5),
        "val_threshold": LocalizationError(num_thresholds=10),
        "paper": LocalizationError(cam_threshold=0.2, num_thresholds=10),
    }
    conclude(config(), run, trainer, measured(trainer, protocols), [])
    assert sorted(path.name for path in (tmp_path / "per_image").iterdir()) == [
        *("test.npz", "test_max_box_acc.npz", "test_paper.npz", "val.npz", "val_max_box_acc.npz", "val_paper.npz"),
    ]
    metrics = json.loads(run.metrics.read_text())
    assert metrics["test/localization/threshold_source"] == "val"
    assert metrics["test/localization/paper/threshold_source"] == "fixed"
    assert metrics["test/localization/max_box_acc_threshold_source"] == "oracle"
    assert {"test/localization/paper/top1_error_low", "test/localization/max_box_acc_v2_low"} <= metrics.keys()


def test_without_a_localization_error_there_is_no_curve(tmp_path: Path) -> None:
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    conclude(config(), run, trainer, measured(trainer, {"max_box_acc": MaxBoxAcc(0.5)}), [])
    assert not run.threshold_curve.exists()
    assert not run.per_image("test").exists()
    assert run.per_image("test", "max_box_acc").exists()


class Area(Protocol):
    """Mean area of the boxes at half of the maximum."""

    cam_thresholds = (0.5,)

    def __init__(self) -> None:
        super().__init__()
        self.total: Tensor
        self.num: Tensor
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("num", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def rows(self) -> Sequence[Row]:
        return [Row("area", "mean area", "min")]

    def update(self, boxes: Tensor) -> Outcome:  # type: ignore[override] # torchmetrics returns nothing
        areas = area(boxes[:, 0])
        self.total += areas.sum()
        self.num += len(areas)
        return Outcome({"area": areas})

    def compute(self) -> dict[str, Tensor]:
        return {"area": self.total / self.num, "num_images": self.num}


def test_a_protocol_of_ones_own_may_be_what_people_are_shown(tmp_path: Path) -> None:
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    results = measured(trainer, {"area": Area(), "classification": ClassificationError()})
    conclude(config(), run, trainer, results, [])
    assert results["test"].protocols.shown == "area"
    assert json.loads(run.metrics.read_text())["test/localization/area"] == 48
    assert np.load(run.per_image("test", "area"))["area"].tolist() == [48, 48, 48]
    assert not run.per_image("test").exists()
    with run.predictions.open(newline="") as file:
        assert [row["x1"] for row in csv.DictReader(file)] == ["8"] * 3


def test_a_submission_has_the_devkits_labels(tmp_path: Path) -> None:
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    module = SQUARES["module"](num_ranked=2, box_ranked=True)
    data = SQUARES["WithDevkitIds"](test_boxes=False)
    data.use_input_size(8)
    conclude(config(), run, trainer, measure(trainer, module, data), [])
    # A line for each image in the split's order, without any true box too.
    assert run.submission.read_text() == "900 0 1 7 6 7 0 0 0 0\n7 0 1 7 6 900 0 0 0 0\n900 0 1 7 6 7 0 0 0 0\n"


def test_a_part_of_a_split_is_never_taken_for_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    trainer.limit_test_batches = 1  # of two images
    conclude(config(), run, trainer, measured(trainer), [])
    metrics = json.loads(run.metrics.read_text())
    counts = ("num_images", "num_images_in_split")
    assert [metrics[f"test/{count}"] for count in counts] == [2, 3]
    assert [metrics[f"val/{count}"] for count in counts] == [2, 2]
    assert {row.key.partition("/")[0]: row.part for row in run.read_rows()} == {"val": "", "test": "2 of 3 images"}
    printed, page = capsys.readouterr().out, (run.report / "index.html").read_text()
    for text in (printed, page):
        assert "test, 2 of 3 images" in text
        assert "Only 2 of 3 images of test were measured" in text
        assert "val, 2 images" in text


def test_a_remark_stands_in_the_notes_and_its_numbers_refer_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run, trainer = RunDirectory(tmp_path), SQUARES["trainer"]()
    conclude(config(), run, trainer, measured(trainer), [])  # no image of test is localized at val's threshold
    printed, page = capsys.readouterr().out, (run.report / "index.html").read_text()
    for text in (printed, page):
        assert "No image of test is localized, by top-1 localization error; " in text
        assert "GT-known localization error (see notes)" in text
        assert "top-1 classification error (see notes)" not in text

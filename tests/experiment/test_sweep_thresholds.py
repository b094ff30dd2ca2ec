"""Two thresholds from one evaluation of three images, counted by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from camloc.experiment.run_directory import ReportedRow, RunDirectory, read_json
from camloc.experiment.sweep import thresholds
from camloc.experiment.sweep.thresholds import IMAGE, write_jobs
from camloc.metrics.functional.per_image import PerImage

# IoU 0.5 is reached by images a and b at 0.1, by b alone at 0.2; b is right, c is among the first five, a is not.
IOU = np.array([[0.5, 0.2], [0.9, 0.6], [0.1, 0.1]])
RANK = np.array([7, 0, 3])
ROWS = [
    ReportedRow("test/localization/gt_known_error", "GT-known localization error", "min", "val"),
    ReportedRow("test/localization/pxap", "PxAP", "max", "oracle"),
]


def evaluation(folder: Path, splits: tuple[str, ...] = ("val", "test"), rank: np.ndarray | None = RANK) -> RunDirectory:
    run = RunDirectory(folder / "evaluation")
    run.path.mkdir(parents=True)
    swept = {"cam_threshold": None, "more_thresholds": [0.1, 0.2]}
    protocols = {"val_threshold": dict(swept), "pxap": {"cam_curve_interval": 0.01}, "centred_box": None}
    localization = {"iou_threshold": 0.5, **swept, "protocols": protocols}
    run.write_config(OmegaConf.create({"localization": localization}))
    run.write_metrics(
        {
            "test/localization/cam_threshold": 0.1,
            "test/localization/threshold_source": "val",
            "test/localization/pxap": 0.75,
            "test/classification/top1_error": 2 / 3,
        }
    )
    run.write_rows(ROWS)
    for split in splits:
        per_image = PerImage(np.array(["a", "b", "c"]), np.array([0, 1, 2]), rank, IOU, np.array([0.1, 0.2]))
        per_image.save(run.per_image(split))
    run.write_status("completed")
    return run


def test_every_threshold_gets_the_errors_at_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = evaluation(tmp_path)
    jobs = {0.2: tmp_path / "1", 0.1: tmp_path / "0"}
    write_jobs(shared.path, jobs)
    assert str(tmp_path / IMAGE) in capsys.readouterr().out
    assert (tmp_path / IMAGE).is_file()
    for threshold, hits in ((0.1, (2, 1, 1)), (0.2, (1, 1, 1))):
        run = RunDirectory(jobs[threshold])
        metrics = read_json(run.metrics)
        for split in ("val", "test"):
            for condition, count in zip(("gt_known", "top1", "top5"), hits, strict=True):
                key = f"{split}/localization/{condition}"
                assert metrics[f"{key}_hits"] == count
                assert metrics[f"{key}_error"] == pytest.approx(1 - count / 3)
                assert metrics[f"{key}_error_low"] <= metrics[f"{key}_error"] <= metrics[f"{key}_error_high"]
            assert metrics[f"{split}/localization/cam_threshold"] == threshold
            assert metrics[f"{split}/localization/threshold_source"] == "fixed"
        assert metrics["test/localization/pxap"] == 0.75
        assert metrics["test/classification/top1_error"] == 2 / 3
        assert [row.threshold_source for row in run.read_rows()] == ["fixed", "oracle"]
        config = OmegaConf.load(run.config)
        assert (config.localization.cam_threshold, config.localization.more_thresholds) == (threshold, [])
        assert config.localization.protocols == {
            "val_threshold": {"cam_threshold": threshold, "more_thresholds": []},
            "pxap": {"cam_curve_interval": 0.01},
            "centred_box": None,
        }
        assert run.read_status().status == "completed"


def test_the_image_shows_the_whole_curve_with_the_jobs_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, ...]] = []
    monkeypatch.setattr(thresholds, "threshold_curve", lambda *given: drawn.append(given))
    write_jobs(evaluation(tmp_path, ("test",)).path, {0.2: tmp_path / "0"})
    (measured, curves, chosen, source, image, jobs) = drawn[0]
    assert (measured, chosen, source, image, jobs) == ([0.1, 0.2], 0.1, "val", tmp_path / IMAGE, [0.2])
    assert curves == {
        "GT-known, test": pytest.approx([1 / 3, 2 / 3]),
        "top-1 localization, test": pytest.approx([2 / 3, 2 / 3]),
        "top-5 localization, test": pytest.approx([2 / 3, 2 / 3]),
    }


def test_a_directory_that_held_an_earlier_job_keeps_nothing_of_it(tmp_path: Path) -> None:
    shared = evaluation(tmp_path)
    earlier = RunDirectory(tmp_path / "0")
    earlier.path.mkdir()
    earlier.predictions.touch()
    (earlier.path / "job.json").touch()
    write_jobs(shared.path, {0.1: earlier.path})
    assert not earlier.predictions.exists()
    assert (earlier.path / "job.json").exists()


def test_without_boxes_on_val_or_a_classifier_there_are_only_the_errors_that_can_be_counted(tmp_path: Path) -> None:
    shared = evaluation(tmp_path, ("test",), rank=None)
    write_jobs(shared.path, {0.2: tmp_path / "0"})
    metrics = read_json(RunDirectory(tmp_path / "0").metrics)
    assert metrics["test/localization/gt_known_hits"] == 1
    assert not any(key.startswith(("val/localization/", "test/localization/top")) for key in metrics)

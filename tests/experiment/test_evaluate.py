"""Evaluations from the first line to the run directory; each source of predictions gives the same numbers."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from camloc.experiment.evaluate import evaluate
from camloc.experiment.run_directory import RunDirectory
from camloc.report.compare import compare
from camloc.report.measured_run import read_run

HERE = Path(__file__).parent
SQUARES = run_path(str(HERE / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]
OUTCOMES = ("gt_known_hits", "top1_hits", "top5_hits", "num_images", "cam_threshold")


@pytest.fixture(autouse=True)
def _squares_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def evaluated(folder: Path, given: DictConfig) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    run = RunDirectory(folder)
    evaluate(given, run)
    metrics: dict[str, Any] = json.loads(run.metrics.read_text())
    return metrics


def with_ilsvrc(given: DictConfig) -> DictConfig:
    given.localization.protocols.ilsvrc = {"_target_": "camloc.metrics.ilsvrc_error.IlsvrcError"}
    given.localization.submission = True
    return given


def test_a_checkpoint_its_saved_maps_and_its_submission_give_the_same_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = SQUARES["write_checkpoint"](tmp_path / "best.ckpt")
    exported = tmp_path / "maps"
    given = config(checkpoint=str(file), threshold_from="val", save_score_maps=True, export_score_maps=str(exported))
    first = evaluated(tmp_path / "first", with_ilsvrc(given))
    # The threshold that val chooses goes before the checkpoint's; at it all boxes of test are those of the halo.
    assert first["test/localization/cam_threshold"] == 0.7
    assert first["test/localization/threshold_source"] == "val"
    assert first["val/localization/threshold_source"] == "oracle"
    assert first["test/localization/gt_known_error"] == 1
    assert first["test/localization/gt_known_error_at_best"] == 0
    assert first["test/classification/top1_error"] == 0
    assert first["test/localization/ilsvrc_top1_error"] == 1
    # Labels count from 1, pixels are inclusive, and a class without a box has one pixel.
    submission = tmp_path / "first" / "submission.txt"
    assert submission.read_text() == "1 0 1 7 6 2 0 0 0 0\n2 0 1 7 6 1 0 0 0 0\n1 0 1 7 6 2 0 0 0 0\n"
    assert len(list((tmp_path / "first" / "report" / "gallery").glob("*.png"))) == 2
    assert OmegaConf.load(tmp_path / "first" / "config.yaml").checkpoint == str(file)
    assert "Report: " in capsys.readouterr().out

    saved = config(score_maps=str(tmp_path / "first" / "score_maps.npz"), datamodule=None, backbone=None)
    again = evaluated(tmp_path / "again", with_ilsvrc(saved))
    assert again == first
    assert (tmp_path / "again" / "submission.txt").read_text() == submission.read_text()
    assert not (tmp_path / "again" / "report" / "gallery").exists()

    submitted = evaluated(tmp_path / "submitted", with_ilsvrc(config(submission=str(submission))))
    for k in (1, 5):
        assert submitted[f"test/localization/ilsvrc_top{k}_hits"] == first[f"test/localization/ilsvrc_top{k}_hits"]
    assert not any(key.startswith("val/") for key in submitted)
    # Nobody knows at which threshold the boxes of a file were made.
    reported = {row.key: row.threshold_source for row in RunDirectory(tmp_path / "submitted").read_rows()}
    assert reported["test/localization/ilsvrc_top5_error"] == ""
    assert sorted(path.name for path in exported.iterdir()) == ["test0.png.npy", "test1.png.npy", "test2.png.npy"]
    assert np.load(exported / "test0.png.npy").max() == 1


def test_the_checkpoints_threshold_reports_test_alone(tmp_path: Path) -> None:
    file = SQUARES["write_checkpoint"](tmp_path / "best.ckpt", threshold=(0.8, "val"))
    found = evaluated(tmp_path / "run", config(checkpoint=str(file), threshold_from="checkpoint"))
    assert not any(key.startswith("val/") for key in found)
    assert found["test/localization/cam_threshold"] == 0.8
    assert found["test/localization/threshold_source"] == "val"
    assert found["test/localization/gt_known_error"] == 0
    assert not (tmp_path / "run" / "submission.txt").exists()


def test_ready_made_maps_are_measured_without_classifier_and_images(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for index in range(3):
        shown = np.zeros((8, 8), np.float32)
        shown[1:7, 0:8] = 0.1
        shown[2:6, 1:5] = 1
        np.save(maps / f"test{index}.png.npy", shown.repeat(28, axis=0).repeat(28, axis=1))
    given = config(score_maps=str(maps), score_map=None)
    given.localization.submission = True  # for those who can; maps of the true classes alone are no five predictions
    found = evaluated(tmp_path / "run", given)
    assert found["test/localization/gt_known_error"] == 0
    assert found["test/localization/cam_threshold"] == 0.2
    assert found["test/localization/threshold_source"] == "fixed"
    assert not any("classification" in key or "top1" in key for key in found)
    assert not (tmp_path / "run" / "submission.txt").exists()


def with_rule(given: DictConfig, rule: str) -> DictConfig:
    given.box_rule = {"_target_": f"camloc.localization.{rule}", "_partial_": True}
    return with_ilsvrc(given)


def test_a_box_rule_without_thresholds_reports_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = SQUARES["write_checkpoint"](tmp_path / "best.ckpt", threshold=None)
    given = config(checkpoint=str(file), threshold_from="checkpoint")
    found = evaluated(tmp_path / "run", with_rule(given, "released_boxes.released_boxes"))
    assert not any("threshold" in key or "best" in key or "curve" in key for key in found)
    assert found["test/localization/gt_known_error"] == found["test/localization/ilsvrc_top5_error"] == 1  # the halo's
    said = capsys.readouterr().out
    assert "The CAM threshold" not in said
    with (tmp_path / "run" / "predictions.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [(row["x0"], row["y0"], row["x1"], row["y1"]) for row in rows] == [("0", "1", "8", "7")] * 3
    assert {(row["best_iou"], row["best_cam_threshold"]) for row in rows} == {("", "")}
    assert float(rows[0]["iou"]) == pytest.approx(1 / 3)
    assert not (tmp_path / "run" / "threshold_curve.csv").exists()
    assert (tmp_path / "run" / "submission.txt").read_text().startswith("1 0 1 7 6 ")
    assert {row["threshold_source"] for row in json.loads((tmp_path / "run" / "rows.json").read_text())} == {""}

    compared = read_run(tmp_path / "run")
    assert compared.label.endswith("(no CAM threshold)")
    assert all(row.difference.value == 0 for row in compare(compared, compared))
    assert len(compared.outcomes) == 6

    saving = config(checkpoint=str(file), threshold_from="val", save_score_maps=True)
    evaluated(tmp_path / "saving", saving)
    saved = config(score_maps=str(tmp_path / "saving" / "score_maps.npz"), datamodule=None, backbone=None)
    again = evaluated(tmp_path / "again", with_rule(saved, "released_boxes.released_boxes"))
    assert {key: again[key] for key in found} == found


def test_a_box_rule_that_reads_images_needs_a_checkpoint(tmp_path: Path) -> None:
    file = SQUARES["write_checkpoint"](tmp_path / "best.ckpt")
    given = config(checkpoint=str(file), threshold_from="val", save_score_maps=True)
    found = evaluated(tmp_path / "run", with_rule(given, "graph_cut.graph_cut_boxes"))
    assert 0 <= found["test/localization/gt_known_error"] <= 1
    assert "test/localization/cam_threshold" not in found
    saved = config(score_maps=str(tmp_path / "run" / "score_maps.npz"), datamodule=None, backbone=None)
    with pytest.raises(ValueError, match="graph_cut_boxes needs images, which these predictions come without"):
        evaluated(tmp_path / "again", with_rule(saved, "graph_cut.graph_cut_boxes"))


@pytest.mark.parametrize(("name", "value"), [("cam_threshold", 0.2), ("more_thresholds", [0.3])])
def test_a_threshold_for_a_rule_without_any_is_refused(tmp_path: Path, name: str, value: object) -> None:
    file = SQUARES["write_checkpoint"](tmp_path / "best.ckpt")
    given = with_rule(config(checkpoint=str(file), threshold_from="val"), "released_boxes.released_boxes")
    given.localization[name] = value
    with pytest.raises(ValueError, match=rf"localization.{name}=.* has no effect: .*cuts at no CAM threshold"):
        evaluated(tmp_path / "run", given)


def test_ten_crops_are_cut_out_of_larger_images_and_measured_there(tmp_path: Path) -> None:
    file = SQUARES["write_checkpoint"](tmp_path / "best.ckpt")
    given = config(checkpoint=str(file), threshold_from="val", save_score_maps=True)
    given.views = {"_target_": "camloc.attribution.ten_crop.TenCrop", "_partial_": True, "crop_share": 0.8}
    found = evaluated(tmp_path / "run", given)
    with np.load(tmp_path / "run" / "score_maps.npz") as kept:
        assert kept["map_size"].tolist() == [10, 10]  # crops of the network's 8 pixels
        assert kept["test/cam"].shape[1:] == (10, 10)
    assert found["test/localization/gt_known_error_at_best"] < 1

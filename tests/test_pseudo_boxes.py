"""A training whose checkpoint and threshold are chosen on pseudo boxes says so wherever its numbers go."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_record import run_record


@pytest.mark.integration
def test_a_training_without_any_box(
    entry: Callable[..., CompletedProcess[str]], small: tuple[str, ...], tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "a")
    pseudo = "datamodule.pseudo_boxes=border_contrast"
    trained = entry("train.py", *small, pseudo, f"hydra.run.dir={run.path}")
    assert trained.returncode == 0, trained.stderr
    assert "the boxes of val are pseudo boxes (border_contrast), made without people" in trained.stdout
    metrics = json.loads(run.metrics.read_text())
    sources = {key: value for key, value in metrics.items() if key.endswith("threshold_source")}
    assert sources == {"val/localization/threshold_source": "pseudo", "test/localization/threshold_source": "pseudo"}
    assert {row.threshold_source for row in run.read_rows() if row.key.startswith("val/localization")} == {"pseudo"}
    assert run_record(run.best_checkpoint).threshold_source == "pseudo"
    cost = json.loads(run.cost.read_text())
    assert (cost["images"], cost["parameters"]) == (72, cost["trained_parameters"])

    again = RunDirectory(tmp_path / "b")
    options = ("trainer.accelerator=cpu", f"checkpoint={run.path}", "save_score_maps=true")
    assert entry("evaluate.py", *options, f"hydra.run.dir={again.path}").returncode == 0
    found = json.loads(again.metrics.read_text())
    assert found["test/localization/threshold_source"] == "pseudo"
    assert found["test/localization/gt_known_error"] == metrics["test/localization/gt_known_error"]

    saved = RunDirectory(tmp_path / "c")
    maps = ("trainer.accelerator=cpu", f"score_maps={again.score_maps}")
    assert entry("evaluate.py", *maps, f"hydra.run.dir={saved.path}").returncode == 0
    assert json.loads(saved.metrics.read_text())["test/localization/threshold_source"] == "pseudo"

    true = RunDirectory(tmp_path / "d")
    back = (*options[:2], "datamodule.pseudo_boxes=null")
    assert entry("evaluate.py", *back, f"hydra.run.dir={true.path}").returncode == 0
    found = json.loads(true.metrics.read_text())
    assert (found["val/localization/threshold_source"], found["test/localization/threshold_source"]) == (
        "oracle",
        "val",
    )

"""``train.py`` as its user meets it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

Entry = Callable[..., CompletedProcess[str]]
Here = Callable[..., Any]


def test_a_run_directory_holds_what_was_promised(trained: tuple[Path, str]) -> None:
    run, _ = trained
    for name in (
        "config.yaml",
        "metrics.csv",
        "threshold_curve.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "report/index.html",
        "report/threshold_curve.png",
        "report/training_curve.png",
        "report/gallery.png",
        "report/misses.png",
        "report/explorer/index.js",
        "report/explorer/chunk_0.js",
        "report/explorer/thumbnails/00000000.jpg",
        "predictions.csv",
        "per_image/val.npz",
        "per_image/test.npz",
    ):
        assert (run / name).stat().st_size > 0, name
    assert json.loads((run / "status.json").read_text()) == {"status": "completed", "error": None}
    assert len(list((run / "report" / "gallery").glob("*.png"))) == 3


def test_the_numbers_are_consistent_with_their_counts(trained: tuple[Path, str]) -> None:
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    assert metrics["test/localization/num_images"] == 20
    assert metrics["val/localization/num_images"] == 18
    for name in ("top1", "top5", "gt_known"):
        hits = metrics[f"test/localization/{name}_hits"]
        assert metrics[f"test/localization/{name}_error"] == pytest.approx(1 - hits / 20)
    top1, top5, gt_known = (metrics[f"test/localization/{name}_error"] for name in ("top1", "top5", "gt_known"))
    assert top1 >= top5 >= gt_known >= metrics["test/localization/gt_known_error_at_best"]
    assert metrics["test/localization/top1_error"] >= metrics["test/classification/top1_error"]


def test_every_error_has_its_interval(trained: tuple[Path, str]) -> None:
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    for name in ("classification/top1_error", "localization/top1_error", "localization/gt_known_error"):
        key = f"test/{name}"
        assert 0 <= metrics[f"{key}_low"] <= metrics[key] <= metrics[f"{key}_high"] <= 1


def test_the_threshold_is_chosen_on_val_and_said_to_be(trained: tuple[Path, str]) -> None:
    run, printed = trained
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test/localization/threshold_source"] == "val"
    assert metrics["val/localization/threshold_source"] == "oracle"
    assert metrics["test/localization/cam_threshold"] == metrics["val/localization/best_cam_threshold"]
    assert "least val/localization/top1_error" in printed
    assert "best centred box" in printed
    assert str(run / "report" / "index.html") in printed


def test_every_epoch_has_one_row(trained: tuple[Path, str]) -> None:
    with (trained[0] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(float(row["train/loss"]) > 0 and row["val/localization/top1_error"] for row in rows)


def test_the_best_checkpoint_is_the_epoch_with_the_least_monitor(trained: tuple[Path, str]) -> None:
    run, _ = trained
    with (run / "metrics.csv").open() as file:
        errors = [float(row["val/localization/top1_error"]) for row in csv.DictReader(file)]
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == max(epoch for epoch, error in enumerate(errors) if error == min(errors))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["val/localization/top1_error"] == pytest.approx(min(errors), abs=1e-6)


def test_checkpoints_hold_no_code_and_their_own_configuration(trained: tuple[Path, str]) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(trained[0] / "checkpoints" / name, weights_only=True)
        assert checkpoint["camloc_config"]["backbone"]["_target_"] == "camloc.backbones.alexnet.alexnet_gap"


def test_a_saved_configuration_runs_again_with_the_same_result(
    trained: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    run, _ = trained
    again = here("train", "--config-dir", str(run), "--config-name", "config", f"hydra.run.dir={tmp_path}")
    assert again.returncode == 0, again.stderr
    first, second = (torch.load(d / "checkpoints" / "last.ckpt", weights_only=True) for d in (run, tmp_path))
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())
    assert (run / "metrics.json").read_text() == (tmp_path / "metrics.json").read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.devices=8", "backbone=vgg_gap"], "asks for 8 GPUs"),
        (["datamodule=tiny_imagenet", "datamodule.root=/nowhere"], "datamodule.root=/nowhere has no wnids.txt"),
        (["backbone.weights=/nowhere.pth", "backbone.batch_norm=false"], "/nowhere.pth"),
        (["monitor=val/top1"], "monitor=val/top1 is no error, accuracy or loss measured on val"),
        (["localization.cam_threshold=20"], "localization.cam_threshold=20 must be a number of at least 0 and below 1"),
        (["optimizer.learning_rate=1"], "learning_rate"),
        (["backbone=resnet"], "backbone has no option resnet; did you mean resnet50_gap? It has alexnet, alexnet_gap"),
        (["datamodule.batch_size=0"], "datamodule.batch_size=0 must be a whole number of at least 1"),
    ],
)
@pytest.mark.skipif(torch.cuda.device_count() >= 8, reason="this machine has the eight GPUs that must be missing")
def test_bad_input_is_one_clear_error_without_a_traceback(
    overrides: list[str], message: str, here: Here, small: tuple[str, ...], tmp_path: Path
) -> None:
    # Without small's trainer: eight processes on the CPU would be started.
    size = [o for o in small if o.startswith("datamodule") and not any("datamodule" in given for given in overrides)]
    failed = here("train", *size, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    status = tmp_path / "run" / "status.json"
    if status.exists():  # composed, and failed in the run
        assert failed.stderr.count("error:") == 1
        assert json.loads(status.read_text())["status"] == "failed"
        assert message in json.loads(status.read_text())["error"]
        assert "Traceback" in (tmp_path / "run" / "traceback.txt").read_text()


@pytest.mark.slow
def test_what_pays_on_gpus_ends_in_a_checkpoint_like_any_other(
    entry: Entry, small: tuple[str, ...], trained: tuple[Path, str], tmp_path: Path
) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    on_cpu = ("trainer=gpu", "trainer.accelerator=cpu")
    finished = entry("train.py", *on_cpu, *small, "compile=true", "trainer.max_epochs=1", f"hydra.run.dir={run}")
    assert finished.returncode == 0, finished.stderr
    states = [
        torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for directory in (run, trained[0])
    ]
    assert states[0].keys() == states[1].keys()
    finished = entry("evaluate.py", f"checkpoint={run}", *on_cpu, f"hydra.run.dir={again}")  # which does not compile
    assert finished.returncode == 0, finished.stderr
    assert (run / "metrics.json").read_text() == (again / "metrics.json").read_text()


@pytest.mark.slow
def test_compiling_without_a_compiler_is_one_clear_error(
    entry: Entry, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "nothing_compiled_before"))
    failed = entry("train.py", *small, "compile=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert failed.returncode == 1
    assert "error: compile=true needs a C++ compiler" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "run" / "metrics.csv").exists()  # before the first step

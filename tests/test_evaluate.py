"""``evaluate.py`` as its user meets it."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from camloc.metrics.functional.per_image import PerImage, error

Here = Callable[..., Any]


def predictions(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def metrics(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return loaded


def test_a_run_evaluates_to_the_same_numbers_again(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    finished = here("evaluate", f"checkpoint={trained[0]}", "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}")
    assert finished.returncode == 0, finished.stderr
    assert metrics(tmp_path) == metrics(trained[0])
    assert (tmp_path / "predictions.csv").read_text() == (trained[0] / "predictions.csv").read_text()


def test_predictions_recount_to_the_reported_errors(trained: tuple[Path, str]) -> None:
    run, _ = trained
    expected, rows = metrics(run), predictions(run)
    assert len(rows) == 20
    hits = [float(row["iou"]) >= 0.5 for row in rows]
    ranks = [int(row["rank"]) for row in rows]
    assert sum(hits) == expected["test/localization/gt_known_hits"]
    assert (
        sum(hit and rank < 1 for hit, rank in zip(hits, ranks, strict=True)) == expected["test/localization/top1_hits"]
    )
    assert sum(rank > 0 for rank in ranks) / 20 == pytest.approx(expected["test/classification/top1_error"])
    assert sum(row["cause"] == "hit" for row in rows) == expected["test/localization/top1_hits"]
    for row, hit, rank in zip(rows, hits, ranks, strict=True):
        assert (row["cause"] == "hit") == (hit and rank == 0)
        assert (row["cause"] == "wrong class") == (hit and rank > 0)
        assert 0 < float(row["object_share"]) <= 1
    for row, rank in zip(rows, ranks, strict=True):
        assert float(row["best_iou"]) >= float(row["iou"])
        top5 = [row[f"prediction_{place}"] for place in range(1, 6)]
        assert all(top5)
        assert (top5[rank] == row["true_class"]) if rank < 5 else (row["true_class"] not in top5)
    for split in ("val", "test"):
        kept = PerImage.load(run / "per_image" / f"{split}.npz")
        at = kept.threshold_index(expected[f"{split}/localization/cam_threshold"])
        for condition in ("gt_known", "top1", "top5"):
            assert error(kept, condition, at, 0.5) == pytest.approx(expected[f"{split}/localization/{condition}_error"])


def test_parts_and_values_of_the_run_can_be_replaced(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    finished = here(
        "evaluate",
        f"checkpoint={trained[0]}",
        "localization=paper",
        "localization.cam_threshold=0.35",
        "datamodule.num_test=9",
        "trainer.accelerator=cpu",
        f"hydra.run.dir={tmp_path}",
    )
    assert finished.returncode == 0, finished.stderr
    found = metrics(tmp_path)
    assert found["test/localization/cam_threshold"] == 0.35
    assert found["test/localization/threshold_source"] == "fixed"
    assert found["test/localization/num_images"] == 9


@pytest.mark.parametrize(
    ("argument", "message"),
    [("checkpoint=/nowhere", "give a run directory or a checkpoint file"), ("seed=1", "say what to evaluate")],
)
def test_nothing_to_evaluate_is_one_clear_error(argument: str, message: str, here: Here, tmp_path: Path) -> None:
    failed = here("evaluate", argument, f"hydra.run.dir={tmp_path}")
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr


def test_a_file_alone_evaluates_at_its_own_threshold_without_val(
    trained: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    file = shutil.copy(trained[0] / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    finished = here(
        "evaluate",
        f"checkpoint={file}",
        "threshold_from=checkpoint",
        "trainer.accelerator=cpu",
        "callbacks.gallery=null",
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    assert finished.returncode == 0, finished.stderr
    expected, found = metrics(trained[0]), metrics(tmp_path / "run")
    assert found["test/localization/threshold_source"] == "val"
    assert not any(key.startswith("val/") for key in found)
    for key in ("cam_threshold", "gt_known_hits", "top1_hits", "top5_hits"):
        assert found[f"test/localization/{key}"] == expected[f"test/localization/{key}"]


def test_protocols_at_once_keep_their_own_thresholds_and_normalizations(
    trained: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    common = (f"checkpoint={trained[0]}", "trainer.accelerator=cpu", "callbacks.gallery=null")
    for name, localization in (("both", "[val_threshold,paper]"), ("val", "val_threshold"), ("paper", "paper")):
        finished = here("evaluate", *common, f"localization={localization}", f"hydra.run.dir={tmp_path / name}")
        assert finished.returncode == 0, finished.stderr
    both, val, paper = (metrics(tmp_path / name) for name in ("both", "val", "paper"))
    own = [key for key in paper if key.startswith("test/localization/") and "centred_box" not in key]
    assert {key: both[key] for key in val} == val
    assert {key: both[key.replace("localization/", "localization/paper/")] for key in own} == {k: paper[k] for k in own}
    assert both["test/localization/paper/cam_threshold"] == 0.2
    assert both["test/localization/paper/threshold_source"] == "fixed"
    # Its own normalization, without score_map=max on the command line.
    assert "normalization: max" in (tmp_path / "paper" / "config.yaml").read_text()


def test_a_completed_run_is_replaced_only_on_request(trained: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    arguments = (
        f"checkpoint={trained[0]}",
        "trainer.accelerator=cpu",
        "callbacks.gallery=null",
        "datamodule.num_test=9",
    )
    assert here("evaluate", *arguments, f"hydra.run.dir={tmp_path}").returncode == 0
    (tmp_path / "notes.txt").touch()
    (tmp_path / "submission.txt").touch()  # as an earlier run might have left it
    refused = here("evaluate", *arguments, f"hydra.run.dir={tmp_path}")
    assert refused.returncode == 1
    assert "holds a completed run; choose another hydra.run.dir=, or overwrite=true" in refused.stderr
    assert here("evaluate", *arguments, "overwrite=true", f"hydra.run.dir={tmp_path}").returncode == 0
    assert (tmp_path / "notes.txt").exists()
    assert not (tmp_path / "submission.txt").exists()

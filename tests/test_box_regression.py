"""Full supervision as its user meets it: trained, resumed, evaluated and compared, and marked wherever it stands."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from camloc.experiment.build import trains_with_boxes
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.run_record import run_record
from camloc.report.compare import main as compare

Entry = Callable[..., Any]
Here = Callable[..., Any]
SharedOnce = Callable[[str, Callable[[Path], None]], Path]
SIZE = (
    *("objective=box_regression", "datamodule.num_train=90", "datamodule.num_val=27", "datamodule.num_test=36"),
    *(
        "datamodule.image_size=64",
        "datamodule.input_size=64",
        "datamodule.batch_size=9",
        "datamodule.crop_area=[0.8,1]",
    ),
    *("trainer.accelerator=cpu", "callbacks.gallery.count=3", "scheduler=constant"),
    "localization=[val_threshold,ilsvrc]",
)


@pytest.fixture
def boxed(here: Here, shared_once: SharedOnce) -> tuple[Path, str]:
    """A finished training with boxes, and what it printed."""

    def train(run: Path) -> None:
        finished = here("train", *SIZE, "trainer.max_epochs=4", f"hydra.run.dir={run}")
        assert finished.returncode == 0, finished.stderr
        run.with_name("boxed_printed").write_text(finished.stdout)

    run = shared_once("boxed", train)
    return run, run.with_name("boxed_printed").read_text()


def metrics_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


def test_no_other_objective_asks_for_boxes() -> None:
    files = sorted((configuration_directory() / "objective").glob("*.yaml"))
    with initialize_config_dir(str(configuration_directory()), version_base=None):
        composed = {file.stem: compose("train", [f"objective={file.stem}"]) for file in files}
    assert len(files) > 1
    assert [name for name, config in composed.items() if trains_with_boxes(config)] == ["box_regression"]


def test_it_learns_where_the_objects_are(boxed: tuple[Path, str]) -> None:
    with (boxed[0] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss/box"]) for row in rows]
    errors = [float(row["val/localization/gt_known_error"]) for row in rows]
    assert losses[-1] < 0.8 * losses[0]
    assert min(errors[1:]) < errors[0]


def test_every_table_says_that_it_was_trained_with_boxes(boxed: tuple[Path, str]) -> None:
    run, printed = boxed
    metrics = metrics_of(run)
    for split in ("val", "test"):
        assert metrics[f"{split}/supervision"] == "trained with boxes"
        heading = next(line for line in printed.splitlines() if line.strip().startswith(f"{split}, "))
        assert "trained with boxes" in heading
    assert {row["supervision"] for row in json.loads((run / "rows.json").read_text())} == {"trained with boxes"}
    page = (run / "report" / "index.html").read_text()
    assert "localization trained with boxes</h1>" in page
    assert "test, 36 images, trained with boxes" in page
    assert "from image labels" not in page
    assert "heatmap of its true class" not in page
    assert run_record(run / "checkpoints" / "best.ckpt").trained_with_boxes


def test_a_prediction_with_it_has_no_parts_of_maps(boxed: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    options = (f"checkpoint={boxed[0]}", "source=test", "device=cpu", "save=[]", f"hydra.run.dir={tmp_path}")
    for part in ("attribution=grad_cam", "views=flip", "score_map=max", "box_rule=released"):
        refused = here("predict", *options, part)
        assert refused.returncode == 1
        assert f"predicts boxes itself; there are no maps, so leave out {part.partition('=')[0]} (" in refused.stderr
    finished = here("predict", *options, "num_workers=0")
    assert finished.returncode == 0, finished.stderr


def test_its_numbers_have_no_cam_threshold(boxed: tuple[Path, str]) -> None:
    run, printed = boxed
    assert not [
        key for key in metrics_of(run) if "cam_threshold" in key or "threshold_source" in key or "at_best" in key
    ]
    assert not (run / "threshold_curve.csv").exists()
    assert "best threshold" not in printed
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    assert all(row["iou"] and not row["best_iou"] and not row["best_cam_threshold"] for row in rows)
    hits = sum(float(row["iou"]) >= 0.5 for row in rows)
    assert metrics_of(run)["test/localization/gt_known_hits"] == hits
    with np.load(run / "per_image" / "test.npz") as kept:
        assert not len(kept["cam_thresholds"])
        assert kept["iou"].shape == (36, 1)


def test_a_checkpoint_gives_the_same_numbers_also_by_other_protocols_and_as_a_submission(
    boxed: tuple[Path, str], here: Here, tmp_path: Path
) -> None:
    run, again = boxed[0], tmp_path / "again"
    evaluated = here(
        "evaluate", f"checkpoint={run}", "localization=[val_threshold,ilsvrc,paper]", f"hydra.run.dir={again}"
    )
    assert evaluated.returncode == 0, evaluated.stderr
    first, second = metrics_of(run), metrics_of(again)
    assert {key: second[key] for key in first} == first
    assert second["test/localization/paper/gt_known_error"] == first["test/localization/gt_known_error"]
    assert not [key for key in second if "cam_threshold" in key or "threshold_source" in key]
    source = {row["threshold_source"] for row in json.loads((again / "rows.json").read_text())}
    assert source <= {"", "oracle"}  # the best centred box's scale
    # The file of its predictions, measured as anyone's would be.
    submitted = here(
        *("evaluate", f"submission={again / 'submission.txt'}", "localization=ilsvrc", "datamodule=textures"),
        *(one for one in SIZE if one.startswith(("datamodule.num_", "datamodule.image_size"))),
        f"hydra.run.dir={tmp_path / 'submitted'}",
    )
    assert submitted.returncode == 0, submitted.stderr
    for key in ("ilsvrc_top1_error", "ilsvrc_top5_error", "ilsvrc_top5_classification_error"):
        assert metrics_of(tmp_path / "submitted")[f"test/localization/{key}"] == second[f"test/localization/{key}"]


def test_it_is_compared_and_named_for_what_it_is(boxed: tuple[Path, str], capfd: pytest.CaptureFixture[str]) -> None:
    assert compare([str(boxed[0]), str(boxed[0])]) == 0
    printed = capfd.readouterr().out
    assert printed.count("(trained with boxes, no CAM threshold)") == 2
    assert printed.count("not significant") == 6


@pytest.mark.integration
def test_a_resumed_training_ends_with_the_same_weights(boxed: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    started = (*SIZE, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}")
    for options in (started, (f"resume={tmp_path}", "trainer.max_epochs=4")):
        finished = here("train", *options)
        assert finished.returncode == 0, finished.stderr
    whole, resumed = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (boxed[0], tmp_path))
    assert whole["state_dict"].keys() == resumed["state_dict"].keys()
    assert all(torch.equal(value, resumed["state_dict"][name]) for name, value in whole["state_dict"].items())


@pytest.mark.integration
def test_two_processes_train_resume_and_measure_as_one_measures(entry: Entry, here: Here, tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    started = (*SIZE, "datamodule.num_test=35", "trainer.devices=2", "trainer.max_epochs=1", f"hydra.run.dir={two}")
    for options in (started, (f"resume={two}", "trainer.max_epochs=2")):
        trained = entry("train.py", *options)
        assert trained.returncode == 0, trained.stderr
    evaluated = here("evaluate", f"checkpoint={two}", "trainer.devices=1", f"hydra.run.dir={one}")
    assert evaluated.returncode == 0, evaluated.stderr
    expected, found = metrics_of(one), metrics_of(two)
    assert found.pop("val/loss") == pytest.approx(expected["val/loss"])
    assert found == {key: expected[key] for key in found}
    assert found["test/supervision"] == "trained with boxes"
    assert (two / "predictions.csv").read_text() == (one / "predictions.csv").read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["localization.cam_threshold=0.2"],
        ["save_score_maps=true"],
        ["export_score_maps=maps"],
        ["attribution=grad_cam", "views=flip", "score_map=max"],
    ],
)
def test_what_needs_a_map_is_refused(options: list[str], boxed: tuple[Path, str], here: Here, tmp_path: Path) -> None:
    refused = here("evaluate", f"checkpoint={boxed[0]}", *options, f"hydra.run.dir={tmp_path}")
    assert refused.returncode == 1
    assert f"leave out {', '.join(option.partition('=')[0] for option in options)} (run" in refused.stderr
    assert "was trained with boxes" in refused.stderr


def test_images_without_boxes_cannot_be_trained_on_so(here: Here, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for index in range(2):
                pixels = np.random.default_rng([index, len(split), len(name), ord(name[0])]).integers(
                    0, 255, (40, 40, 3)
                )
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{split}{index}.png")
    refused = here(
        *("train", "objective=box_regression", "datamodule=folder", f"datamodule.root={tmp_path / 'data'}"),
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    assert refused.returncode == 1
    assert "train has no true boxes, and this objective trains on them" in refused.stderr

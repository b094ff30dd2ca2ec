"""Predictions saved once and measured again: the same numbers, under any protocol, on any number of processes."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest

from camloc.export.saved_maps import write_saved_maps
from camloc.predictors.saved_maps import SavedMaps

Entry = Callable[..., subprocess.CompletedProcess[str]]
Here = Callable[..., Any]
SharedOnce = Callable[[str, Callable[[Path], None]], Path]

NUMBERS = run_path(str(Path(__file__).with_name("run_numbers.py")))
metrics, assert_equal_but_for_the_loss = NUMBERS["metrics"], NUMBERS["assert_equal_but_for_the_loss"]
PROTOCOLS = "localization=[val_threshold,wsolevaluation,ilsvrc]"


@pytest.fixture
def saved(here: Here, trained: tuple[Path, str], shared_once: SharedOnce) -> Path:
    """An evaluation of the network that saved its maps, measured by every protocol."""

    def evaluate(run: Path) -> None:
        finished = here(
            "evaluate",
            f"checkpoint={trained[0]}",
            "save_score_maps=true",
            PROTOCOLS,
            "trainer.accelerator=cpu",
            f"hydra.run.dir={run}",
        )
        assert finished.returncode == 0, finished.stderr
        assert not (run / ".score_maps").exists()

    return shared_once("saved", evaluate)


def test_saved_maps_give_the_numbers_of_the_network(here: Here, saved: Path, tmp_path: Path) -> None:
    finished = here(
        "evaluate",
        f"score_maps={saved / 'score_maps.npz'}",
        PROTOCOLS,
        "trainer.accelerator=cpu",
        f"hydra.run.dir={tmp_path / 'again'}",
    )
    assert finished.returncode == 0, finished.stderr
    expected, found = metrics(saved), metrics(tmp_path / "again")
    assert_equal_but_for_the_loss(found, expected)
    for name in ("max_box_acc", "max_box_acc_v2", "pxap", "ilsvrc_top5_error", "gt_known_error"):
        assert 0 <= found[f"test/localization/{name}"] <= 1
    assert found["test/localization/max_box_acc_threshold_source"] == "oracle"
    for name in ("max_box_acc_50", "max_box_acc_v2", "pxap"):
        value = found[f"test/localization/{name}"]
        assert found[f"test/localization/{name}_low"] <= value <= found[f"test/localization/{name}_high"]
    again = (tmp_path / "again" / "predictions.csv").read_text()
    assert again == (saved / "predictions.csv").read_text()


def test_maps_of_test_alone_are_measured_where_no_threshold_is_chosen(here: Here, saved: Path, tmp_path: Path) -> None:
    with np.load(saved / "score_maps.npz") as file:
        kept = {name: file[name] for name in file.files if not name.startswith("val/")}
    write_saved_maps(tmp_path / "test.npz", kept)
    for name, maps in (("all", saved / "score_maps.npz"), ("test", tmp_path / "test.npz")):
        given = (f"score_maps={maps}", "localization=paper", "trainer.accelerator=cpu")
        finished = here("evaluate", *given, f"hydra.run.dir={tmp_path / name}")
        assert finished.returncode == 0, finished.stderr
    expected = {name: value for name, value in metrics(tmp_path / "all").items() if name.startswith("test/")}
    assert metrics(tmp_path / "test") == expected
    given = (f"score_maps={tmp_path / 'test.npz'}", "localization=val_threshold", "trainer.accelerator=cpu")
    refused = here("evaluate", *given, f"hydra.run.dir={tmp_path / 'refused'}")
    assert "test.npz holds maps of test alone, and a CAM threshold is to be chosen on val" in refused.stderr


@pytest.mark.integration
def test_a_moved_checkpoint_and_its_maps_are_measured_alike_by_any_number_of_processes(
    entry: Entry, trained: tuple[Path, str], saved: Path, tmp_path: Path
) -> None:
    file = shutil.copy(trained[0] / "checkpoints" / "best.ckpt", tmp_path / "moved.ckpt")
    three, two = tmp_path / "three", tmp_path / "two"
    common = (PROTOCOLS, "trainer.accelerator=cpu")
    written = entry(
        "evaluate.py",
        f"checkpoint={file}",
        "save_score_maps=true",
        "callbacks.gallery.count=3",
        *common,
        "trainer.devices=3",
        f"hydra.run.dir={three}",
    )
    assert written.returncode == 0, written.stderr
    source = f"score_maps={three / 'score_maps.npz'}"
    measured = entry("evaluate.py", source, *common, "trainer.devices=2", f"hydra.run.dir={two}")
    assert measured.returncode == 0, measured.stderr
    for run in (three, two):
        assert_equal_but_for_the_loss(metrics(run), metrics(saved))
        assert (run / "predictions.csv").read_text() == (saved / "predictions.csv").read_text()
    assert (three / "submission.txt").read_text() == (saved / "submission.txt").read_text()
    assert len(list((three / "report" / "gallery").glob("*.png"))) == 3


def test_another_threshold_and_another_normalization_need_no_network(
    here: Here, trained: tuple[Path, str], saved: Path, tmp_path: Path
) -> None:
    changed = ("localization.cam_threshold=0.3", "score_map=max", "localization=[val_threshold,paper]")
    for name, source in (("network", f"checkpoint={trained[0]}"), ("maps", f"score_maps={saved / 'score_maps.npz'}")):
        finished = here("evaluate", source, *changed, "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path / name}")
        assert finished.returncode == 0, finished.stderr
    expected, found = metrics(tmp_path / "network"), metrics(tmp_path / "maps")
    assert_equal_but_for_the_loss(found, expected)
    assert found["test/localization/cam_threshold"] == 0.3
    assert found["test/localization/threshold_source"] == "fixed"


def test_the_file_says_what_it_holds(saved: Path) -> None:
    maps = SavedMaps(saved / "score_maps.npz")
    test = maps.split("test")
    assert len(test) == 20
    sample = test[23]
    assert sample.truth.is_padding
    assert sample.truth.position == 23
    assert sample.truth.image_id == test[3].truth.image_id
    assert sample.logits.shape == (len(maps.class_names),)
    assert sample.ranked_classes.tolist() == sample.logits.argsort(descending=True)[:5].tolist()
    ranked = sample.ranked_classes.tolist()
    rank = ranked.index(sample.truth.target) if sample.truth.target in ranked else None
    if rank is not None:
        np.testing.assert_array_equal(sample.ranked_cams[rank], sample.cams[0])
    assert sample.truth.masks is not None
    assert sample.truth.masks.shape == (1, 2, *maps.map_size)


def test_score_maps_are_exported_for_other_tools(here: Here, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    arguments = ("evaluate", f"score_maps={saved / 'score_maps.npz'}", f"export_score_maps={folder}")
    finished = here(*arguments, "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path / 'run'}")
    assert finished.returncode == 0, finished.stderr
    files = sorted(folder.rglob("*.npy"))
    assert [file.stem for file in files] == [f"test-{index:05d}" for index in range(20)]
    exported = np.load(files[0])
    assert exported.dtype == np.float32
    assert exported.shape == (64, 64)
    assert (exported.min(), exported.max()) == (0, 1)
    again = here(*arguments, "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path / 'again'}")
    assert again.returncode == 1
    assert "is not empty; name a new folder" in again.stderr


def test_a_damaged_file_is_one_clear_error(here: Here, saved: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "score_maps.npz"
    damaged.write_bytes((saved / "score_maps.npz").read_bytes()[:3000])
    failed = here("evaluate", f"score_maps={damaged}", f"hydra.run.dir={tmp_path / 'run'}")
    assert failed.returncode == 1
    assert f"score_maps={damaged} holds no saved score maps" in failed.stderr
    assert "Traceback" not in failed.stderr
    missing = here("evaluate", "score_maps=nowhere.npz", f"hydra.run.dir={tmp_path / 'run'}")
    assert missing.returncode == 1
    assert "nowhere.npz" in missing.stderr


def test_an_array_that_is_missing_is_named(tmp_path: Path) -> None:
    write_saved_maps(tmp_path / "maps.npz", {"class_names": np.array(["a"]), "devkit_ids": np.zeros(0)})
    with pytest.raises(ValueError, match=r"holds no saved score maps.*map_size"):
        SavedMaps(tmp_path / "maps.npz")


@pytest.mark.integration
def test_a_sweep_over_thresholds_evaluates_once_and_gives_each_job_its_own_numbers(
    entry: Entry, saved: Path, tmp_path: Path
) -> None:
    source = f"score_maps={saved / 'score_maps.npz'}"
    sweep = entry(
        "evaluate.py",
        "-m",
        source,
        "localization=wsolevaluation",
        "localization.cam_threshold=0.15,0.333,0.8",
        "trainer.accelerator=cpu",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )
    assert sweep.returncode == 0, sweep.stderr
    alone = entry(
        "evaluate.py",
        source,
        "localization=wsolevaluation",
        "localization.cam_threshold=0.333",
        "trainer.accelerator=cpu",
        f"hydra.run.dir={tmp_path / 'alone'}",
    )
    assert alone.returncode == 0, alone.stderr
    assert metrics(tmp_path / "sweep" / "1") == metrics(tmp_path / "alone")
    assert (tmp_path / "sweep" / "1" / "config.yaml").read_text() == (tmp_path / "alone" / "config.yaml").read_text()
    errors = [metrics(tmp_path / "sweep" / str(job))["test/localization/gt_known_error"] for job in range(3)]
    assert len(set(errors)) > 1
    rows = (tmp_path / "sweep" / "sweep_summary.csv").read_text().splitlines()
    assert len(rows) == 4
    assert (tmp_path / "sweep" / "threshold_sweep.png").stat().st_size > 0
    assert "one evaluation for 3 CAM thresholds" in sweep.stdout


def test_the_submission_file_has_the_error_that_the_network_was_given(
    here: Here, saved: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    finished = here(
        "evaluate",
        f"submission={saved / 'submission.txt'}",
        "localization=ilsvrc",
        "datamodule=textures",
        *(override for override in small if override.startswith(("datamodule.num_", "datamodule.image_size"))),
        f"hydra.run.dir={tmp_path}",
    )
    assert finished.returncode == 0, finished.stderr
    expected, found = metrics(saved), metrics(tmp_path)
    names = [name for name in expected if name.startswith("test/localization/ilsvrc_")]
    assert len(names) == 10 + 2 * 4  # with intervals
    assert {name: found[name] for name in names} == pytest.approx({name: expected[name] for name in names})
    assert "ILSVRC top-5 localization error" in finished.stdout

"""Trainings on a frozen trunk as their user meets them: resumed, by two processes, and as checkpoints like any."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch

import camloc

pytestmark = pytest.mark.integration
Entry = Callable[..., CompletedProcess[str]]
SharedOnce = Callable[[str, Callable[[Path], None]], Path]
FROZEN = ("classifier.frozen=true", "classifier.cached_views=2", "callbacks.gallery=null", "trainer.max_epochs=2")


def overrides(small: tuple[str, ...], *more: str) -> list[str]:
    return [*(o for o in small if not o.startswith(("trainer.max_epochs", "callbacks"))), *FROZEN, *more]


def metrics(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


def hits(run: Path) -> dict[str, Any]:
    return {key: value for key, value in metrics(run).items() if key.endswith(("_hits", "num_images"))}


@pytest.fixture(scope="session")
def frozen(entry: Entry, small: tuple[str, ...], shared_once: SharedOnce) -> Path:
    """A training of TriLite on features."""

    def train(run: Path) -> None:
        finished = entry("train.py", *overrides(small), "objective=trilite", f"hydra.run.dir={run}")
        assert finished.returncode == 0, finished.stderr
        run.with_name("frozen_printed").write_text(finished.stdout)

    return shared_once("frozen", train)


def test_the_size_is_said_before(frozen: Path) -> None:
    printed = frozen.with_name("frozen_printed").read_text()
    assert re.search(r"trunk: features of 2 views of 36 train images \(\d+\.\d MB\) are made once and kept in", printed)
    assert "frozen trunk: features of 18 val images" in printed


def test_the_checkpoint_is_whole_and_evaluates_as_any(frozen: Path, entry: Entry, tmp_path: Path) -> None:
    saved = torch.load(frozen / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert {"predictor.backbone.backbone.trunk.0.weight", "predictor.backbone.regions.0.weight"} <= saved.keys()
    evaluated = entry("evaluate.py", f"checkpoint={frozen}", f"hydra.run.dir={tmp_path / 'run'}")
    assert evaluated.returncode == 0, evaluated.stderr
    assert hits(tmp_path / "run") == hits(frozen)
    # Its own classifier has a CAM too.
    by_cam = entry("evaluate.py", f"checkpoint={frozen}", "attribution=cam", f"hydra.run.dir={tmp_path / 'cam'}")
    assert by_cam.returncode == 0, by_cam.stderr


def test_the_network_predicts_as_any(frozen: Path) -> None:
    localizer = camloc.load(frozen)
    (found,) = localizer.localize([np.zeros((64, 64, 3), np.uint8)])
    assert len(found.classes) > 0


def test_killed_and_resumed_ends_bit_equal(frozen: Path, entry: Entry, small: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    died = entry("tests/train_and_die.py", "batch:5", *overrides(small), "objective=trilite", f"hydra.run.dir={run}")
    assert died.returncode == -signal.SIGKILL, died.stderr
    finished = entry("train.py", f"resume={run}")
    assert finished.returncode == 0, finished.stderr
    found, expected = (torch.load(one / "checkpoints" / "last.ckpt", weights_only=True) for one in (run, frozen))
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name
    assert (run / "metrics.json").read_text() == (frozen / "metrics.json").read_text()


def test_two_processes_make_the_same_features_and_counts(
    entry: Entry, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for processes in (1, 2):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(processes)))
        run = tmp_path / f"run{processes}"
        finished = entry("train.py", *overrides(small, f"trainer.devices={processes}"), f"hydra.run.dir={run}")
        assert finished.returncode == 0, finished.stderr
        files.append(sorted((tmp_path / str(processes) / "camloc").glob("features-*")))
    assert [file.name for file in files[0]] == [file.name for file in files[1]]
    for one, other in zip(*files, strict=True):
        np.testing.assert_allclose(np.load(one), np.load(other), rtol=0, atol=1e-5)
    run = tmp_path / "evaluated"
    evaluated = entry("evaluate.py", f"checkpoint={tmp_path / 'run2'}", f"hydra.run.dir={run}")
    assert evaluated.returncode == 0, evaluated.stderr
    assert hits(run) == hits(tmp_path / "run2")


def test_what_has_no_effect_is_refused(entry: Entry, small: tuple[str, ...]) -> None:
    failed = entry("train.py", *small, "classifier.cached_views=2")
    assert "classifier.cached_views has no effect without classifier.frozen=true" in failed.stderr
    failed = entry("train.py", *small, "classifier.frozen=true", "datamodule.crop_area=[0.5,1]")
    assert "datamodule.crop_area has no effect with classifier.frozen=true" in failed.stderr

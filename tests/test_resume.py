"""A training that was killed and resumed ends like one that was not, to the last bit."""

import json
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.integration
Entry = Callable[..., CompletedProcess[str]]
SharedOnce = Callable[[str, Callable[[Path], None]], Path]
DIE = "tests/train_and_die.py"
EPOCHS = 3


def overrides(small: tuple[str, ...], processes: int = 1) -> list[str]:
    changed = (f"trainer.max_epochs={EPOCHS}", f"trainer.devices={processes}", "callbacks.gallery=null")
    return [*(o for o in small if not o.startswith(("trainer.max_epochs", "callbacks"))), *changed]


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def assert_same_end(run: Path, other: Path) -> None:
    found, expected = weights(run), weights(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert (run / "metrics.json").read_text() == (other / "metrics.json").read_text()
    assert (run / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


@pytest.fixture(scope="session")
def uninterrupted(entry: Entry, small: tuple[str, ...], shared_once: SharedOnce) -> Path:
    def train(run: Path) -> None:
        finished = entry("train.py", *overrides(small), f"hydra.run.dir={run}")
        assert finished.returncode == 0, finished.stderr

    return shared_once("uninterrupted", train)


# Three batches make an epoch.
@pytest.mark.parametrize("moment", ["batch:5", "validation", "saving"])
def test_killed_and_resumed_ends_bit_equal(
    moment: str, entry: Entry, small: tuple[str, ...], uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    died = entry(DIE, moment, *overrides(small), f"hydra.run.dir={run}")
    assert died.returncode in (-signal.SIGKILL, -signal.SIGXFSZ), died.stderr
    assert json.loads((run / "status.json").read_text())["status"] == "running"
    before = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert before["epoch"] == 0  # the last good one, whole
    finished = entry("train.py", f"resume={run}")
    assert finished.returncode == 0, finished.stderr
    assert_same_end(run, uninterrupted)
    assert "resume: null" in (run / "config.yaml").read_text()


def test_a_disk_that_fills_up_costs_no_checkpoint(
    entry: Entry, small: tuple[str, ...], uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    failed = entry(DIE, "full", *overrides(small), f"hydra.run.dir={run}")
    assert failed.returncode == 1, failed.stderr
    (told,) = [line for line in failed.stderr.splitlines() if "rror" in line]
    assert f"{run / 'checkpoints'}" in told
    assert "could not be written: File too large; the previous checkpoint is intact" in told
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    assert sorted(file.name for file in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    for name in ("best.ckpt", "last.ckpt"):
        assert torch.load(run / "checkpoints" / name, weights_only=True)["epoch"] == 0
    finished = entry("train.py", f"resume={run}")
    assert finished.returncode == 0, finished.stderr
    assert_same_end(run, uninterrupted)


def test_sigterm_saves_in_the_middle_of_an_epoch(
    entry: Entry, small: tuple[str, ...], uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # Loader workers draw ahead, which must not change what is drawn after resuming.
    logged = ("logger=wandb", "logger.wandb.mode=offline")
    workers = "datamodule.num_workers=2"
    died = entry(DIE, "term:5", *overrides(small), *logged, workers, f"hydra.run.dir={run}")
    assert died.returncode == 143, died.stderr
    assert "error: interrupted by SIGTERM; what was trained until " in died.stderr
    assert f" is kept; resume={run} continues" in died.stderr
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 5
    finished = entry("train.py", f"resume={run}")
    assert finished.returncode == 0, finished.stderr
    assert "unreliable" not in finished.stderr  # as Lightning says of loaders whose place it does not know
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3 * EPOCHS
    assert_same_end(run, uninterrupted)
    # Offline each part has a file of its own, and both are of one run.
    files = [file.name for file in (run / "wandb").glob("offline-run-*/*.wandb")]
    assert files == [f"run-{(run / 'wandb_run_id.txt').read_text().strip()}.wandb"] * 2


@pytest.fixture(scope="session")
def uninterrupted_pair(entry: Entry, small: tuple[str, ...], shared_once: SharedOnce) -> Path:
    def train(run: Path) -> None:
        finished = entry("train.py", *overrides(small, processes=2), f"hydra.run.dir={run}")
        assert finished.returncode == 0, finished.stderr

    return shared_once("uninterrupted_pair", train)


# In the middle of the second epoch of two batches; SIGUSR1 is what SLURM sends ahead.
@pytest.mark.parametrize(
    ("moment", "exit_code", "saved"), [("batch:3", -9, 2), pytest.param("usr1:3", 143, 3, marks=pytest.mark.slow)]
)
def test_two_processes_are_resumed_too(
    moment: str,
    exit_code: int,
    saved: int,
    entry: Entry,
    small: tuple[str, ...],
    uninterrupted_pair: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    died = entry(DIE, moment, *overrides(small, processes=2), f"hydra.run.dir={run}")
    assert died.returncode == exit_code, died.stderr
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == saved
    finished = entry("train.py", f"resume={run}")
    assert finished.returncode == 0, finished.stderr
    assert_same_end(run, uninterrupted_pair)


# A signal to the second process, in a batch and as the last one of an epoch begins.
@pytest.mark.parametrize("moment", [pytest.param("other:3", marks=pytest.mark.slow), "other:4"])
def test_a_signal_to_another_process_stops_all_of_them(
    moment: str, entry: Entry, small: tuple[str, ...], uninterrupted_pair: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    died = entry(DIE, moment, *overrides(small, processes=2), f"hydra.run.dir={run}")
    assert died.returncode == 143, died.stderr
    assert died.stderr.count("error: ") == 1  # the first process says it for all
    assert json.loads((run / "status.json").read_text()) == {"status": "failed", "error": "interrupted by SIGTERM"}
    moved = run.rename(tmp_path / "moved")
    finished = entry("train.py", f"resume={moved}")
    assert finished.returncode == 0, finished.stderr
    assert_same_end(moved, uninterrupted_pair)


def test_what_cannot_be_resumed_is_one_clear_error(entry: Entry, uninterrupted: Path, tmp_path: Path) -> None:
    completed = entry("train.py", f"resume={uninterrupted}")
    assert completed.returncode == 1
    assert "the run has completed; trainer.max_epochs=N trains on" in completed.stderr
    missing = entry("train.py", f"resume={tmp_path}")
    assert missing.returncode == 1
    assert "give the directory of a run that has trained an epoch" in missing.stderr


class Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/camloc_was_here",)


def test_a_checkpoint_with_code_in_it_is_refused(entry: Entry, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text((uninterrupted / "config.yaml").read_text())
    (run / "status.json").write_text('{"status": "failed"}')
    (run / "checkpoints" / "last.ckpt").write_bytes(pickle.dumps({"state_dict": Payload()}))
    failed = entry("train.py", f"resume={run}")
    assert failed.returncode == 1
    assert "last.ckpt is cut off, no checkpoint, or holds code, which is not run" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not Path("/tmp/camloc_was_here").exists()  # noqa: S108 - the payload's

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra.errors import CompactHydraException

from camloc.experiment.run_directory import ReportedRow, RunDirectory
from camloc.experiment.sweep import job as job_module
from camloc.experiment.sweep.job import Job

ROW = ReportedRow("val/loss", "loss", "min")


def the_job(tmp_path: Path, *overrides: str) -> Job:
    return Job(2, list(overrides), {"seed": "1"}, tmp_path, "2")


def runs(
    monkeypatch: pytest.MonkeyPatch, directory: Path, exit_code: int | None, work: Callable[[RunDirectory], None]
) -> list[list[str]]:
    """Let a job be a function call; return the commands that would have been run."""
    commands = []

    def run(command: Sequence[str], _cwd: Path, stderr_log: Path) -> int:
        commands.append(list(command))
        stderr_log.write_text("error: no room (run directory: x)\n")
        work(RunDirectory(directory))
        if exit_code is None:
            raise KeyboardInterrupt
        return exit_code

    monkeypatch.setattr(job_module, "run_process_tree", run)
    return commands


def complete(run: RunDirectory) -> None:
    run.write_metrics({"val/loss": 0.5})
    run.write_rows([ROW])
    run.write_status("completed")


def test_a_completed_job_has_its_numbers_and_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = the_job(tmp_path, "seed=1")
    commands = runs(monkeypatch, job.directory, 0, complete)
    result = job.run([sys.executable, "train.py"], ["hydra.verbose=true"], tmp_path)
    assert (result.job, result.directory, result.status, result.error) == (3, "2", "completed", None)
    assert (result.metrics, result.rows) == ({"val/loss": 0.5}, [ROW])
    record = json.loads((job.directory / "job.json").read_text())
    assert record["overrides"] == ["seed=1"]
    assert [record["command"]] == commands
    assert record["seconds"] == result.seconds
    assert job.completed_before()
    assert job.skip().metrics == {"val/loss": 0.5}
    assert (job.skip().status, job.skip().seconds) == ("skipped", result.seconds)


@pytest.mark.parametrize(
    ("exit_code", "work", "status", "error"),
    [
        (1, lambda run: run.write_status("failed", error="broken"), "failed", "broken"),
        (1, lambda run: run.write_status("failed"), "failed", "no room"),
        (-9, lambda run: run.write_status("running"), "failed", "no room"),
        (3, lambda _: None, "failed", "no room"),
        (None, lambda run: run.write_status("running"), "interrupted", None),
    ],
)
def test_the_status_file_says_how_a_job_ended(
    exit_code: int | None,
    work: Callable[[RunDirectory], None],
    status: str,
    error: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = the_job(tmp_path)
    runs(monkeypatch, job.directory, exit_code, work)
    result = job.run(["train.py"], [], tmp_path)
    assert (result.status, result.error) == (status, error)
    assert (result.metrics, result.rows) == ({}, ())
    assert RunDirectory(job.directory).read_status()[:2] == ("failed", error or "interrupted")
    assert not job.completed_before()


def test_the_status_of_an_earlier_run_is_not_taken_for_this_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = the_job(tmp_path)
    job.directory.mkdir()
    complete(RunDirectory(job.directory))
    runs(monkeypatch, job.directory, 0, lambda _: None)
    assert job.run(["train.py"], [], tmp_path).status == "failed"


def test_a_completed_job_is_refused(tmp_path: Path) -> None:
    job = the_job(tmp_path)
    job.refuse_completed()  # nothing there
    job.directory.mkdir()
    RunDirectory(job.directory).write_status("failed", "why")
    job.refuse_completed()
    complete(RunDirectory(job.directory))
    with pytest.raises(
        CompactHydraException, match=r"holds a completed job; .*hydra\.sweep\.dir=.*skip_completed=true.*overwrite=true"
    ):
        job.refuse_completed()


def test_another_job_is_not_taken_for_this_one(tmp_path: Path) -> None:
    job = the_job(tmp_path, "seed=1")
    assert not job.completed_before()
    job.directory.mkdir()
    complete(RunDirectory(job.directory))
    with pytest.raises(CompactHydraException, match=r"holds a run, but no job\.json"):
        job.completed_before()
    job.adopt(1.5)
    assert job.skip().seconds == 1.5
    assert job.completed_before()
    with pytest.raises(CompactHydraException, match="is of another job, seed=1 instead of seed=2"):
        the_job(tmp_path, "seed=2").completed_before()
    with pytest.raises(CompactHydraException, match="is of another job, seed=1 instead of nothing"):
        the_job(tmp_path).completed_before()

"""A signal ends a job where its state is kept, or at once; a process that waits for another one too."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from camloc.experiment import interruption
from camloc.experiment.interruption import Interrupted, Interruption, active, held_back
from camloc.experiment.run_directory import RunDirectory


@pytest.fixture(autouse=True)
def _heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)  # a shell's background job ignores SIGINT


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143)])
def test_it_ends_at_once_or_waits_for_the_next_point(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with Interruption(RunDirectory(tmp_path), resumable=True) as job:
        assert active() is job
        with pytest.raises(Interrupted) as ended:
            signal.raise_signal(number)
        assert (ended.value.code, job.number) == (code, number)
    assert active() is None
    with Interruption(RunDirectory(tmp_path), resumable=True) as job:
        job.deferred = True
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)  # another process of the run passes its own on
        assert job.number == number
        with pytest.raises(Interrupted):
            job.raise_pending()
        job.ending()
        signal.raise_signal(signal.SIGINT)  # nothing disturbs the end


def test_a_second_ctrl_c_is_not_deferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_AGAIN_AFTER", -1.0)
    with Interruption(RunDirectory(tmp_path), resumable=True) as job:
        job.deferred = True
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_what_was_ignored_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption(RunDirectory(tmp_path), resumable=True) as job:
            signal.raise_signal(signal.SIGINT)
            assert job.number is None
    finally:
        signal.signal(signal.SIGINT, before)


def in_a_process(body: Callable[[], None]) -> int:
    """Return the exit code of a forked process."""
    if (process := os.fork()) == 0:
        try:
            body()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_a_process_that_waits_for_another_one_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "SECONDS_TO_STOP", 0.0)

    def wait() -> None:
        RunDirectory(tmp_path).write_status("running")
        with Interruption(RunDirectory(tmp_path), resumable=True) as job:
            job.deferred = True
            signal.raise_signal(signal.SIGTERM)
            threading.Event().wait()

    assert in_a_process(wait) == 143
    assert RunDirectory(tmp_path).read_status()[:2] == ("failed", "interrupted by SIGTERM")


def test_one_of_several_processes_ends_without_another_collective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    def stop() -> None:
        RunDirectory(tmp_path).write_status("running")
        with Interruption(RunDirectory(tmp_path), resumable=True):
            signal.raise_signal(signal.SIGINT)

    assert in_a_process(stop) == 130
    assert RunDirectory(tmp_path).read_status()[:2] == ("failed", "interrupted by SIGINT")


def test_another_process_passes_the_signal_on_and_ends_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
    with Interruption(RunDirectory(tmp_path), resumable=True) as job:
        signal.raise_signal(signal.SIGINT)
        assert sent == [(os.getppid(), signal.SIGTERM)]
        with pytest.raises(SystemExit) as ended:
            job.end()
    assert ended.value.code == 0  # else Lightning kills the first process
    assert not (tmp_path / "status.json").exists()
    monkeypatch.setattr(os, "getppid", iter([7, *[8] * 100]).__next__)
    assert in_a_process(lambda: wait_as_an_orphan(tmp_path)) == 1


def wait_as_an_orphan(path: Path) -> None:
    with Interruption(RunDirectory(path), resumable=True):
        threading.Event().wait()


def test_a_forked_worker_leaves_signals_to_its_parent(tmp_path: Path) -> None:
    def in_worker() -> None:
        number = signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)  # it has some seconds for its batch
        os._exit(7 if number == signal.SIG_IGN and active() is None else 1)

    with Interruption(RunDirectory(tmp_path), resumable=True) as job:
        assert in_a_process(in_worker) == 7
        assert job.number is None


def test_a_signal_that_comes_before_the_job_is_heeded_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    sent: list[tuple[int, int]] = []
    with held_back():
        # To this thread alone, as a process that starts has no other: one that does not wait would end by default.
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
        with Interruption(RunDirectory(tmp_path), resumable=True) as job:
            assert job.number == signal.SIGTERM
    assert sent == [(os.getppid(), signal.SIGTERM)]


def test_a_process_whose_first_one_has_gone_before_it_began_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Interruption(RunDirectory(tmp_path), resumable=True):
        first = os.environ["CAMLOC_FIRST_PROCESS"]
        assert first == str(os.getpid())
    assert "CAMLOC_FIRST_PROCESS" not in os.environ
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("CAMLOC_FIRST_PROCESS", str(os.getppid()))  # the forked process has another parent

    def wait() -> None:
        signal.alarm(20)
        wait_as_an_orphan(tmp_path)

    assert in_a_process(wait) == 1

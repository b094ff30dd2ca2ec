import errno
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import MissingMandatoryValue, OmegaConf

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_job import message, run_job
from camloc.export.csv_file import read_csv


class Toy(Protocol):
    def run(self, *arguments: str) -> None: ...


def test_hydras_wrapping_is_taken_off() -> None:
    cause = ValueError("datamodule.classes: n7 not in wnids.txt")
    wrapped = InstantiationException("Error in call to target ...\nfull_key: datamodule")
    wrapped.__cause__ = cause
    assert message(wrapped) == "datamodule.classes: n7 not in wnids.txt"


def test_a_loader_workers_traceback_is_taken_off() -> None:
    error = ValueError(
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\nValueError: cannot read the image a.jpg: it is empty\n'
    )
    assert message(error) == "cannot read the image a.jpg: it is empty"
    assert message(ValueError("Caught it\nKeyboardInterrupt")) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("text", "lack"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that workers lack shared memory.",
            "lack shared memory (/dev/shm)",
        ),
        (
            "Caught RuntimeError\nunable to allocate shared memory(shm) for file </t>: No space left on device (28)",
            "lack shared memory (/dev/shm)",
        ),
        (
            "unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)",
            "may open too few files (ulimit -n)",
        ),
    ],
)
def test_what_loader_workers_lack_is_named(text: str, lack: str) -> None:
    fix = "raise that limit, or give num_workers=0 in datamodule or map_loader"
    assert message(RuntimeError(text)) == f"the loader workers {lack}; {fix}"


def test_several_lines_become_one_and_none_becomes_the_type() -> None:
    assert message(RuntimeError("first\n  second\n")) == "first second"
    assert message(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_an_option_that_must_be_given_is_named_without_the_jargon() -> None:
    config = OmegaConf.create({"datamodule": {"root": "???"}})
    with pytest.raises(MissingMandatoryValue) as missing:
        _ = config.datamodule.root
    assert message(missing.value) == "datamodule.root must be given: datamodule.root=...; --help has the options"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run whose job is ``jobs:job``; a test writes ``jobs.py``."""
    output = SimpleNamespace(
        runtime=SimpleNamespace(output_dir=str(tmp_path / "run")), overrides=SimpleNamespace(task=[])
    )
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(HydraConfig, "get", lambda: output)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jobs", raising=False)
    return tmp_path / "run"


def job(run: Path, body: str) -> None:
    (run.parent / "jobs.py").write_text(f"def job(config, run):\n    {body}\n")
    sys.modules.pop("jobs", None)


def status(run: Path) -> tuple[str | None, str | None]:
    found = RunDirectory(run).read_status()
    return found.status, found.error


def test_a_job_that_ends_has_completed(run: Path) -> None:
    job(run, "assert run.read_status().status == 'running'")
    run_job("jobs:job", OmegaConf.create())
    assert json.loads((run / "status.json").read_text()) == {"status": "completed", "error": None}


def test_a_failure_is_one_line_and_keeps_its_traceback(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job(run, "raise ValueError('no\\n such class') from OSError('of a file \\udcff')")
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as stopped:
        run_job("jobs:job", OmegaConf.create())
    assert stopped.value.code == 1
    assert capsys.readouterr().err.splitlines()[0].startswith("error: no such class")
    assert status(run)[0] == "failed"
    assert "ValueError" in (run / "traceback.txt").read_text()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="such class"):
        run_job("jobs:job", OmegaConf.create())


def test_everything_wrong_in_the_data_is_written_down(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"{number}.xml", "=broken") for number in range(12)]
    job(run, f"from camloc.data.annotations.problems import DataProblems; raise DataProblems({rows!r})")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create())
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith("error: 12 problems in the data's files: (1) 0.xml: =broken; ")
    assert said.endswith(f"; and 2 more (run directory: {run}; all problems: {run / 'data_problems.csv'})")
    assert read_csv(run / "data_problems.csv") == [{"where": where, "problem": text} for where, text in rows]


def test_a_full_disk_does_not_hide_what_went_wrong(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(file: Path, text: str) -> None:
        if '"running"' not in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write_text(text)

    monkeypatch.setattr("camloc.experiment.run_directory._replace", full)
    with pytest.raises(SystemExit) as stopped:
        run_job("camloc.experiment.nothing:job", OmegaConf.create())
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("error: No module named 'camloc.experiment.nothing'")
    assert status(run) == ("failed", None)  # not running, which another run would believe
    assert not (run / "traceback.txt").exists()


def test_the_first_process_to_fail_says_why(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("camloc.experiment.interruption._SECONDS_TO_NOTICE", 0)
    RunDirectory(run).write_status("running")
    with monkeypatch.context() as other:
        other.setenv("LOCAL_RANK", "1")
        job(run, "raise MemoryError('of the second')")
        with pytest.raises(SystemExit):
            run_job("jobs:job", OmegaConf.create())
    assert status(run) == ("failed", "of the second")  # by the process that failed; the first one may be killed now
    assert "MemoryError" in (run / "traceback.txt").read_text()
    reason = "run.write_status('failed', 'of the second'); "
    for consequence in ("raise OSError('connection closed')", "import signal; signal.raise_signal(signal.SIGTERM)"):
        job(run, reason + consequence)
        with pytest.raises(SystemExit):
            run_job("jobs:job", OmegaConf.create())
        assert status(run) == ("failed", "of the second")
    assert "connection closed" in capsys.readouterr().err


def test_what_goes_wrong_in_another_process_after_the_end_changes_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("camloc.experiment.interruption._SECONDS_TO_NOTICE", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    completed = '{"status": "completed", "error": null}'
    job(run, f"run.status.write_text({completed!r}); raise OSError('connection closed')")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create())
    assert status(run) == ("completed", None)


def test_an_interrupted_job_has_failed(run: Path) -> None:
    job(run, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        run_job("jobs:job", OmegaConf.create())
    assert status(run) == ("failed", "interrupted: KeyboardInterrupt")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 143)])
def test_a_signal_ends_a_job_with_one_line(
    name: str, code: int, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)  # a background job of a shell ignores SIGINT
    raised = f"import signal; signal.raise_signal(signal.{name})"
    last = RunDirectory(run).last_checkpoint
    for config, before, kept in (
        ({}, "", "nothing can be resumed; give the same command again"),
        ({"resume": None}, "", "no checkpoint was written yet; give the same command again"),
        (
            {"resume": None},
            "run.checkpoints.mkdir(); run.last_checkpoint.touch(); import os; os.utime(run.last_checkpoint, (0, 0)); ",
            f"what was trained until {time.strftime('%H:%M:%S', time.localtime(0))} is kept; resume={run} continues",
        ),
    ):
        job(run, before + raised)
        with pytest.raises(SystemExit) as stopped:
            run_job("jobs:job", OmegaConf.create(config))
        assert stopped.value.code == code  # not 0, which would look like success
        assert capsys.readouterr().err.splitlines() == [f"error: interrupted by {name}; {kept}"]
        assert status(run) == ("failed", f"interrupted by {name}")
    assert last.exists()


@pytest.mark.parametrize("before", [None, '{"status": "completed", "error": null}'])
def test_a_signal_before_the_run_has_begun_changes_nothing(
    before: str | None, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job(run, "raise ValueError")
    monkeypatch.setattr("camloc.experiment.run_job.refuse_calls", lambda _: signal.raise_signal(signal.SIGTERM))
    RunDirectory(run).last_checkpoint.parent.mkdir()
    RunDirectory(run).last_checkpoint.touch()
    if before is not None:
        RunDirectory(run).status.write_text(before)
    with pytest.raises(SystemExit) as stopped:
        run_job("jobs:job", OmegaConf.create({"resume": None, "overwrite": True}))
    assert stopped.value.code == 143
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: interrupted by SIGTERM; what was trained until ")
    assert RunDirectory(run).last_checkpoint.exists()
    assert (RunDirectory(run).status.read_text() if RunDirectory(run).status.exists() else None) == before


def test_what_goes_wrong_while_stopping_is_said_too(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "import signal\n    from camloc.experiment.interruption import active\n    active().deferred = True\n    "
    job(run, f"{body}signal.raise_signal(signal.SIGTERM)\n    raise OSError('last.ckpt could not be written')")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create({"resume": None}))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: interrupted by SIGTERM (last.ckpt could not be written); no checkpoint was written")


def test_a_failed_training_says_that_it_can_be_resumed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(run, "run.checkpoints.mkdir(); run.last_checkpoint.touch(); raise OSError('no room')")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create({"resume": None}))
    assert capsys.readouterr().err == (
        f"error: no room (run directory: {run}; resume= with it goes on from its last checkpoint)\n"
    )


def test_loggers_are_finished_with_the_jobs_exit_code(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setitem(
        sys.modules,
        "wandb",
        SimpleNamespace(
            finish=lambda exit_code: codes.append(exit_code)  # noqa: PLW0108 - by name
        ),
    )
    job(run, "pass")
    run_job("jobs:job", OmegaConf.create())
    job(run, "raise ValueError")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create({"overwrite": True}))
    job(run, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        run_job("jobs:job", OmegaConf.create())
    assert codes == [0, 1, 1]


def held(*_: object) -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_resuming_keeps_what_is_there(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job(run, "assert run.last_checkpoint.exists()")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").touch()
    RunDirectory(run).write_status("completed")
    job(run, "raise ValueError('wrong')")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create({"resume": str(run)}))
    assert status(run) == ("completed", None)  # nothing has replaced what it holds
    assert "ValueError" in (run / "traceback.txt").read_text()
    job(run, "run.write_status('running'); raise ValueError('wrong')")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create({"resume": str(run)}))
    assert status(run) == ("failed", "wrong")
    RunDirectory(run).write_status("completed")
    job(run, "assert run.last_checkpoint.exists()")
    run_job("jobs:job", OmegaConf.create({"resume": str(run)}))
    assert status(run)[0] == "completed"
    RunDirectory(run).write_status("failed")
    monkeypatch.setattr("fcntl.lockf", held)
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create({"resume": str(run)}))
    assert "is in use by " in capsys.readouterr().err
    assert status(run)[0] == "failed"  # it is the other one's


def test_a_value_that_must_be_given_is_named_before_the_job_starts(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job(run, "raise AssertionError('started')")
    with pytest.raises(SystemExit):
        run_job("jobs:job", OmegaConf.create({"backbone": {"name": "???"}}))
    assert capsys.readouterr().err.startswith("error: backbone.name must be given: backbone.name=...; --help has")

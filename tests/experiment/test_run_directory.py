import contextlib
import errno
import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import camloc
from camloc.experiment.run_directory import (
    ReportedRow,
    RunDirectory,
    is_first_process,
    is_started_by_first_process,
    read_json,
)
from camloc.export.replaced import replaced


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_every_file_has_the_name_that_users_rely_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    names = {value.relative_to(tmp_path).as_posix() for value in vars(run).values() if isinstance(value, Path)} - {"."}
    assert names == {
        *("config.yaml", "metrics.json", "metrics.csv", "rows.json", "status.json", "traceback.txt", "unreadable.json"),
        *("splits.csv", "data_problems.csv", "cost.json"),
        *("predictions.csv", "submission.txt", "threshold_curve.csv", "score_maps.npz", "wandb_run_id.txt"),
        *("predictions.jsonl", "summary.json", "coco.json", "label_studio.json", "overlays.mp4"),
        *("overlays", "maps", "yolo", "voc"),
        *("card.json", "localize.py"),
        *("checkpoints", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "report", "report/gallery"),
    }
    assert run.per_image("val") == tmp_path / "per_image" / "val.npz"
    assert run.per_image("test", "pxap") == tmp_path / "per_image" / "test_pxap.npz"


def test_numbers_that_are_not_finite_are_left_out_rather_than_invented(tmp_path: Path) -> None:
    RunDirectory(tmp_path).write_metrics({"a": 0.25, "b": float("nan"), "c": 3, "d": "val", "e": float("inf")})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 0.25, "c": 3, "d": "val"}


def test_status_says_what_went_wrong(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_status() == (None, None, None, None)
    run.write_status("running")
    assert run.read_status() == ("running", None, socket.gethostname(), os.getpid())
    run.write_status("failed", error="no such class")
    assert json.loads((tmp_path / "status.json").read_text()) == {"status": "failed", "error": "no such class"}
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_the_configuration_is_resolved_and_says_its_version(tmp_path: Path) -> None:
    config = OmegaConf.create({"seed": 1, "datamodule": {"seed": "${seed}"}, "overwrite": True, "camloc_version": "0"})
    RunDirectory(tmp_path).write_config(config)
    assert OmegaConf.load(tmp_path / "config.yaml") == {
        "seed": 1,
        "datamodule": {"seed": 1},
        "overwrite": False,
        "camloc_version": camloc.__version__,
    }
    assert config.overwrite is True


def test_rows_are_read_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_rows() == []
    rows = [ReportedRow("val/loss", "loss", "min"), ReportedRow("test/localization/pxap", "PxAP", "max", "oracle")]
    run.write_rows(rows)
    assert run.read_rows() == rows
    assert json.loads((tmp_path / "rows.json").read_text())[0] == {
        "key": "val/loss",
        "title": "loss",
        "direction": "min",
        "threshold_source": "",
        "part": "",
        "supervision": "",
    }


@pytest.mark.parametrize("text", [None, "", '{"a"', "[]", "3"])
def test_json_that_is_missing_cut_off_or_something_else_says_nothing(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    if text is not None:
        file.write_text(text)
    assert read_json(file) == {}
    assert read_json(file, list) == []


OWN = (
    *("config.yaml", "metrics.json", "metrics.csv", "rows.json", "traceback.txt", "unreadable.json", "predictions.csv"),
    "cost.json",
    *("per_image/val.npz", "per_image/test_pxap.npz", "score_maps.npz", "submission.txt", "threshold_curve.csv"),
    *("checkpoints/best.ckpt", "checkpoints/last.ckpt", "wandb_run_id.txt"),
    *("report/index.html", "report/misses.png", "report/gallery/00.png", "report/gallery/00.json"),
)
FOREIGN = ("notes.txt", "report/notes.txt", "checkpoints/mine.ckpt", "per_image/mine.csv", "job.json", "wandb/run.txt")


@pytest.fixture
def earlier(tmp_path: Path) -> RunDirectory:
    for name in (*OWN, *FOREIGN):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return RunDirectory(tmp_path)


def left(run: RunDirectory) -> set[str]:
    return {file.relative_to(run.path).as_posix() for file in run.path.rglob("*") if file.is_file()}


def test_what_a_failed_run_left_is_removed_before_the_next_and_nothing_else(earlier: RunDirectory) -> None:
    earlier.write_status("failed", "no room")
    assert {file.relative_to(earlier.path).as_posix() for file in earlier.own_files()} == {*OWN, "status.json"}
    earlier.start()
    assert left(earlier) == set(FOREIGN)


def test_a_completed_run_is_replaced_only_when_asked(earlier: RunDirectory) -> None:
    earlier.write_status("completed")
    with pytest.raises(
        FileExistsError, match=r"holds a completed run; choose another hydra\.run\.dir=, or overwrite=t"
    ):
        earlier.start()
    assert left(earlier) == {*OWN, *FOREIGN, "status.json"}
    earlier.start(overwrite=True)
    assert left(earlier) == set(FOREIGN)


@pytest.mark.parametrize(
    ("host", "process"),
    [
        (socket.gethostname(), 2**22 + 1),  # beyond the greatest process id
        ("another machine", os.getppid()),
        (socket.gethostname(), os.getpid()),  # the id was given out again
        (None, None),
    ],
    ids=["no such process", "another machine", "the id of this process", "unknown"],  # the same on every worker
)
def test_a_run_that_was_killed_counts_as_interrupted(
    host: str | None, process: int | None, earlier: RunDirectory
) -> None:
    earlier.status.write_text(json.dumps({"status": "running", "host": host, "process": process}))
    earlier.lock()
    earlier.start()
    (earlier.path / ".lock").unlink()
    assert left(earlier) == set(FOREIGN)


def test_a_directory_is_one_processs_until_it_ends(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.make()
    ready, told = os.pipe()
    if (holder := os.fork()) == 0:
        run.lock()
        if worker := os.fork():  # as a loader worker, which may outlive it
            os.write(told, str(worker).encode())
        signal.pause()
    worker = int(os.read(ready, 16))
    try:
        for refuse in (run.lock, run.refuse_running):
            with pytest.raises(FileExistsError, match=f"is in use by process {holder} of .*; wait for it to end, or"):
                refuse()
        RunDirectory(shutil.copytree(run.path, tmp_path / "copied")).lock()
        moved = RunDirectory(run.path.rename(tmp_path / "moved"))
        with pytest.raises(FileExistsError, match=f"moved is in use by process {holder}"):
            moved.lock()
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        moved.lock()
    finally:
        for process in (holder, worker):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"hydra\.run\.dir=.*file/run cannot be made: Not a directory; choose another"):
        RunDirectory(tmp_path / "file" / "run").make()
    with pytest.raises(OSError, match=r"hydra\.run\.dir=.*file cannot be written to: Not a directory; choose another"):
        RunDirectory(tmp_path / "file").lock()
    RunDirectory(tmp_path / "not there").refuse_running()
    assert not (tmp_path / "not there").exists()


def test_nothing_is_waited_for_where_a_file_is_due(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "status.json")
    assert RunDirectory(tmp_path).read_status().status is None


def test_a_lock_that_leads_elsewhere_is_not_written(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    run = RunDirectory(tmp_path / "run")
    run.make()
    lock = run.path / ".lock"
    lock.symlink_to(elsewhere)
    with pytest.raises(OSError, match="cannot be written to"):
        run.lock()
    assert elsewhere.read_text() == "precious"
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(OSError, match="lock is no regular file"):
        run.lock()


def test_a_full_disk_leaves_no_run_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(tmp_path)
    run.write_status("running")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    run.write_status("failed", "a reason that needs more room than there is")
    assert run.read_status() == ("failed", None, None, None)
    with pytest.raises(OSError, match="No space left"):
        run.write_status("completed")


def test_other_processes_of_a_run_remove_nothing(earlier: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    running = {"status": "running", "host": socket.gethostname(), "process": os.getppid()}
    earlier.status.write_text(json.dumps(running))
    RunDirectory(earlier.path).start()
    assert left(earlier) == {*OWN, *FOREIGN, "status.json"}
    earlier.status.write_text('{"status": "completed"}')
    with pytest.raises(FileExistsError, match="holds a completed run"):  # else it would wait for the first process
        RunDirectory(earlier.path).start()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old")
    with pytest.raises(TypeError), replaced(file) as partial:
        partial.write_bytes(None)  # type: ignore[arg-type] # fails when the file is there already
    assert file.read_text() == "old"
    with replaced(file) as partial:
        partial.write_text("new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("variables", "first", "started_by_first"),
    [
        ({}, True, False),
        ({"LOCAL_RANK": "0"}, True, True),
        ({"LOCAL_RANK": "2"}, False, True),
        ({"RANK": "8", "LOCAL_RANK": "0"}, False, False),
        ({"SLURM_PROCID": "1"}, False, False),
    ],
)
def test_only_the_first_process_writes(
    variables: dict[str, str], first: bool, started_by_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
    assert is_started_by_first_process() is started_by_first
    RunDirectory(tmp_path).write_status("running")
    assert (tmp_path / "status.json").exists() is first

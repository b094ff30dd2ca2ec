"""Sweeps whose jobs are function calls: what the launcher decides, without processes."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from camloc.experiment.entry import Entry, offer_run
from camloc.experiment.run_directory import ReportedRow, RunDirectory
from camloc.experiment.sweep import job as job_module
from camloc.experiment.sweep import thresholds


class Toy(Protocol):
    folder: Path
    conf: Path

    def entry(self) -> Entry: ...
    def run(self, *arguments: str) -> None: ...


ROWS = [
    ReportedRow("val/localization/gt_known_error", "GT-known error", "min", "val"),
    ReportedRow("val/localization/accuracy", "accuracy", "max"),
    ReportedRow("val/classification/top1_error", "top-1 error", "min"),
    ReportedRow("test/localization/gt_known_error", "GT-known error", "min", "val"),
]


class Jobs:
    """What the jobs of a sweep were started with, and how each is to end."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.rows: Sequence[ReportedRow] = ROWS

    def run(self, command: Sequence[str], _cwd: Path, stderr_log: Path) -> int:
        self.commands.append(list(command))
        overrides = [argument for argument in command[2:] if "=" in argument]
        given = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(overrides)}
        run = RunDirectory(Path(str(given["hydra.run.dir"])))
        stderr_log.touch()
        if given.get("do") == "interrupt":
            raise KeyboardInterrupt
        if given.get("do") == "raise":
            run.write_status("failed", error="the toy is broken")
            return 1
        error = float(str(given.get("error", 0.5)))
        numbers = {row.key: error if row.direction == "min" else 1 - error for row in self.rows}
        run.write_metrics(numbers)
        run.write_rows(self.rows)
        run.write_status("completed")
        return 0


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    jobs = Jobs()
    monkeypatch.setattr(job_module, "run_process_tree", jobs.run)
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return jobs


def sweep(toy: Toy, *arguments: str) -> int | str | None:
    try:
        toy.run("-m", *arguments, "hydra.sweep.dir=sweep")
    except SystemExit as stopped:
        return stopped.code
    return 0


def summary() -> list[dict[str, str]]:
    with Path("sweep/sweep_summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_job_is_started_by_the_command_of_the_sweep(toy: Toy, jobs: Jobs) -> None:
    (toy.folder / "mine").mkdir()
    assert sweep(toy, "--config-dir", "mine", "error=0.5,0.25", "do=a", "hydra.job.chdir=false") == 0
    options = ["--config-name", "toy", "--config-path", str(toy.conf), "--config-dir", str(toy.folder / "mine")]
    start = [sys.executable, "/somewhere/camloc", "toy", *options]
    assert [command[: len(start)] for command in jobs.commands] == [start] * 2
    assert jobs.commands[1][len(start) :] == [
        *("error=0.25", "do=a", "hydra.job.chdir=false", f"hydra.run.dir='{toy.folder / 'sweep' / '1'}'"),
        *("hydra.job.num=1", "hydra.job.id=1", "hydra.mode=RUN"),
    ]


@pytest.mark.usefixtures("jobs")
def test_an_option_that_is_added_has_its_name_in_the_summary(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(toy, "++do=a,b") == 0
    assert [row["do"] for row in summary()] == ["a", "b"]
    assert "Best: job 1 (do=a)" in capsys.readouterr().out


def test_the_best_job_is_the_one_in_the_reported_direction(
    toy: Toy, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(toy, "error=0.5,0.25,0.75") == 0
    assert "Best: job 2 (error=0.25), val/localization/gt_known_error = 0.2500" in capsys.readouterr().out
    for metric, best in (("val/localization/accuracy", "job 2 (error=0.25)"), ("val/localization/typo", None)):
        assert sweep(toy, "error=0.5,0.25,0.75", f"sweep.metric={metric}", "overwrite=true") == 0
        printed = capsys.readouterr().out
        assert (f"Best: {best}, {metric} = 0.7500" in printed) if best else ("Best:" not in printed)
    jobs.rows = [row._replace(direction="max") for row in ROWS[2:]]
    assert sweep(toy, "error=0.5,0.25,0.75", "overwrite=true") == 0  # neither a monitor nor GT-known on val
    assert "Best: job 2 (error=0.25), val/classification/top1_error = 0.7500" in capsys.readouterr().out
    jobs.rows = ROWS
    assert sweep(toy, "error=0.5,0.25", "monitor=val/classification/top1_error", "overwrite=true") == 0
    assert "Best: job 2 (error=0.25), val/classification/top1_error = 0.2500" in capsys.readouterr().out


def test_completed_jobs_are_neither_replaced_nor_run_again_unasked(
    toy: Toy, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(toy, "do=a,raise") == 1
    assert "error: 1 of 2 jobs failed" in capsys.readouterr().err
    assert [row["status"] for row in summary()] == ["completed", "failed"]
    started = len(jobs.commands)
    assert sweep(toy, "do=a,raise") == 1
    refused = capsys.readouterr().err.splitlines()
    assert refused[0].startswith(
        f"error: {toy.folder / 'sweep' / '0'} holds a completed job; choose another hydra.sweep.dir="
    )
    assert len(jobs.commands) == started
    assert sweep(toy, "do=a,raise", "sweep.skip_completed=true") == 1  # the failed one runs again
    assert [row["status"] for row in summary()] == ["skipped", "failed"]
    assert len(jobs.commands) == started + 1
    assert sweep(toy, "do=a,raise", "overwrite=true") == 1
    assert [row["status"] for row in summary()] == ["completed", "failed"]
    assert len(jobs.commands) == started + 3
    assert not any("overwrite=true" in command for command in jobs.commands)  # the launcher has looked already
    assert sweep(toy, "do=a,raise", "sweep.skip_completed=true") == 1  # and it does not make another job of it


@pytest.mark.usefixtures("jobs")
def test_fail_fast_and_an_interruption_leave_the_rest(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(toy, "do=raise,a,b", "sweep.fail_fast=true") == 1
    assert "stopped: 2 more jobs were not started" in capsys.readouterr().out
    assert sweep(toy, "do=a,interrupt,b") == 130
    assert "stopped: 1 more job was not started" in capsys.readouterr().out
    assert [row["status"] for row in summary()] == ["completed", "interrupted"]
    assert json.loads(Path("sweep/1/status.json").read_text())["error"] == "interrupted"


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["hydra.sweep.subdir=same"], {}, "gives jobs 1 and 2 the same directory same"),
        ([], {"RANK": "1"}, "start it once, without torchrun or srun"),
    ],
)
def test_what_cannot_be_swept_is_one_message(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    toy: Toy,
    jobs: Jobs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert sweep(toy, "error=0.5,0.6", *arguments) == 1
    assert message in capsys.readouterr().err
    assert jobs.commands == []


@pytest.mark.usefixtures("jobs")
def test_directories_may_be_named_after_what_is_swept(toy: Toy) -> None:
    assert sweep(toy, "do=a,b", "hydra.sweep.subdir=${hydra.job.num}_${do}") == 0
    assert [row["directory"] for row in summary()] == ["0_a", "1_b"]


OPTIMIZER = """
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.errors import CompactHydraException

class Optimizer(BasicSweeper):
    returned = []

    def __init__(self, direction):
        super().__init__(max_batch_size=None)

    def sweep(self, arguments):
        for number, overrides in enumerate((["error=0.5"], ["do=raise"])):
            result, = self.launcher.launch([overrides], initial_job_idx=number)
            try:
                self.returned.append(result.return_value)
            except CompactHydraException as failure:
                self.returned.append(str(failure))
"""


@pytest.fixture
def returned(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Offer ``hydra/sweeper=optimizer``; yield what the launcher returns to it."""
    for folder, name, text in (
        (toy.folder / "hydra_plugins", "toy_optimizer.py", OPTIMIZER),
        (toy.conf / "hydra" / "sweeper", "optimizer.yaml", "_target_: hydra_plugins.toy_optimizer.Optimizer\n"),
    ):
        folder.mkdir()
        (folder / name).write_text(text)
    with (toy.conf / "hydra" / "sweeper" / "optimizer.yaml").open("a") as file:
        file.write("direction: minimize\n")
    monkeypatch.syspath_prepend(toy.folder)
    optimizer = import_module("hydra_plugins.toy_optimizer").Optimizer
    Plugins.instance().register(optimizer)
    yield optimizer.returned
    del sys.modules["hydra_plugins.toy_optimizer"]


@pytest.mark.usefixtures("jobs")
def test_a_sweeper_that_optimizes_gets_the_number_and_the_failure(toy: Toy, returned: list[object]) -> None:
    assert sweep(toy, "hydra/sweeper=optimizer") == 1
    assert returned == [0.5, "the toy is broken"]
    assert sweep(toy, "hydra/sweeper=optimizer", "sweep.metric=val/typo", "overwrite=true") == 1
    missing = str(returned[2])
    assert "reports no number val/typo; sweep.metric is one of: val/localization/gt_known_error, " in missing


@pytest.mark.usefixtures("returned")
@pytest.mark.parametrize(
    ("metric", "direction", "wanted"),
    [
        ("val/localization/accuracy", "minimize", "maximize"),
        ("val/localization/gt_known_error", "maximize", "minimize"),
        ("val/localization/accuracy", "maximize", None),
    ],
)
def test_optimizing_in_the_wrong_direction_stops_after_the_first_job(
    metric: str,
    direction: str,
    wanted: str | None,
    toy: Toy,
    jobs: Jobs,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = sweep(toy, "hydra/sweeper=optimizer", f"sweep.metric={metric}", f"hydra.sweeper.direction={direction}")
    assert code == 1  # without the refusal because of its second job
    assert len(jobs.commands) == (1 if wanted else 2)
    refusals = [line for line in capsys.readouterr().err.splitlines() if "is the best, and" in line]
    assert len(refusals) == (1 if wanted else 0)
    assert all(line.endswith(f"give hydra.sweeper.direction={wanted}") for line in refusals)


EVALUATE = """
defaults: [toy, {backbone: of_run}, _self_]
checkpoint: null
localization:
  cam_threshold: null
  more_thresholds: []
  one_evaluation_for_thresholds: true
  protocols:
    one: {_target_: mine, cam_threshold: "${localization.cam_threshold}"}
    other: {_target_: mine}
    left_out: null
"""


@pytest.fixture
def evaluate(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The toy as an evaluation; what a shared one would write for each job is written here."""
    (toy.conf / "evaluate.yaml").write_text(EVALUATE)

    def write(evaluation: Path, directories: dict[float, Path]) -> None:
        for directory in directories.values():
            directory.mkdir()
            for name in ("metrics.json", "rows.json", "status.json"):
                (directory / name).write_bytes((evaluation / name).read_bytes())

    monkeypatch.setattr(thresholds, "write_jobs", write)
    entry = Entry("evaluate", "toy_job:job", offer_run, toy.conf)
    monkeypatch.setattr(toy, "run", lambda *arguments: entry.run(["evaluate.py"], arguments))
    return toy


def test_jobs_that_differ_in_the_threshold_share_one_evaluation(
    evaluate: Toy, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(evaluate, "localization.cam_threshold=0.1,0.2") == 0
    (command,) = jobs.commands
    assert "localization.cam_threshold=null" in command
    assert "localization.more_thresholds=[0.1,0.2]" in command
    assert "one evaluation for 2 CAM thresholds" in capsys.readouterr().out
    assert [(row["status"], row["localization.cam_threshold"]) for row in summary()] == [
        *(("completed", "0.1"), ("completed", "0.2")),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["localization.cam_threshold=0.1,0.2", "localization.one_evaluation_for_thresholds=false"],
        ["localization.cam_threshold=0.1,0.2", "~localization.one_evaluation_for_thresholds"],
        ["localization.cam_threshold=0.1,0.2", "+localization.protocols.other.cam_threshold=0.2"],
        ["localization.cam_threshold=0.1", "error=0.5,0.6"],
        ["localization.cam_threshold=0.1,0.2", "error=0.5,0.6"],
    ],
)
def test_an_evaluation_is_shared_only_where_it_holds_every_jobs_numbers(
    arguments: list[str], evaluate: Toy, jobs: Jobs
) -> None:
    assert sweep(evaluate, *arguments) == 0
    assert not any("localization.cam_threshold=null" in command for command in jobs.commands)
    assert len(jobs.commands) == len(summary())


def test_a_shared_evaluation_that_fails_or_is_interrupted(evaluate: Toy, jobs: Jobs) -> None:
    assert sweep(evaluate, "localization.cam_threshold=0.1,0.2", "do=raise") == 1
    assert [row["error"] for row in summary()] == ["the toy is broken"] * 2  # each job says it for itself
    jobs.commands.clear()
    assert sweep(evaluate, "localization.cam_threshold=0.1,0.2", "do=interrupt") == 130
    assert len(jobs.commands) == 1


def test_each_run_of_a_sweep_is_evaluated_with_its_own_parts(evaluate: Toy, jobs: Jobs, tmp_path: Path) -> None:
    runs = [tmp_path / "one", tmp_path / "a, b=c"]
    for trained, backbone in zip(runs, ("alexnet", "vgg"), strict=True):
        (trained / "checkpoints").mkdir(parents=True)
        (trained / "checkpoints" / "best.ckpt").touch()
        OmegaConf.save({"backbone": {"name": backbone}}, trained / "config.yaml")
    assert sweep(evaluate, f"checkpoint={runs[0]},'{runs[1]}'", "localization.cam_threshold=0.1,0.2") == 0
    given = [next(a for a in command if a.startswith("checkpoint=")) for command in jobs.commands]
    assert given == [f"checkpoint={runs[0]}"] * 2 + [f"checkpoint='{runs[1]}'"] * 2


def test_the_grid_composes_one_job_of_each_kind(toy: Toy, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    part = toy.conf / "part"
    part.mkdir()
    for name in ("one", "two"):
        (part / f"{name}.yaml").write_text(f"part: {name}\n")
    for given, message in (
        (["+part=one,three", "error=0.1,0.2"], "part has no option three; it has one, two"),
        (["+part=one,two", "eror=0.1,0.2"], "eror is not an option of this configuration; did you mean error?"),
    ):
        assert sweep(toy, *given) == 1
        assert message in capsys.readouterr().err
        assert jobs.commands == []
    assert sweep(toy, "+part=one,two", "error=0.1,0.2") == 0
    assert [(row["part"], row["error"]) for row in summary()] == [
        *(("one", "0.1"), ("one", "0.2"), ("two", "0.1"), ("two", "0.2")),
    ]

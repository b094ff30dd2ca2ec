"""Sweeps as their user meets them: ``train.py -m``, and an entry of a few lines whose jobs last no time."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from omegaconf import OmegaConf

pytestmark = pytest.mark.integration
Entry = Callable[..., CompletedProcess[str]]

ROOT = Path(__file__).parent.parent
TOY_CONFIG = """
defaults: [{hydra: default}, {paths: default}, _self_]
do: nothing
text: ""
error: 0.5
overwrite: false
sweep: {fail_fast: false, skip_completed: false, metric: null}
"""
TOY_ENTRY = """
import sys
from pathlib import Path
from camloc.experiment.entry import Entry

Entry("toy", "toy_job:job", configuration=Path(__file__).parent / "conf").run(sys.argv[:1], sys.argv[1:])
"""
TOY_JOB = """
import os, signal, subprocess, sys, time
from camloc.experiment.run_directory import ReportedRow

def job(config, run):
    run.write_config(config)
    print("working on", config.do)
    if config.do == "raise":
        raise ValueError("the toy is broken")
    if config.do == "be_killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.do == "lose_a_rank":  # as Lightning ends the first process when another one has failed
        print("error: no room on this device (run directory: x)", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if config.do == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (run.path / "pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    ranks = sorted(name for name in os.environ if name.endswith("RANK") or name == "PL_GLOBAL_SEED")
    errors = {f"{split}/localization/gt_known_error": config.error for split in ("val", "test")}
    run.write_metrics({**errors, "ranks": " ".join(ranks)})
    run.write_rows([ReportedRow(key, "GT-known localization error", "min", "val") for key in errors])
"""

TOY_EVALUATE_CONFIG = """
defaults: [toy, {backbone: of_run}, _self_]
checkpoint: null
localization: {cam_threshold: null}
"""
TOY_EVALUATE = (
    TOY_ENTRY.replace('"toy"', '"evaluate"')
    .replace("configuration=", "offer_run, ")
    .replace("import Entry", "import Entry, offer_run")
)

TOY_SWEEPER = """
from hydra.core.config_store import ConfigStore
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

class ToySweeper(BasicSweeper):
    def sweep(self, arguments):
        first, = self.launcher.launch([["error=0.5"]], initial_job_idx=0)
        second, = self.launcher.launch([[f"error={first.return_value / 2}"]], initial_job_idx=1)
        third, = self.launcher.launch([["do=raise"]], initial_job_idx=2)
        print("told:", first.return_value, second.return_value, third.status.name)

ConfigStore.instance().store(group="hydra/sweeper", name="toy", node={
    "_target_": "hydra_plugins.toy_sweeper.ToySweeper", "max_batch_size": None})
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """An entry like ours whose jobs need no torch."""
    folder = tmp_path / "toy"
    for group in ("hydra", "paths"):
        shutil.copytree(ROOT / "conf" / group, folder / "conf" / group)
    (folder / "conf" / "toy.yaml").write_text(TOY_CONFIG)
    (folder / "toy_job.py").write_text(TOY_JOB)
    (folder / "toy.py").write_text(TOY_ENTRY)
    (folder / "hydra_plugins").mkdir()
    (folder / "hydra_plugins" / "toy_sweeper.py").write_text(TOY_SWEEPER)
    return folder / "toy.py"


def summary(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "sweep_summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mtimes(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_a_job_of_two_processes_has_one_directory_one_configuration_and_one_logger_run(
    entry: Entry, small: tuple[str, ...], tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    finished = entry(
        *("train.py", "-m", *small, "trainer.max_epochs=1", "trainer.devices=2", "callbacks.gallery=null"),
        *("logger=wandb", "optimizer.lr=0.02", f"hydra.sweep.dir={sweep}"),
    )
    assert finished.returncode == 0, finished.stderr
    assert [path.name for path in sweep.iterdir() if path.is_dir()] == ["0"]
    assert list(tmp_path.iterdir()) == [sweep]
    (row,) = summary(sweep)
    assert row["status"] == "completed"
    assert OmegaConf.load(sweep / "0" / "config.yaml").optimizer.lr == 0.02
    metrics = json.loads((sweep / "0" / "metrics.json").read_text())
    assert float(row["test/localization/gt_known_error"]) == metrics["test/localization/gt_known_error"]
    assert metrics["test/localization/num_images"] == 20  # together, not each
    assert len((sweep / "0" / "metrics.csv").read_text().splitlines()) == 2
    assert len(list((sweep / "0" / "wandb").glob("offline-run-*"))) == 1


def run(toy: Path, *arguments: str, **environment: str) -> CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(toy), *arguments],
        cwd=toy.parent,
        env={**os.environ, "COLUMNS": "120", **environment},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_the_others_go_on_also_in_the_sweepers_next_batch(toy: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    failed = run(
        toy, "-m", "do=raise,be_killed,lose_a_rank,a", "hydra.sweeper.max_batch_size=2", f"hydra.sweep.dir={sweep}"
    )
    assert failed.returncode == 1
    assert [row["error"] for row in summary(sweep)] == [
        *("the toy is broken", "killed by SIGKILL", "no room on this device", ""),
    ]
    assert json.loads((sweep / "1" / "status.json").read_text()) == {"status": "failed", "error": "killed by SIGKILL"}
    assert "error: no room" in (sweep / "2" / "stderr.log").read_text()
    assert failed.stderr.count("error: no room") == 1  # shown as well
    assert failed.stdout.index("working on raise") < failed.stdout.index("-> failed: the toy is broken")


def test_values_reach_the_job_as_they_were_given(toy: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "a sweep, with=signs"
    texts = ["a,b=c [d]", "it's {x: 1}", "${do}"]
    given = ",".join('"' + text + '"' for text in texts)
    finished = run(
        toy, "-m", f"text={given}", f"hydra.sweep.dir='{sweep}'", "hydra.sweep.subdir=${hydra.job.num}_${do}"
    )
    assert finished.returncode == 0, finished.stderr
    configs = [OmegaConf.load(sweep / f"{job}_nothing" / "config.yaml") for job in range(3)]
    assert [config.text for config in configs] == [*texts[:2], "nothing"]
    assert [row["directory"] for row in summary(sweep)] == ["0_nothing", "1_nothing", "2_nothing"]


def test_each_run_of_a_sweep_is_evaluated_with_its_own_parts(toy: Path, tmp_path: Path) -> None:
    (toy.parent / "conf" / "evaluate.yaml").write_text(TOY_EVALUATE_CONFIG)
    (toy.parent / "evaluate.py").write_text(TOY_EVALUATE)
    runs = [tmp_path / "one", tmp_path / "a, b=c"]
    for trained, backbone in zip(runs, ("alexnet", "vgg"), strict=True):
        (trained / "checkpoints").mkdir(parents=True)
        (trained / "checkpoints" / "best.ckpt").touch()
        (trained / "config.yaml").write_text(f"backbone: {{name: {backbone}}}")
    finished = run(
        toy.parent / "evaluate.py",
        *("-m", f"checkpoint={runs[0]},'{runs[1]}'", "localization.cam_threshold=0.1,0.2"),
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )
    assert finished.returncode == 0, finished.stderr
    assert "one evaluation for" not in finished.stdout  # not one network's maps for all
    configs = [OmegaConf.load(tmp_path / "sweep" / job / "config.yaml") for job in "0123"]
    assert [config.backbone.name for config in configs] == ["alexnet", "alexnet", "vgg", "vgg"]
    assert [config.checkpoint for config in configs] == [str(trained) for trained in runs for _ in range(2)]
    assert [config.localization.cam_threshold for config in configs] == [0.1, 0.2] * 2


def test_the_best_job_is_marked_and_a_job_inherits_no_rank(toy: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    left_over = {"LOCAL_RANK": "0", "NODE_RANK": "3", "PL_GLOBAL_SEED": "1"}
    finished = run(toy, "-m", "error=0.5,0.25,0.75", f"hydra.sweep.dir={sweep}", **left_over)
    assert finished.returncode == 0, finished.stderr
    assert "Best: job 2 (error=0.25), val/localization/gt_known_error = 0.2500" in finished.stdout
    assert [line.split()[0] for line in finished.stdout.splitlines() if line.rstrip().endswith(" best")] == ["2"]
    assert json.loads((sweep / "0" / "metrics.json").read_text())["ranks"] == ""


def test_a_sweeper_that_optimizes_is_told_the_metric_and_the_failure(toy: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    finished = run(toy, "-m", "hydra/sweeper=toy", f"hydra.sweep.dir={sweep}")
    assert "told: 0.5 0.25 FAILED" in finished.stdout
    assert finished.returncode == 1
    assert "job 3 of 3: do=raise -> failed: the toy is broken" in finished.stdout
    assert [(row["error"], row["status"]) for row in summary(sweep)] == [
        *(("0.5", "completed"), ("0.25", "completed"), ("", "failed")),
    ]
    unknown = run(toy, "-m", "hydra/sweeper=toy", "sweep.metric=val/typo", f"hydra.sweep.dir={tmp_path / 'other'}")
    assert unknown.returncode == 1
    assert "reports no number val/typo; sweep.metric is one of: val/localization/gt_known_error" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_a_killed_job_runs_again_and_sweep_options_are_no_part_of_a_job(toy: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    command = ("-m", "error=0.5,0.25", f"hydra.sweep.dir={sweep}")
    assert run(toy, *command, "sweep.fail_fast=true").returncode == 0
    config = (sweep / "1" / "config.yaml").read_text()
    (sweep / "1" / "status.json").write_text('{"status": "running", "error": null}')
    continued = run(toy, *command, "sweep.skip_completed=true")
    assert continued.returncode == 0, continued.stderr
    assert [row["status"] for row in summary(sweep)] == ["skipped", "completed"]
    assert (sweep / "1" / "config.yaml").read_text() == config


def test_another_sweeps_directory_is_refused_before_anything_runs(toy: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    assert run(toy, "-m", "error=0.5", f"hydra.sweep.dir={sweep}").returncode == 0
    before = mtimes(sweep / "0")
    refused = run(toy, "-m", "do=a", "error=0.1,0.5", f"hydra.sweep.dir={sweep}", "sweep.skip_completed=true")
    assert refused.returncode == 1
    assert f"{sweep / '0' / 'job.json'} is of another job, error=0.5 instead of do=a error=0.1" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert mtimes(sweep / "0") == before
    (sweep / "0" / "job.json").unlink()
    refused = run(toy, "-m", "error=0.5", f"hydra.sweep.dir={sweep}", "sweep.skip_completed=true")
    assert "holds a run, but no job.json" in refused.stderr


def heed_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job, which tests may be, ignores it


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_sweep_stops_its_job_with_all_processes(
    number: signal.Signals, toy: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    command = [sys.executable, str(toy), "-m", "do=a,hang,b", f"hydra.sweep.dir={sweep}"]
    with subprocess.Popen(command, cwd=toy.parent, stdout=subprocess.PIPE, preexec_fn=heed_sigint) as process:  # noqa: PLW1509 - no threads
        pids = sweep / "1" / "pids"
        for _ in range(600):
            if pids.exists() and len(pids.read_text().split()) == 2:
                break
            time.sleep(0.1)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert [row["status"] for row in summary(sweep)] == ["completed", "interrupted"]
    assert json.loads((sweep / "1" / "status.json").read_text())["status"] == "failed"
    for _ in range(100):  # killed, they may yet take a moment
        if not any(alive(int(pid)) for pid in pids.read_text().split()):
            return
        time.sleep(0.1)
    pytest.fail("a process of the job is still there")


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from camloc.experiment.sweep.process import clean_environment, exit_reason, job_command, run_process_tree


def test_nothing_of_an_earlier_run_is_inherited_and_all_else_is() -> None:
    left_over = dict.fromkeys(
        (
            *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
            *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
            *("PL_GLOBAL_SEED", "PL_TRAINER_DEVICES", "WANDB_RUN_ID", "WANDB_SERVICE", "WANDB_RESUME"),
        ),
        "1",
    )
    kept = {
        **dict.fromkeys(("PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "WANDB_MODE", "WANDB_API_KEY"), "x"),
        **dict.fromkeys(("HYDRA_FULL_ERROR", "PLACE", "RANKING"), "y"),
    }
    assert clean_environment({**left_over, **kept}) == {**kept, "PYTHONUNBUFFERED": "1"}


def test_what_is_about_sweeping_is_left_out_of_a_jobs_command() -> None:
    about_sweeping = [
        *("hydra.mode=MULTIRUN", "hydra.sweep.dir=x", "hydra.sweep.subdir=${hydra.job.num}", "hydra.run.dir=y"),
        *("hydra/launcher=processes", "hydra/sweeper=optuna", "hydra/sweeper/sampler=random"),
        *("hydra.sweeper.n_trials=3", "+hydra.sweeper.params.seed='1,2'", "hydra.job.num=9"),
    ]
    kept = ["hydra.job.name=mine", "hydra.verbose=true", "~hydra.job.env_set"]
    command = job_command(["python", "train.py"], ["seed=1"], [*about_sweeping, *kept], Path("/sweep/3"), 3)
    assert command == [
        *("python", "train.py", "seed=1", *kept),
        *("hydra.run.dir='/sweep/3'", "hydra.job.num=3", "hydra.job.id=3", "hydra.mode=RUN"),
    ]


@pytest.mark.parametrize("name", ["a b", "lr=0.1,wd=0", "[1]{x}", "it's", "back\\slash", 'say "x"', "end\\"])
def test_any_directory_reaches_hydra_as_it_is(name: str) -> None:
    argument = next(a for a in job_command([], [], [], Path("/sweep") / name, 0) if a.startswith("hydra.run.dir="))
    override = OverridesParser.create().parse_override(argument)
    assert override.value() == f"/sweep/{name}"


@pytest.mark.parametrize(
    ("exit_code", "stderr", "reason"),
    [
        (1, "warning: x\nerror: no such file (run directory: /r)\n\n", "no such file"),
        (-9, "error: out of memory\nChild process with PID 7 terminated\n", "out of memory"),
        (-9, "", "killed by SIGKILL"),
        (-11, "some warning\n", "killed by SIGSEGV"),
        (
            1,
            "Traceback ...\nModuleNotFoundError: No module named 'x'\n",
            "exit code 1: ModuleNotFoundError: No module named 'x'",
        ),
        (3, None, "exit code 3"),
    ],
)
def test_why_a_process_ended(exit_code: int, stderr: str | None, reason: str, tmp_path: Path) -> None:
    log = tmp_path / "stderr.log"
    if stderr is not None:
        log.write_text(stderr)
    assert exit_reason(exit_code, log) == reason


def test_what_a_failed_process_leaves_behind_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    leave_one = (
        "import subprocess, sys, pathlib\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(left.pid))\n"
        "print('going', file=sys.stderr)\n"
        "sys.exit(7)"
    )
    log = tmp_path / "stderr.log"
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    assert run_process_tree([sys.executable, "-c", leave_one], tmp_path, log) == 7
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)] == handlers
    assert log.read_text() == "going\n"
    state = Path(f"/proc/{pid.read_text()}/status")
    for _ in range(100):  # killed, it may yet take a moment
        if not state.exists() or "State:\tZ" in state.read_text():
            return
        time.sleep(0.1)
    pytest.fail("it is still there")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_an_interruption_reaches_the_processes_before_this_one_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    ready, told = tmp_path / "ready", tmp_path / "told"
    wait = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"  # as below a shell's background job
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(told)!r}).touch(), sys.exit(3)))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(600)"
    )

    def interrupt() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run_process_tree([sys.executable, "-c", wait], tmp_path, tmp_path / "stderr.log")
    assert told.exists()
    assert signal.getsignal(number) == handler

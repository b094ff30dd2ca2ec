"""One job as a process tree: its command, its environment, its end."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from hydra.core.override_parser.types import Quote, QuotedString

from camloc.experiment.interruption import SECONDS_TO_STOP, SIGNALS

_INHERITED = frozenset(
    (
        *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "ROLE_NAME"),
        *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
        *("MASTER_ADDR", "MASTER_PORT"),
        *("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SERVICE"),
    )
)
_INHERITED_PREFIXES = ("TORCHELASTIC_", "PL_", "_WANDB_")
# Of the sweep itself; a job must not have them.
_SWEEP_OPTIONS = (
    *("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.sweep."),
    *("hydra.mode", "hydra.run.dir", "hydra.job.num", "hydra.job.id"),
)
_SECONDS_TO_STOP = SECONDS_TO_STOP + 5


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what an earlier run may have set and a new run would take for its own.

    Args:
        environment: Of this process.

    Returns:
        For a job: without ranks and addresses of process groups, seeds, and the logger's run.

    Example:
        >>> clean_environment({"PATH": "/bin", "LOCAL_RANK": "1", "PL_GLOBAL_SEED": "0"})
        {'PATH': '/bin', 'PYTHONUNBUFFERED': '1'}
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _INHERITED and not name.startswith(_INHERITED_PREFIXES)
    }
    # Else a job's lines would come late, and in another order than the sweep's own.
    return {**kept, "PYTHONUNBUFFERED": "1"}


def job_command(
    program: Sequence[str],
    overrides: Sequence[str],
    hydra_overrides: Sequence[str],
    directory: Path,
    number: int,
) -> list[str]:
    """Return the command of a job: a single run in a directory that all its processes share.

    Args:
        program: Interpreter, script and options that choose the configuration.
        overrides: Of the job, in Hydra's grammar; no shell reads them.
        hydra_overrides: The sweep's own ``hydra.*`` overrides; what is about sweeping is left out.
        directory: Of the job.
        number: Of the job, 0-based as Hydra counts.

    Example:
        >>> job_command(["python", "train.py"], ["optimizer.lr=0.1"], ["hydra.mode=MULTIRUN"], Path("sweep/a=1,b=2"), 0)
        ... # doctest: +NORMALIZE_WHITESPACE
        ['python', 'train.py', 'optimizer.lr=0.1', "hydra.run.dir='sweep/a=1,b=2'", 'hydra.job.num=0',
         'hydra.job.id=0', 'hydra.mode=RUN']
    """
    kept = [override for override in hydra_overrides if not override.lstrip("+~").startswith(_SWEEP_OPTIONS)]
    run_dir = QuotedString(str(directory), Quote.single).with_quotes()
    own = (f"hydra.run.dir={run_dir}", f"hydra.job.num={number}", f"hydra.job.id={number}", "hydra.mode=RUN")
    return [*program, *overrides, *kept, *own]


def run_process_tree(command: Sequence[str], cwd: Path, stderr_log: Path) -> int:
    """Run a command; its output is shown as it comes, what it writes to stderr is kept as well.

    The processes are a session of their own: interrupted, all of them are stopped, and when the first one fails, the
    ones it leaves behind are killed, so that the next job finds its devices free.

    Args:
        command: See :func:`job_command`.
        cwd: Working directory.
        stderr_log: Where stderr is kept; stdout, which has the progress bar, is the terminal's alone.

    Returns:
        The exit code, negative the signal that killed the first process.

    Raises:
        KeyboardInterrupt: On Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP, after the processes have ended.
    """
    with _SignalsInterrupt():
        process = subprocess.Popen(  # noqa: S603 - this interpreter and this script
            command,
            cwd=cwd,
            env=clean_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if process.stderr is None:
            raise AssertionError("a pipe was asked for")
        copier = threading.Thread(target=_copy, args=(process.stderr, stderr_log), daemon=True)
        copier.start()
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Not SIGINT, which is ignored below a shell's background job.
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C waits no longer
                process.wait(_SECONDS_TO_STOP)
            raise
        finally:
            if process.returncode != 0:
                _signal(process, signal.SIGKILL)
                process.wait()
            copier.join(timeout=5)  # a process that was left behind may hold the pipe


def exit_reason(exit_code: int, stderr_log: Path) -> str:
    """Say why a process ended that could not say it in its ``status.json``.

    Args:
        exit_code: Negative for a signal.
        stderr_log: Of the process tree; under DDP the process that failed need not be the one that writes the status.
    """
    text = stderr_log.read_text(encoding="utf-8", errors="replace") if stderr_log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if said:
        return said[-1].partition(" (run directory: ")[0]
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}" + (f": {lines[-1]}" if lines else "")


class _SignalsInterrupt:
    """While a job runs, what would end this process alone ends the job first."""

    def __enter__(self) -> None:
        # A signal that is ignored, as SIGHUP below nohup, stays ignored; SIGINT is Python's own.
        wanted = [s for s in SIGNALS if signal.getsignal(s) == signal.SIG_DFL]
        self._before = {s: signal.signal(s, signal.default_int_handler) for s in wanted}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, number)


def _copy(stream: IO[bytes], log: Path) -> None:
    with log.open("wb") as file:
        for chunk in _chunks(stream):
            file.write(chunk)
            file.flush()
            sys.stderr.buffer.write(chunk)
            sys.stderr.flush()


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := os.read(stream.fileno(), 1 << 16):
        yield chunk

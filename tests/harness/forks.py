"""Commands in processes forked from this one, which has imported torch already."""

import contextlib
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.entry_server import IMPORTED, become

ROOT = Path(__file__).parent.parent.parent
HANGS_AFTER = 120.0
"""Seconds in which each command of the harness ends many times."""


class Ended(NamedTuple):
    """What a command left."""

    code: int
    """Negative for a signal."""
    stdout: str
    stderr: str
    hung: bool
    """Whether it, or a process that it had started, had to be killed."""


class Running:
    """A command in a process, and process group, of its own.

    Args:
        script: Below the repository, such as ``train.py``.
        arguments: Of the command line.
        folder: For what it prints; it is the working directory, too.
    """

    def __init__(self, script: str, arguments: list[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._printed = {name: folder / name for name in ("stdout", "stderr")}
        for file in self._printed.values():
            file.write_bytes(b"")
        sys.stdout.flush()
        if (process := os.fork()) == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job of a shell ignores
            own = {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "XDG_CACHE_HOME": str(folder / "cache")}
            request: dict[str, Any] = {"script": str(ROOT / script), "arguments": arguments, "cwd": str(folder)}
            request |= {"environment": {**os.environ, **own, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
            request |= {name: str(file) for name, file in self._printed.items()}
            become(request)
            raise ForkedError(request["script"])
        self.process = process
        self.ended = 0.0
        """When its first process was found to have ended, of the clock ``time.monotonic``."""
        self._status = 0

    def members(self) -> list[int]:
        """Return its processes, the first first."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process and fields[0] != "Z":
                    found.append(int(entry.name))
        return sorted(found)

    def has_ended(self) -> bool:
        """Return whether its first process has ended."""
        if not self.ended:
            found, self._status = os.waitpid(self.process, os.WNOHANG)
            self.ended = time.monotonic() if found else 0.0
        return self.ended > 0

    def wait(self, seconds: float = HANGS_AFTER) -> Ended:
        """Wait until all its processes have ended, and kill them when the time is over."""
        end, hung = time.monotonic() + seconds, False
        while not self.has_ended() or self.members():
            if time.monotonic() > end:
                hung = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process, signal.SIGKILL)
            time.sleep(0.02)
        printed = {name: file.read_text(errors="replace") for name, file in self._printed.items()}
        return Ended(os.waitstatus_to_exitcode(self._status), printed["stdout"], printed["stderr"], hung)


class ForkedError(BaseException):
    """Unwinds the stack of the harness in a forked process, so that nothing of the harness is on it."""


def run(script: str, arguments: list[str], folder: Path, seconds: float = HANGS_AFTER) -> Ended:
    """Run a command to its end."""
    return Running(script, arguments, folder).wait(seconds)


def become_the_command(forked: BaseException) -> None:
    """Run the script in a forked process, and end as any script does."""
    runpy.run_path(str(forked), run_name="__main__")


def import_once() -> None:
    """Import what commands need, before they are forked."""
    for name in IMPORTED:
        __import__(name)
    torch.set_num_threads(1)  # more would wait for each other, and cannot be forked once they have begun

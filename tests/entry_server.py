"""Runs scripts, each in a process forked from one that has imported torch and camloc already; started by conftest.py.

A request is a line of JSON on stdin: script, arguments, cwd, environment, files for stdout and stderr, and seconds
until it is killed. The answer is a line with its exit code, negative for a signal, as ``subprocess`` gives it.
"""

import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

IMPORTED = (
    "camloc.experiment.entry",
    "camloc.experiment.evaluate",
    "camloc.experiment.train",
    "matplotlib.pyplot",
)


def wait(process: int, seconds: float) -> int:
    """Return a process's exit code, and kill it when its time is over."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(process, 9)
        time.sleep(0.02)


def become(request: dict[str, Any]) -> None:
    """Make this process look like one that Python has just started for the script."""
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), (request["stdout"], os.O_WRONLY), (request["stderr"], os.O_WRONLY))
    ):
        file = os.open(path, flags | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = [request["script"], *request["arguments"]]
    sys.path[0] = str(Path(request["script"]).parent)


def serve() -> dict[str, Any] | None:
    """Answer requests; return in a forked process with its own, and None when there are no more."""
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        if (process := os.fork()) == 0:
            become(request)
            return request
        print(wait(process, request["seconds"]), flush=True)  # noqa: T201 - the answer
    return None


if __name__ == "__main__":  # doctest imports every file
    for name in IMPORTED:
        __import__(name)
    if mine := serve():
        runpy.run_path(mine["script"], run_name="__main__")  # and ends as any script, with its atexit functions

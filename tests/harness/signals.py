"""Signals at random moments of a training: it ends, says what is kept, and goes on as if nothing had happened."""

import contextlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.harness.forks import Ended, Running
from tests.harness.trainings import SECONDS, Reference, Training, difference, make_reference
from tests.harness.verdicts import TRACEBACK, Tally

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
ENDS_WITHIN = 60.0
"""Seconds; 30 are promised, and other work may keep the machine busy."""
_SAID = r"^error: interrupted by SIG\w+; "
_KEPT = re.compile(_SAID + r"what was trained until ([\d:]{8}) is kept; resume=(\S+) continues$")
_NOTHING_KEPT = re.compile(
    r"^error: interrupted by SIG\w+; no checkpoint was written yet; give the same command again$"
)


def signals_part(seed: int, count: int, folder: Path, step: Callable[[str], None]) -> list[Tally]:
    """Send ``count`` signals to trainings of one and of two processes, and judge how each ends and goes on.

    Raises:
        RuntimeError: If a training without a signal fails.
    """
    references: dict[int, Reference] = {}
    tallies = {
        (number, processes): Tally(f"{number.name}, {processes} process{'es' * (processes - 1)}", seed)
        for processes in (1, 2)
        for number in SIGNALS
    }
    for case in range(count):
        random = Random(f"{seed} {case}")
        number, processes = random.choice(list(tallies))
        if processes not in references:
            references[processes] = make_reference(folder / f"reference of {processes}", processes)
        reference = references[processes]
        shutil.rmtree(folder / "work", ignore_errors=True)
        training = Training(folder / "work", folder / "work" / "run", processes)
        place = reference.draw(random)
        running = training.start()
        struck = _strike(running, training, reference, place, number, random)
        ended = running.wait(ENDS_WITHIN)
        verdict, shown = _judge(ended, number, training, reference)
        what = f"{number.name} to {struck} in {reference.marks[place].moment}"
        tallies[number, processes].add(verdict, f"seed {seed}, case {case} ({what})", shown)
        step(f"{what}: {verdict}")
    return list(tallies.values())


def _strike(
    running: Running, training: Training, reference: Reference, place: int, number: signal.Signals, random: Random
) -> str:
    """Send a signal somewhere between a mark and the next one, and return to which processes."""
    began, next_one = reference.marks[place : place + 2]
    end = time.monotonic() + SECONDS
    while len(marks := training.marks()) <= place and not running.has_ended() and time.monotonic() < end:
        time.sleep(0.001)
    if len(marks) > place:
        time.sleep(max(marks[place].time + random.uniform(0, next_one.time - began.time) - time.monotonic(), 0))
    members = running.members()
    to_all = random.random() < 1 / 4  # as a terminal does
    struck = members if to_all else random.sample(members, min(len(members), 1))
    for process in struck:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    if to_all or not struck:
        return f"{len(struck)} of {len(members)} processes"
    return "the first process" if struck[0] == running.process else "the second process"


def _judge(ended: Ended, number: signal.Signals, training: Training, reference: Reference) -> tuple[str, Ended]:
    """Return the verdict and what was printed by the command that it is about."""
    if ended.hung:
        return "hang", ended
    status = training.run / "status.json"
    said = json.loads(status.read_text())["status"] if status.is_file() else None
    if said == "completed":
        return difference(training.run, reference.run) or "same", ended
    # Before there is a status, Python's own answer to a signal is right.
    if said is not None and number != signal.SIGKILL and (wrong := _wrong_end(ended, said, training)):
        return wrong, ended
    return training.go_on(reference.run)


def _wrong_end(ended: Ended, status: str, training: Training) -> str:
    """Return what is wrong with the end that a signal has brought about; empty if nothing is."""
    if TRACEBACK in ended.stderr + ended.stdout:
        return "traceback"
    if status == "running":
        return "left running"
    if ended.code not in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return f"exit code {ended.code}"
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error")]
    if len(lines) != 1:
        return "not one line"
    if not training.last.is_file():
        return "" if _NOTHING_KEPT.match(lines[0]) else "wrong word"
    kept = _KEPT.match(lines[0])
    until = time.strftime("%H:%M:%S", time.localtime(training.last.stat().st_mtime))
    return "" if kept and kept.groups() == (until, str(training.run)) else "wrong word"

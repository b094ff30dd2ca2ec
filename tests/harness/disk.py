"""A disk that is full at random bytes: one line, whole files, and a run that goes on once there is room."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from camloc.experiment.checkpoint import load_checkpoint
from tests.harness.forks import Ended
from tests.harness.moments import START
from tests.harness.trainings import SECONDS, Reference, Training, difference, make_reference
from tests.harness.verdicts import Tally, refusal

_PAGE = 4096
_SIZE = 2**28
"""Bytes of the disk: some checkpoints, of which three are there at once, and all else."""
_PRIVATE = "CAMLOC_HARNESS_IS_PRIVATE"


def become_private(arguments: list[str]) -> None:
    """Begin this program again where disks can be mounted that no other process sees, if the system allows that."""
    if _PRIVATE in os.environ or not shutil.which("unshare"):
        return
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        python = ["unshare", *options, sys.executable]
        if not subprocess.run([*python, "-c", ""], check=False, capture_output=True).returncode:
            command = [*python, "-m", "tests.harness", *arguments]
            os.execvpe("unshare", command, {**os.environ, _PRIVATE: "1"})  # noqa: S606, S607 - of the system


def disk_part(seed: int, count: int, folder: Path, step: Callable[[str], None]) -> list[Tally]:
    """Let the disk of ``count`` trainings run full, each at a moment of its own, and judge how each ends and goes on.

    Raises:
        RuntimeError: If a training with room enough fails.
    """
    disk = folder / "disk"
    disk.mkdir()
    if problem := _mount(disk):
        skipped = Tally(f"full disk, cannot be made here: {problem}", seed)
        for _ in range(count):
            skipped.add("skipped", "")
        return [skipped]
    reference = make_reference(folder / "reference", 1)
    rooms = _rooms(reference.run)
    tallies = {moment: Tally(f"full disk, {moment}", seed) for moment in rooms}
    for case in range(count):
        random = Random(f"{seed} {case}")
        moment = random.choice(list(rooms))
        place = random.choice([place for place, mark in enumerate(reference.marks) if mark.moment == moment])
        room = random.randint(0, rooms[moment])
        training = Training(folder / "work", disk / "run")
        running = training.start(fill=f"{place}:{room}:{disk / 'ballast'}")
        ended = running.wait(SECONDS)
        verdict, shown = _judge(ended, training, reference, disk / "ballast")
        what = f"{room} bytes left in {moment}, mark {place}"
        tallies[moment].add(verdict, f"seed {seed}, case {case} ({what})", shown)
        step(f"{what}: {verdict}")
        shutil.rmtree(training.run, ignore_errors=True)
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607 - of the system
    return list(tallies.values())


def _rooms(run: Path) -> dict[str, int]:
    """Return the most bytes to leave at each moment that writes, by what a run has written in the end."""
    sizes = {file.relative_to(run): -(-file.stat().st_size // _PAGE) * _PAGE for file in run.rglob("*.*")}
    gallery = sum(size for file, size in sizes.items() if file.parent.name == "gallery")
    checkpoints = sum(size for file, size in sizes.items() if file.suffix == ".ckpt")
    return {
        START: 10 * _PAGE,
        "epoch's end": 3 * _PAGE,
        "checkpoint": checkpoints,
        "test": gallery,
        "report": sum(sizes.values()) - gallery - checkpoints,
    }


def _mount(disk: Path) -> str:
    """Mount a disk of its own; return why that is not possible."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "camloc", str(disk)]
    if _PRIVATE not in os.environ:
        return "unshare is missing or not permitted"
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    return mounted.stderr.strip().replace("\n", " ") if mounted.returncode else ""


def _judge(ended: Ended, training: Training, reference: Reference, ballast: Path) -> tuple[str, Ended]:
    """Return the verdict and what was printed by the command that it is about; the disk gets its room back."""
    torn = next((file.name for file in sorted(training.run.rglob("*")) if not _is_whole(file)), "")
    ballast.unlink(missing_ok=True)
    if torn:
        return f"torn {torn}", ended
    verdict = refusal(ended)
    if verdict == "accepted":
        return difference(training.run, reference.run) or "same", ended
    status = training.run / "status.json"
    if verdict != "refused":
        return verdict, ended
    if status.is_file() and json.loads(status.read_text())["status"] != "failed":
        return "left running", ended
    if ("resume=" in ended.stderr) != training.last.is_file():
        return "wrong word", ended
    return training.go_on(reference.run)


def _is_whole(file: Path) -> bool:
    if file.name.endswith(".partial"):
        return False
    if file.suffix not in _READ or ".hydra" in file.parts:  # Hydra's own files, which nothing reads
        return True
    try:
        _READ[file.suffix](file)
    except Exception:  # noqa: BLE001 - whatever a reader says of half a file
        return False
    return True


def _read_csv(file: Path) -> None:
    text = file.read_text()
    if not text.endswith("\n") or len({len(row) for row in csv.reader(text.splitlines())}) != 1:
        raise ValueError("a torn line")


_READ: dict[str, Callable[[Path], object]] = {
    ".json": lambda file: json.loads(file.read_text()),
    ".csv": _read_csv,
    ".ckpt": load_checkpoint,
    ".npz": lambda file: dict(np.load(file)),
    ".png": lambda file: Image.open(file).load(),
    ".html": lambda file: file.read_text().rindex("</html>"),
    ".yaml": lambda file: file.read_text().rindex("camloc_version: "),  # which is its last line
}
"""How files are read as a whole; each raises for half of one."""

"""``train.py``, which says what it does: ``moments.py MARKS FILL OVERRIDES...``; started by ``trainings.py``.

MARKS gets a line with the time and the name of each moment as it begins. FILL is empty, or ``N:BYTES:BALLAST``: when
the N-th moment begins, the file BALLAST takes its disk but for BYTES.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from runpy import run_path
from typing import Any

import camloc.experiment.train as train_job
from camloc.callbacks.epoch_csv import EpochCsv
from camloc.experiment.checkpoint import WholeCheckpoints
from camloc.experiment.training import TrainingModule

ROOT = Path(__file__).parent.parent.parent
START = "start-up"
BEGINS: dict[str, tuple[Any, str]] = {
    "training": (TrainingModule, "training_step"),
    "validation": (TrainingModule, "validation_step"),
    "epoch's end": (EpochCsv, "on_train_epoch_end"),
    "checkpoint": (WholeCheckpoints, "save_checkpoint"),
    "test": (TrainingModule, "test_step"),
    "report": (train_job, "conclude"),
}
"""Each moment with the function that it begins with; ``start-up`` begins with this process."""


class Marks:
    """Writes moments to a file as they begin.

    Args:
        file: The file.
        fill: See above.
    """

    def __init__(self, file: str, fill: str) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        number, self._room, self._ballast = fill.split(":") if fill else ("-1", "", "")
        self._until_full = int(number)

    def begins(self, moment: str) -> None:
        """Write a moment down, and fill the disk if it is the one for it."""
        if self._until_full == 0:
            fill_disk(Path(self._ballast), int(self._room))
        self._until_full -= 1
        os.write(self._file, f"{time.monotonic()} {moment}\n".encode())

    def before(self, moment: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that a moment begins with."""

        @wraps(function)
        def marked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - those of any function
            self.begins(moment)
            return function(*args, **kwargs)

        return marked


def fill_disk(ballast: Path, room: int) -> None:
    """Leave so many bytes of the file's disk."""
    with ballast.open("wb") as file:
        disk = os.statvfs(ballast)
        if (taken := disk.f_bavail * disk.f_frsize - room) > 0:
            os.posix_fallocate(file.fileno(), 0, taken)


if __name__ == "__main__":  # doctest imports every file
    marks = Marks(sys.argv.pop(1), sys.argv.pop(1))
    marks.begins(START)
    for name, (owner, function) in BEGINS.items():
        setattr(owner, function, marks.before(name, getattr(owner, function)))
    # By which Lightning starts the other processes; they say nothing.
    sys.argv[0], sys.path[0] = str(ROOT / "train.py"), str(ROOT)
    run_path(sys.argv[0], run_name="__main__")

"""Small trainings that are stopped, gone on with, and compared with one that was not stopped."""

from pathlib import Path
from random import Random
from typing import NamedTuple

import torch

from tests.harness.forks import Ended, Running, run
from tests.harness.moments import BEGINS, START
from tests.harness.overrides import SMALL

MOMENTS = (START, *BEGINS)
SECONDS = 480.0
"""In which a whole training ends, on a machine that is busy with others."""
_OTHER = ("datamodule.batch_size", "callbacks")
# Batches of three are two to six in an epoch, so that a training can be stopped in the middle of one.
_TRAINING = (
    *(override for override in SMALL if not override.startswith(_OTHER)),
    *("datamodule.batch_size=3", "trainer.max_epochs=3", "callbacks.gallery.count=3"),
)


class Mark(NamedTuple):
    """A moment of a training as it began."""

    time: float
    """Of the clock ``time.monotonic``, seconds."""
    moment: str


class Training:
    """A training in a directory of its own.

    Args:
        folder: For what it prints and says.
        run: Its run directory.
        processes: How many.
    """

    def __init__(self, folder: Path, run: Path, processes: int = 1) -> None:
        self.folder, self.run = folder, run
        self.last = run / "checkpoints" / "last.ckpt"
        self._marks = folder / "marks"
        self._overrides = [*_TRAINING, f"trainer.devices={processes}", f"hydra.run.dir={run}"]

    def start(self, fill: str = "") -> Running:
        """Start it; for ``fill`` see ``moments.py``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._marks.unlink(missing_ok=True)
        return Running("tests/harness/moments.py", [str(self._marks), fill, *self._overrides], self.folder)

    def marks(self) -> list[Mark]:
        """Return what it has said so far."""
        lines = self._marks.read_text().splitlines() if self._marks.is_file() else []
        return [Mark(float(time), moment) for time, _, moment in (line.partition(" ") for line in lines)]

    def go_on(self, expected: Path) -> tuple[str, Ended]:
        """Resume it, or begin again where no checkpoint was kept, and judge the end by that of another one."""
        is_kept = self.last.is_file()
        arguments = [f"resume={self.run}"] if is_kept else self._overrides
        ended = run("train.py", arguments, self.folder / "again", SECONDS)
        if ended.code:
            return ("not resumed" if is_kept else "not begun again"), ended
        return difference(self.run, expected) or ("resumed" if is_kept else "begun again"), ended


class Reference(NamedTuple):
    """A training that was not stopped."""

    run: Path
    marks: list[Mark]
    """The last one is its end."""

    def draw(self, random: Random) -> int:
        """Return the place of a mark: each kind of moment is as probable, and each of a kind."""
        moment = random.choice(MOMENTS)
        return random.choice([place for place, mark in enumerate(self.marks) if mark.moment == moment])


def make_reference(folder: Path, processes: int) -> Reference:
    """Train to the end.

    Raises:
        RuntimeError: If that fails.
    """
    training = Training(folder, folder / "run", processes)
    running = training.start()
    ended = running.wait(SECONDS)
    if ended.code:
        raise RuntimeError(f"a training that nothing disturbs: {ended.stderr}")
    return Reference(training.run, [*training.marks(), Mark(running.ended, "end")])


def difference(run: Path, expected: Path) -> str:
    """Say which file is not that of the other training, bit by bit; empty if none."""
    for name in ("metrics.json", "metrics.csv"):
        if (run / name).read_bytes() != (expected / name).read_bytes():
            return f"wrong {name}"
    for name in ("best.ckpt", "last.ckpt"):
        if _weights(run / "checkpoints" / name) != _weights(expected / "checkpoints" / name):
            return f"wrong {name}"
    return ""


def _weights(checkpoint: Path) -> dict[str, bytes]:
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {name: weight.numpy().tobytes() for name, weight in weights.items()}

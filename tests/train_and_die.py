"""``train.py``, killed at a named moment: ``train_and_die.py MOMENT OVERRIDES...``; started by test_resume.py.

Moments: ``batch:N`` before the N-th training batch of this process, ``validation`` in the second epoch's validation,
``saving`` in the middle of writing the second epoch's checkpoint, ``full`` goes on there without room on the disk,
``term:N`` and ``usr1:N`` get SIGTERM and SIGUSR1 in the N-th batch, ``other:N`` gives it to the second process.
"""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

from torch import Tensor

from camloc.data.loading.sample import BoxedTrainBatch, EvalBatch, TrainBatch
from camloc.experiment.measuring.split_protocols import Counted
from camloc.experiment.training import TrainingModule

ROOT = Path(__file__).parent.parent
moment = number = ""
batches = 0
training_step, validation_step = TrainingModule.training_step, TrainingModule.validation_step
SIGNALS = {"term": signal.SIGTERM, "usr1": signal.SIGUSR1, "other": signal.SIGTERM}
HALF_A_CHECKPOINT = 10_000_000


def parents() -> Iterator[tuple[int, int]]:
    """Yield every process with its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        yield int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])


def die() -> None:
    process = os.getpid()
    if moment == "other":  # which runs train.py itself
        (process,) = (child for child, parent in parents() if parent == process)
    os.kill(process, SIGNALS.get(moment, signal.SIGKILL))


def let_no_file_grow() -> None:
    """Let the kernel end what writes more than half a checkpoint, or refuse it, where Python ignores the signal."""
    if moment == "saving":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF_A_CHECKPOINT, resource.RLIM_INFINITY))


def dying_training_step(self: TrainingModule, batch: TrainBatch | BoxedTrainBatch) -> Tensor:
    global batches  # noqa: PLW0603 - of this one process
    batches += 1
    if number and batches == int(number):
        die()
    if moment in ("saving", "full") and self.current_epoch == 1:
        let_no_file_grow()
    return training_step(self, batch)


def dying_validation_step(self: TrainingModule, batch: EvalBatch) -> Counted:
    if moment == "validation" and self.current_epoch == 1 and not self.trainer.sanity_checking:
        die()
    return validation_step(self, batch)


if __name__ == "__main__":  # doctest imports every file
    moment, _, number = sys.argv.pop(1).partition(":")
    TrainingModule.training_step = dying_training_step  # type: ignore[method-assign,assignment] # to die in it
    TrainingModule.validation_step = dying_validation_step  # type: ignore[method-assign,assignment] # to die in it
    sys.argv[0] = str(ROOT / "train.py")
    run_path(sys.argv[0], run_name="__main__")

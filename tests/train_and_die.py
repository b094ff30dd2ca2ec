"""``train.py``, killed at a named moment: ``train_and_die.py MOMENT OVERRIDES...``; started by test_resume.py.

Moments: ``batch:N`` before the N-th training batch of this process, ``validation`` in the second epoch's validation,
``saving`` in the middle of writing the second epoch's checkpoint, ``term:N`` gets SIGTERM in the N-th batch.
"""

import os
import signal
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import fsspec.implementations.local  # type: ignore[import-untyped] # it publishes no types
from torch import Tensor

from camloc.classifier import Classifier
from camloc.data.sample import EvalBatch, Prediction, TrainBatch

ROOT = Path(__file__).parent.parent
moment = number = ""
batches = 0
training_step, validation_step = Classifier.training_step, Classifier.validation_step
write = fsspec.implementations.local.LocalFileOpener.write


def die() -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":
        os.kill(os.getpid(), signal.SIGTERM if moment == "term" else signal.SIGKILL)


def dying_training_step(self: Classifier, batch: TrainBatch) -> Tensor:
    global batches  # noqa: PLW0603 - of this one process
    batches += 1
    if moment in ("batch", "term") and batches == int(number):
        die()
    return training_step(self, batch)


def dying_validation_step(self: Classifier, batch: EvalBatch) -> Prediction:
    if moment == "validation" and self.current_epoch == 1 and not self.trainer.sanity_checking:
        die()
    return validation_step(self, batch)


def dying_write(self: Any, data: bytes, *arguments: Any) -> Any:  # noqa: ANN401 - fsspec's
    if moment == "saving" and len(data) > 10_000 and batches >= 4:
        write(self, data[: len(data) // 2], *arguments)
        self.f.flush()
        die()
    return write(self, data, *arguments)


if __name__ == "__main__":  # doctest imports every file
    moment, _, number = sys.argv.pop(1).partition(":")
    Classifier.training_step = dying_training_step  # type: ignore[method-assign] # to die in it
    Classifier.validation_step = dying_validation_step  # type: ignore[method-assign] # to die in it
    fsspec.implementations.local.LocalFileOpener.write = dying_write
    sys.argv[0] = str(ROOT / "train.py")
    run_path(sys.argv[0], run_name="__main__")

"""``cost.json``: what a training took, for whoever compares methods."""

import contextlib
import json
import time
from typing import Protocol

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from camloc.callbacks.watched import RunPaths
from camloc.export.replaced import replaced


class Labelled(Protocol):
    """A training batch."""

    @property
    def target(self) -> Tensor:
        """(B,) or (B,C)."""


class TrainingCost(Callback):
    """Write after each epoch how many parameters were trained, on how many images, in how many seconds.

    ``seconds`` are those of whole epochs, ``training_seconds`` those without ``val``; a resumed training adds to what
    its earlier parts took. Numbers of every run differ, so they stand beside ``metrics.json`` and not in it.

    Args:
        run: Has the path of the file.
    """

    def __init__(self, run: RunPaths) -> None:
        self.path = run.cost
        self._images, self._seconds, self._training_seconds = 0, 0.0, 0.0
        self._epoch_began = self._validation_began = self._validated = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read what earlier parts of the run took."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a damaged file costs no training
            before = json.loads(self.path.read_text(encoding="utf-8"))
            images, seconds = int(before["images"]), float(before["seconds"])
            self._training_seconds = float(before["training_seconds"])
            self._images, self._seconds = images, seconds

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._epoch_began, self._validated = time.perf_counter(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Labelled, batch_idx: int
    ) -> None:
        """Count the images of all processes."""
        self._images += len(batch.target) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with it."""
        self._validated += time.perf_counter() - self._validation_began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file."""
        seconds = time.perf_counter() - self._epoch_began
        self._seconds += seconds
        self._training_seconds += seconds - self._validated
        if not trainer.is_global_zero:
            return
        parameters = list(pl_module.parameters())
        cost = {
            "parameters": sum(one.numel() for one in parameters),
            "trained_parameters": sum(one.numel() for one in parameters if one.requires_grad),
            "images": self._images,
            "seconds": round(self._seconds, 3),
            "training_seconds": round(self._training_seconds, 3),
        }
        with replaced(self.path) as partial:
            partial.write_text(json.dumps(cost, indent=2) + "\n", encoding="utf-8")

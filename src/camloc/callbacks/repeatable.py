"""What makes a training that was interrupted end like one that was not."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException


class Repeatable(Callback):
    """Draw each batch's random numbers from the seed and the step alone, and save when told to stop.

    Dropout then needs no state that a checkpoint would have to hold. On SIGTERM, with which clusters announce the end
    of a job, ``last.ckpt`` is written in the middle of the epoch; the rest of the epoch is trained after resuming.

    Args:
        seed: Of the run.
        last: The file.
    """

    def __init__(self, seed: int, last: Path) -> None:
        self.seed, self.last = seed, last

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401 - of no matter here
        batch_idx: int,
    ) -> None:
        """Seed this step of this process."""
        torch.manual_seed(((self.seed * 1_000_003 + trainer.global_step) * 1009 + trainer.global_rank) % 2**63)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save where the training stands, between two batches."""
        if isinstance(exception, SIGTERMException) and trainer.training:
            trainer.save_checkpoint(self.last)

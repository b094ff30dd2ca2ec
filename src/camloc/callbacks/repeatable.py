"""Makes an interrupted and resumed training end exactly like one that was never interrupted."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException


class Repeatable(Callback):
    """Seed each batch from the run's seed and the step alone, and save on SIGTERM.

    Dropout then has no state that a checkpoint would have to hold. On SIGTERM, which clusters send before a job ends,
    ``last.ckpt`` is written in the middle of the epoch; the rest of the epoch is trained after resuming.

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
        batch: Any,  # noqa: ANN401 - not looked at
        batch_idx: int,
    ) -> None:
        """Seed this step of this process."""
        torch.manual_seed(((self.seed * 1_000_003 + trainer.global_step) * 1009 + trainer.global_rank) % 2**63)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save where the training stands, between two batches."""
        if isinstance(exception, SIGTERMException) and trainer.training:
            trainer.save_checkpoint(self.last)

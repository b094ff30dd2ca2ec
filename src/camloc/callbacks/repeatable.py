"""Makes an interrupted and resumed training end exactly like one that was never interrupted."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class Repeatable(Callback):
    """Seed each batch from the run's seed and the step alone: dropout has no state that a checkpoint must hold.

    Args:
        seed: Of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401 - not looked at
        batch_idx: int,
    ) -> None:
        """Seed this step of this process."""
        torch.manual_seed(((self.seed * 1_000_003 + trainer.global_step) * 1009 + trainer.global_rank) % 2**63)

"""Stops a training that has diverged, before its weights replace a good checkpoint."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

CHECKED_EVERY = 100
"""Batches between two looks at the losses, where a look waits for the device; on the CPU each is looked at."""


class StopWhenNotFinite(Callback):
    """End a training as failed when a loss, a learning rate or a weight is not finite.

    Learning rates are numbers of Python and are looked at before every step. Losses stay on the device and are looked
    at every 100 batches and before every validation: a look waits for a GPU, and one per step would cost more than the
    up to 99 steps that a diverged training runs on. On the CPU every loss is looked at. Weights are looked at when an
    epoch ends, before it is saved: they can become infinite in its last step, after its last loss. All processes look
    at the same steps and stop together.
    """

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        """Of the batches since the last look."""
        self._first = 0
        """The batch that the first of them belongs to."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Look at the learning rates.

        Raises:
            FloatingPointError: If one is not finite.
        """
        for rate in _learning_rates(trainer):
            if not math.isfinite(rate):
                raise FloatingPointError(
                    f"epoch {trainer.current_epoch}, batch {batch_idx}: the learning rate is {rate:g}; give a finite "
                    "optimizer.lr, and look at scheduler and classifier.head_lr_multiplier"
                )

    def on_train_batch_end(  # type: ignore[override] # what automatic optimization returns
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Mapping[str, Any],
        batch: object,
        batch_idx: int,
    ) -> None:
        """Keep the batch's loss; look at them every 100 batches, on the CPU at each.

        Raises:
            FloatingPointError: If one is not finite.
        """
        if not self._losses:
            self._first = batch_idx
        self._losses.append(outputs["loss"])
        if len(self._losses) == CHECKED_EVERY or not _waits(outputs["loss"]):
            self._check_losses(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the losses since the last look; a diverged network is not worth measuring.

        Raises:
            FloatingPointError: If one is not finite.
        """
        if self._losses:
            self._check_losses(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at everything before checkpoints are saved.

        Raises:
            FloatingPointError: If a loss or a weight is not finite.
        """
        if self._losses:
            self._check_losses(trainer)
        val_loss = trainer.callback_metrics.get("val/loss")
        if val_loss is not None and not bool(val_loss.isfinite()):
            raise FloatingPointError(_advice(trainer, f"epoch {trainer.current_epoch}: the loss on val"))
        state = pl_module.state_dict()
        floating = [name for name, value in state.items() if value.is_floating_point()]
        is_finite = torch.stack([state[name].isfinite().all() for name in floating])
        if not bool(is_finite.all()):
            name = floating[int((~is_finite).int().argmax())]
            raise FloatingPointError(_advice(trainer, f"epoch {trainer.current_epoch}: the weight {name}"))

    def _check_losses(self, trainer: Trainer) -> None:
        losses, self._losses = torch.stack(self._losses), []
        # Of the processes, one may have met it a step before the others.
        num_finite = trainer.strategy.reduce(losses.isfinite().cumprod(dim=0).sum(), reduce_op="min")
        if int(num_finite) < len(losses):
            at = self._first + int(num_finite)
            raise FloatingPointError(_advice(trainer, f"epoch {trainer.current_epoch}, batch {at}: the loss"))


def _waits(loss: Tensor) -> bool:
    return loss.device.type != "cpu"


def _learning_rates(trainer: Trainer) -> list[float]:
    return [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]


def _advice(trainer: Trainer, what: str) -> str:
    rate = max(_learning_rates(trainer))
    half = ", or trainer.precision=bf16-mixed" if trainer.precision == "16-mixed" else ""
    return (
        f"{what} is not finite: the training has diverged (learning rate {rate:.3g}); try a lower optimizer.lr or "
        f"trainer.gradient_clip_val=1{half}; checkpoints of earlier epochs are kept"
    )

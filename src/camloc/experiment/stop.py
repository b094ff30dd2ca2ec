"""Stops the processes of a training together when a signal has come to one of them, and saves where it stands."""

import signal
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException
from pytorch_lightning.utilities.types import STEP_OUTPUT

from camloc.experiment.interruption import active


class _AgreedSignal:
    """In the place of what Lightning has for signals, whose handler calls a collective at any moment.

    Lightning raises where ``received_sigterm`` is true: after a batch, and after an epoch. It does so in each process
    for itself, so all of them must have the same value there.
    """

    received_sigterm = False

    def register_signal_handlers(self) -> None:
        """Leave ours, which are there from the start of the job to its end."""

    def teardown(self) -> None:
        """Nothing was registered."""


class StopTogether(Callback):
    """Stop all processes after the same batch or epoch; in the middle of an epoch save ``last.ckpt`` first.

    A signal that comes in validation is heeded after it, with the epoch's checkpoints, if there is time for that.

    Args:
        last: The file; the rest of the epoch is trained after resuming.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self._agreed = _AgreedSignal()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's
        """Take the place of Lightning's handler, before it is registered."""
        trainer._signal_connector = self._agreed  # type: ignore[assignment] # noqa: SLF001 - there is no public way

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Let signals wait for the next batch."""
        if job := active():
            job.deferred = True

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 - Lightning's
        outputs: STEP_OUTPUT,  # noqa: ARG002 - Lightning's
        batch: object,  # noqa: ARG002 - Lightning's
        batch_idx: int,  # noqa: ARG002 - Lightning's
    ) -> None:
        """Agree whether to stop after this batch."""
        self._agree(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Validate to the end: some processes may have fewer batches than others, and would not agree before it."""
        self._agreed.received_sigterm = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Agree again after a validation in the middle of an epoch."""
        if trainer.training or (trainer.state.fn == "fit" and not trainer.sanity_checking):
            self._agree(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Agree whether to stop once the epoch's checkpoints are written."""
        self._agree(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's
        """Let signals act at once again: all that was trained is saved.

        Raises:
            Interrupted: If one has come.
        """
        if job := active():
            job.raise_pending()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002 - Lightning's
        """Save where the training stands, between two batches."""
        progress = trainer.fit_loop.epoch_progress.current
        in_epoch = progress.processed < progress.ready  # type: ignore[attr-defined] # it has a field more than it says
        if isinstance(exception, SIGTERMException) and in_epoch:
            trainer.save_checkpoint(self.last)
        if job := active():
            job.deferred = False

    def _agree(self, trainer: Trainer) -> None:
        job = active()
        wanted = job is not None and job.number is not None
        if trainer.world_size > 1:
            wanted = trainer.strategy.reduce_boolean_decision(wanted, all=False)
        if wanted and job is not None and job.number is None:
            job.number = signal.SIGTERM
        self._agreed.received_sigterm = wanted

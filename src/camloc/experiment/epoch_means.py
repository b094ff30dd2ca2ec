"""Keeps the means of an unfinished epoch in its checkpoint, so that a resumed one is averaged over all its batches."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from camloc.experiment.checkpoint import trained_so_far

SUMS_KEY = "camloc_epoch_sums"


class EpochMeans(Callback):
    """Go on with the sums of what is averaged over an epoch when a training resumes in the middle of one.

    Lightning keeps them in no checkpoint: the training loss of such an epoch would be that of its last batches.
    """

    def __init__(self) -> None:
        self._earlier: dict[str, Tensor] = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - Lightning's
        """Add each process's sums and counts, (processes, 2) by name, in the middle of an epoch."""
        sums = _sums(trainer)
        if sums and trained_so_far(checkpoint)[1]:
            own = torch.stack([torch.stack((m.value.double(), m.cumulated_batch_size.double())) for m in sums.values()])
            of_all = trainer.strategy.all_gather(own).reshape(-1, len(sums), 2).cpu()
            checkpoint[SUMS_KEY] = {name: of_all[:, index] for index, name in enumerate(sums)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - the same
        """Remember them."""
        self._earlier = checkpoint.get(SUMS_KEY, {})

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 - Lightning's
        outputs: object,  # noqa: ARG002 - Lightning's
        batch: object,  # noqa: ARG002 - Lightning's
        batch_idx: int,  # noqa: ARG002 - Lightning's
    ) -> None:
        """Add them to those of the first batch."""
        earlier, self._earlier = self._earlier, {}
        sums = _sums(trainer) if earlier else {}
        for name in earlier.keys() & sums.keys():
            of_all = earlier[name]
            if len(of_all) == trainer.world_size:
                value, count = of_all[trainer.global_rank]
            else:  # resumed with another number of processes
                value, count = of_all.sum(dim=0) * (trainer.global_rank == 0)
            sums[name].value += value.to(sums[name].value)
            sums[name].cumulated_batch_size += count.to(sums[name].cumulated_batch_size)


def _sums(trainer: Trainer) -> dict[str, Any]:
    """Return Lightning's running sums of this epoch, by name."""
    results = trainer.fit_loop.epoch_loop._results  # noqa: SLF001 - there is no public way
    return {name: result for name, result in results.items() if result.is_tensor and result.meta.is_mean_reduction}

"""A resumed epoch's means are those of all its batches, also of those before it was stopped."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn
from torch.utils.data import DataLoader

from camloc.experiment import stop
from camloc.experiment.epoch_means import SUMS_KEY, EpochMeans
from camloc.experiment.stop import StopTogether


class Says(LightningModule):
    """Logs its batches, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def training_step(self, batch: Tensor) -> Tensor:
        self.log("train/loss", batch.mean(), on_step=False, on_epoch=True, batch_size=len(batch))
        return self.weight

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class StopAfter(Callback):
    def __init__(self, job: Any, batch: int) -> None:  # noqa: ANN401 - a stub
        self.job, self.batch = job, batch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401, ARG002 - Lightning's
        if batch_idx == self.batch:
            self.job.number = signal.SIGTERM


def fit(values: list[float], *callbacks: Callback, resume: Path | None = None) -> float:
    """Return the epoch's mean."""
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, EpochMeans()],
    )
    loader: DataLoader[Any] = DataLoader(torch.tensor(values, dtype=torch.float), batch_size=2)  # type: ignore[arg-type] # it has a length
    trainer.fit(Says(), loader, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return trainer.callback_metrics["train/loss"].item()


# Five values in three batches, the last one of a single value; Lightning begins a resumed epoch's data again.
@pytest.mark.filterwarnings("ignore")
def test_a_resumed_epoch_is_averaged_over_all_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = SimpleNamespace(number=None, deferred=False, raise_pending=lambda: None)
    monkeypatch.setattr(stop, "active", lambda: job)
    file = tmp_path / "last.ckpt"
    with pytest.raises(SIGTERMException):
        fit([1, 3, 5, 7, 9], StopTogether(file), StopAfter(job, batch=0))
    saved = torch.load(file, weights_only=True)[SUMS_KEY]
    assert {name: sums.tolist() for name, sums in saved.items()} == {"training_step.train/loss": [[4.0, 2.0]]}
    job.number = None
    assert fit([5, 7, 9, 0, 0], StopTogether(file), resume=file) == pytest.approx((4 + 12 + 9) / 6)
    assert fit([5, 7, 9, 0, 0], StopTogether(file)) == pytest.approx(21 / 5)
    checkpoint = torch.load(file, weights_only=True)
    checkpoint[SUMS_KEY]["training_step.train/loss"] = torch.tensor([[4.0, 2.0], [6.0, 2.0]])  # of two processes
    torch.save(checkpoint, file)
    assert fit([5, 7, 9, 0, 0], StopTogether(file), resume=file) == pytest.approx((4 + 6 + 12 + 9) / 8)

"""All processes of a training stop at the same point, whichever of them a signal came to."""

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from camloc.experiment import stop
from camloc.experiment.stop import StopTogether


class Trainer:
    """Two processes; the other one's part in a decision is ``other``."""

    def __init__(self, *, other: bool = False) -> None:
        self.world_size = 2
        self.training, self.sanity_checking = True, False
        self.state = SimpleNamespace(fn="fit")
        self.strategy = SimpleNamespace(reduce_boolean_decision=lambda mine, **_: mine or other)
        progress = SimpleNamespace(ready=2, processed=1)
        self.fit_loop = SimpleNamespace(epoch_progress=SimpleNamespace(current=progress))
        self.saved: list[Path] = []
        self._signal_connector: Any = None

    def save_checkpoint(self, file: Path) -> None:
        self.saved.append(file)


class Job:
    number: signal.Signals | None = None
    deferred = False
    pending = 0

    def raise_pending(self) -> None:
        self.pending += 1


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    found = Job()
    monkeypatch.setattr(stop, "active", lambda: found)
    return found  # type: ignore[return-value] # of a fixture


def started(trainer: Any) -> tuple[StopTogether, Any]:  # noqa: ANN401 - a stub
    callback = StopTogether(Path("last.ckpt"))
    callback.setup(trainer, None, "fit")  # type: ignore[arg-type] # not looked at
    callback.on_train_start(trainer, None)  # type: ignore[arg-type] # the same
    return callback, trainer._signal_connector


@pytest.mark.parametrize("comes_to_this_one", [True, False])
def test_a_signal_to_any_process_stops_all_after_the_same_batch(comes_to_this_one: bool, job: Job) -> None:
    trainer: Any = Trainer(other=not comes_to_this_one)
    callback, lightning = started(trainer)
    assert job.deferred
    assert not lightning.received_sigterm
    job.number = signal.SIGINT if comes_to_this_one else None
    callback.on_train_batch_end(trainer, None, None, None, 0)  # type: ignore[arg-type] # not looked at
    assert lightning.received_sigterm
    assert job.number == (signal.SIGINT if comes_to_this_one else signal.SIGTERM)
    callback.on_validation_start(trainer, None)  # type: ignore[arg-type] # the same
    assert not lightning.received_sigterm  # some have fewer batches than others
    callback.on_train_epoch_end(trainer, None)  # type: ignore[arg-type] # the same
    assert lightning.received_sigterm


def test_without_a_signal_nothing_stops(job: Job) -> None:
    trainer: Any = Trainer()
    callback, lightning = started(trainer)
    callback.on_train_batch_end(trainer, None, None, None, 0)  # type: ignore[arg-type] # not looked at
    callback.on_train_epoch_end(trainer, None)  # type: ignore[arg-type] # the same
    assert (lightning.received_sigterm, job.number) == (False, None)
    callback.on_train_end(trainer, None)  # type: ignore[arg-type] # the same
    assert job.pending == 1


def test_only_the_middle_of_an_epoch_is_saved(job: Job) -> None:
    trainer: Any = Trainer()
    callback, _ = started(trainer)
    callback.on_exception(trainer, None, RuntimeError())  # type: ignore[arg-type] # not looked at
    assert trainer.saved == []
    callback.on_exception(trainer, None, SIGTERMException())  # type: ignore[arg-type] # the same
    assert trainer.saved == [Path("last.ckpt")]
    trainer.fit_loop.epoch_progress.current.processed = 2  # its checkpoints have been written
    callback.on_exception(trainer, None, SIGTERMException())  # type: ignore[arg-type] # the same
    assert trainer.saved == [Path("last.ckpt")]
    assert not job.deferred

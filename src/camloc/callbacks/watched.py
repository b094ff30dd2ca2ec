"""What callbacks are handed by the module and the data that they watch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pytorch_lightning import Trainer
from torch import Tensor

from camloc.records import Prediction, Truth


class BatchResult(Protocol):
    """What became of a batch, padding left out."""

    @property
    def prediction(self) -> Prediction:
        """With the score maps and boxes that people are shown."""

    @property
    def truth(self) -> Truth:
        """What it was measured against."""

    @property
    def shown_boxes(self) -> Tensor | None:
        """(P,4) half-open pixels of the score maps at the reported threshold, or the network's own; else None."""


class RunPaths(Protocol):
    """Where a run keeps its files; the run directory's."""

    gallery: Path
    """Folder of gallery tiles."""
    report: Path
    """Folder of the report page."""
    epochs: Path
    """``metrics.csv``."""


class NamedSplit(Protocol):
    """The images of a split by name."""

    def __len__(self) -> int:
        """Return N."""

    def image_id(self, index: int) -> str:
        """Return an image's name."""


class WatchedData(Protocol):
    """The data of an evaluation."""

    class_names: tuple[str, ...]
    devkit_ids: Sequence[int] | None
    """Labels of the classes in ILSVRC's submission files; None for other data."""

    def split(self, name: Any) -> NamedSplit:  # noqa: ANN401 - a split's name
        """Return a split."""


def datamodule_of(trainer: Trainer) -> WatchedData:
    """Return the data module that a trainer was given.

    Raises:
        ValueError: If it was given none.
    """
    found: WatchedData | None = trainer.datamodule  # type: ignore[attr-defined] # Lightning sets it while it runs
    if found is None:
        raise ValueError("this callback needs a data module")
    return found


def batch_index(truth: Truth, position: int) -> int:
    """Return the place within a batch of an image of the split."""
    return truth.positions.index(position)

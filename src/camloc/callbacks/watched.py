"""What callbacks are handed by the module and the data that they watch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from camloc.records import Prediction, Truth

Kept = TypeVar("Kept")


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
    cost: Path
    """``cost.json``."""


class NamedSplit(Protocol):
    """The images of a split by name."""

    def __len__(self) -> int:
        """Return N."""

    def image_id(self, index: int) -> str:
        """Return an image's name."""

    def target(self, index: int) -> int | Tensor:
        """Return an image's true class, or (C,) bool where images have several."""


class WatchedData(Protocol):
    """The data of an evaluation."""

    class_names: tuple[str, ...]
    devkit_ids: Sequence[int] | None
    """Labels of the classes in ILSVRC's submission files; None for other data."""
    objectless: frozenset[int]
    """Classes without objects, 0-based."""

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


def gathered(kept: Kept, world_size: int) -> list[Kept]:
    """Return what each process kept, by its rank; every process calls this.

    Example:
        >>> gathered({3: "an image"}, world_size=1)
        [{3: 'an image'}]
    """
    of_all = [kept] * world_size
    if world_size > 1:
        torch.distributed.all_gather_object(of_all, kept)
    return of_all


def batch_index(truth: Truth, position: int) -> int:
    """Return the place within a batch of an image of the split."""
    return truth.positions.index(position)


def predicted_class(logits: Tensor, target: Tensor, pair_class: int) -> int:
    """Return the most likely class of an image but for its true classes other than that of the pair.

    Args:
        logits: (C,).
        target: () int64, or (C,) bool where images have several labels.
        pair_class: The true class that is looked at.

    Example:
        >>> import torch
        >>> predicted_class(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, True, False]), 1)
        2
        >>> predicted_class(torch.tensor([3.0, 1.0, 2.0]), torch.tensor(1), 1)
        0
    """
    if target.ndim == 0:
        return int(logits.argmax())
    others = target.clone()
    others[pair_class] = False
    return int(logits.masked_fill(others.to(logits.device), float("-inf")).argmax())

"""Predictions read from a submission file of the ILSVRC devkit, see :mod:`camloc.export.submission`."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from camloc.data.images.regular import MAX_TABLE_BYTES, open_regular
from camloc.data.loading.sample import EvalSample, collate_truth
from camloc.predictors.truth import SplitTruth
from camloc.records import NO_PREDICTION, NUM_PREDICTIONS, Prediction, Ranked, Truth

FIELDS = 5
"""Numbers of one prediction."""
MAX_LABEL = 2**31 - 1
"""Larger ones would not survive the conversion to whole numbers."""


def read_submission(path: Path, num_images: int, known_labels: Collection[int] | None = None) -> tuple[Tensor, Tensor]:
    """Read predictions.

    Args:
        path: The file.
        num_images: Lines that it must have.
        known_labels: Labels that there are, where that is known.

    Returns:
        ``(labels, boxes)``: (N,5) int64, :data:`NO_PREDICTION` where none was made; (N,5,4) float64 half-open pixels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large, the number of lines differs, or a line has no predictions' form or an unknown
            label; it is named.

    Example:
        >>> import tempfile
        >>> from camloc.export.submission import write_submission
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "predictions.txt")
        ...     write_submission(file, [[7], []], [torch.tensor([[0, 0, 10, 5]]), torch.zeros(0, 4)])
        ...     labels, boxes = read_submission(file, 2)
        >>> labels[:, 0].tolist(), boxes[0, 0].tolist()
        ([7, -1], [0.0, 0.0, 10.0, 5.0])
    """
    if not path.is_file():
        raise FileNotFoundError(f"submission={path} is no file")
    # A byte that is no text becomes a field that is no number, and the message below names its line.
    with open_regular(path, MAX_TABLE_BYTES) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace").read()
    lines = text.removesuffix("\n").split("\n")
    if len(lines) != num_images:
        raise ValueError(f"submission={path} has {len(lines)} lines and the split has {num_images} images, in order")
    table = np.zeros((num_images, NUM_PREDICTIONS, FIELDS))
    table[:, :, 0] = NO_PREDICTION
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if len(fields) % FIELDS or len(fields) > FIELDS * NUM_PREDICTIONS:
            raise ValueError(
                f"submission={path}, line {number}: expected up to five times 'label xmin ymin xmax ymax', "
                f"found {len(fields)} fields"
            )
        try:
            predictions = np.array(fields, dtype=np.float64).reshape(-1, FIELDS)
        except ValueError:
            raise ValueError(f"submission={path}, line {number}: not all fields are numbers: {line!r}") from None
        found = predictions[:, 0]
        if not (np.isfinite(predictions).all() and ((found >= 1) & (found <= MAX_LABEL) & (found % 1 == 0)).all()):
            raise ValueError(
                f"submission={path}, line {number}: labels are whole numbers from 1 on and boxes finite, found {line!r}"
            )
        table[number - 1, : len(predictions)] = predictions
    if known_labels is not None:
        unknown = np.argwhere(~np.isin(table[:, :, 0], [NO_PREDICTION, *known_labels]))
        if len(unknown):
            at, place = unknown[0].tolist()
            raise ValueError(
                f"submission={path}, line {at + 1}: label {table[at, place, 0]:.0f} is of no class of the data module"
            )
    boxes = torch.from_numpy(table[:, :, 1:])
    boxes = torch.where(
        torch.from_numpy(table[:, :, :1]) == NO_PREDICTION, 0.0, boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
    )
    return torch.from_numpy(table[:, :, 0]).to(torch.int64), boxes


class SubmittedSample(NamedTuple):
    """One image's line of a submission."""

    classes: Tensor
    """(5,) int64, -1 where no prediction was made."""
    boxes: Tensor
    """(5,4) float64 half-open pixels of the image."""
    truth: EvalSample
    """Its ``image`` is empty."""


class SubmittedBatch(NamedTuple):
    """B lines of a submission."""

    ranked: Ranked
    truth: Truth


class SubmissionPredictor:
    """Returns the classes and boxes that were submitted; there are neither logits nor maps."""

    def predict(self, batch: SubmittedBatch, *, num_ranked: int = 0) -> Prediction:  # noqa: ARG002 - all are given
        """Return a batch's predictions."""
        return Prediction(batch.truth.pairs, ranked=batch.ranked)


class SubmissionDataset(Dataset[SubmittedSample]):
    """The lines of a submission in a split's order; positions beyond the end repeat from the start and say so.

    Args:
        path: The file.
        split: What they are measured against.
        labels: (C,) the devkit's label of each class.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not fit the split; the line is named.
    """

    def __init__(self, path: Path, split: SplitTruth, labels: Sequence[int]) -> None:
        self.split = split
        submitted, self._boxes = read_submission(path, len(split), labels)
        class_of = {label: index for index, label in enumerate(labels)} | {NO_PREDICTION: NO_PREDICTION}
        self._classes = submitted.apply_(lambda label: class_of[label])

    def __len__(self) -> int:
        """Return N."""
        return len(self.split)

    def image_id(self, index: int) -> str:
        """Return an image's name."""
        return self.split.image_id(index)

    def __getitem__(self, position: int) -> SubmittedSample:
        """Return the line at a position that ``EvalSampler`` dealt."""
        index = position % len(self)
        return SubmittedSample(self._classes[index], self._boxes[index], self.split.sample(position))

    @staticmethod
    def collate(samples: Sequence[SubmittedSample]) -> SubmittedBatch:
        """Stack lines."""
        classes, boxes, truth = zip(*samples, strict=True)
        return SubmittedBatch(Ranked(torch.stack(classes), None, torch.stack(boxes)), collate_truth(truth, (1, 1)))

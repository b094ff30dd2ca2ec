"""Files of predictions in the format of the ILSVRC devkit.

A line per image in the split's order, with up to five predictions of five numbers, ``label xmin ymin xmax ymax``.
Labels count from 1 as the devkit numbers them, which is not the order of sorted WordNet ids; pixels are inclusive and
those of the original image.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FIELDS = 5
MAX_PREDICTIONS = 5
NO_PREDICTION = -1
"""Label of a prediction that was not made."""
MAX_LABEL = 2**31 - 1
"""Larger ones would not survive the conversion to whole numbers."""


def write_submission(path: Path, labels: Sequence[Sequence[int]], boxes: Sequence[Tensor]) -> None:
    """Write predictions, whole or not at all.

    Args:
        path: The file.
        labels: N times at most five devkit labels, best first.
        boxes: N tensors (G_i,4), half-open whole pixels; a box without area is written as one pixel, so that its label
            still counts for classification.
    """
    lines = []
    for predictions, prediction_boxes in zip(labels, boxes, strict=True):
        fields = []
        for label, (x0, y0, x1, y1) in zip(predictions, prediction_boxes.to(torch.int64).tolist(), strict=True):
            fields += [label, x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)]
        lines.append(" ".join(map(str, fields)))
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)


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
        ValueError: If the number of lines differs, or a line has no predictions' form or an unknown label; it is named.

    Example:
        >>> import tempfile
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
    lines = path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
    if len(lines) != num_images:
        raise ValueError(f"submission={path} has {len(lines)} lines and the split has {num_images} images, in order")
    table = np.zeros((num_images, MAX_PREDICTIONS, FIELDS))
    table[:, :, 0] = NO_PREDICTION
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if len(fields) % FIELDS or len(fields) > FIELDS * MAX_PREDICTIONS:
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

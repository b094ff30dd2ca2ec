"""Predictions in the format of the ILSVRC devkit.

A line per image in the split's order, with up to five predictions of five numbers, ``label xmin ymin xmax ymax``.
Labels count from 1 as the devkit numbers them, which is not the order of sorted WordNet ids; pixels are inclusive and
those of the original image.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from camloc.export.replaced import replaced


def write_submission(path: Path, labels: Sequence[Sequence[int]], boxes: Sequence[Tensor]) -> None:
    """Write predictions, whole or not at all.

    Args:
        path: The file.
        labels: N times at most five devkit labels, best first.
        boxes: N tensors (G_i,4), half-open whole pixels; a box without area is written as one pixel, so that its label
            still counts for classification.
    """
    lines = []
    for of_image, image_boxes in zip(labels, boxes, strict=True):
        fields = []
        for label, (x0, y0, x1, y1) in zip(of_image, image_boxes.to(torch.int64).tolist(), strict=True):
            fields += [label, x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)]
        lines.append(" ".join(map(str, fields)))
    with replaced(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")

"""A page of a few images whose every number can be worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from camloc.report.explorer.files import Explored, thumbnails_folder
from camloc.report.explorer.records import ShownImage, ShownPair, ShownRun, shown_pair
from camloc.report.explorer.thumbnails import save_thumbnail
from camloc.report.page import write_page

THRESHOLDS = [0.2, 0.4, 0.6]
BOXES = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 0, 0]])
"""IoU with the true box (0,0,10,5): 0.5, 1, 0; so hit, hit, no box."""
WIDE = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5]])
"""IoU 0.5, 5/9, 1: hits at all."""
TRUE = torch.tensor([[0.0, 0.0, 10.0, 5.0]])
ERRORS = {"GT-known": [0.125, 0.25, 0.5], "top-1 localization": [0.375, 0.5, 0.75]}


def pair(class_index: int, boxes: torch.Tensor, *, rank: int, probability: float = 0.5) -> ShownPair:
    """Return a pair whose true box is known, on a map that is bright on the left."""
    score_map = np.array([[255, 0], [255, 0]], np.uint8)
    measured = {"gt_boxes": TRUE, "iou_threshold": 0.5, "rank": rank, "probability": probability}
    return shown_pair(class_index, boxes, (10, 10), score_map=score_map, **measured)  # type: ignore[arg-type] # its arguments


def images(count: int = 4, names: Sequence[str] = (), wide: Sequence[int] = ()) -> list[ShownImage]:
    """Classes take turns; odd images are predicted as class 0, with a map of their own."""
    found = []
    for position in range(count):
        is_odd = position % 2
        own = pair(is_odd, WIDE if position in wide else BOXES, rank=is_odd, probability=(position % 9 + 1) / 10)
        other = shown_pair(0, WIDE, (10, 10), score_map=np.full((2, 2), 255, np.uint8), rank=0) if is_odd else None
        name = names[position] if position < len(names) else f"{position}.jpg"
        found.append(ShownImage(name, position, (40, 40), [own], [(0, 0.75), (1, 0.25)], other))
    return found


def negative(position: int, probability: float = 0.8) -> ShownImage:
    """Return an image without a true class that is predicted as class 1, with a box."""
    alarm = shown_pair(1, WIDE, (10, 10), score_map=np.full((2, 2), 255, np.uint8), probability=probability, rank=0)
    return ShownImage(f"{position}.jpg", position, (40, 40), [], [(1, probability), (0, 0.05)], alarm)


def run(label: str = "a run") -> ShownRun:
    """Return a run of eight pairs, of which fewer are shown."""
    return ShownRun(label, THRESHOLDS, 0.4, "val", 0.5, 8, ERRORS)


def page(
    directory: Path,
    shown: Sequence[ShownImage] | None = None,
    class_names: Sequence[str] = ("cat", "dog"),
    rule: str = "All.",
    label: str = "a run",
) -> Path:
    """Write a page of one run."""
    shown = images() if shown is None else shown
    for image in shown:
        save_thumbnail(thumbnails_folder(directory), image.position, torch.full((3, 40, 40), 128, dtype=torch.uint8))
    return write_page(directory, title="A run", numbers=[], explorer=Explored(class_names, [(run(label), shown)], rule))

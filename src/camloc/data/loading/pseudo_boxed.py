"""A split with boxes that were made without people, in place of true ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from camloc.data.annotations.pseudo_boxes import read_pseudo_boxes
from camloc.data.images.border_contrast import border_contrast_box
from camloc.data.loading.split import Split, Subset

BORDER_CONTRAST = "border_contrast"
"""``datamodule.pseudo_boxes`` that are made of the images themselves."""


class PseudoBoxed(Subset):
    """All images of a split, each with pseudo boxes; its true boxes and masks cannot be asked for.

    Args:
        split: With one label per image.
        boxes: N arrays (M_i,4), half-open xyxy pixels of the images; (0,4) for none.

    Raises:
        ValueError: If images have several labels.
    """

    def __init__(self, split: Split, boxes: Sequence[NDArray[np.floating]]) -> None:
        super().__init__(split, np.arange(len(split)))
        if isinstance(split.target(0), Tensor):
            raise ValueError(  # noqa: TRY004 - of the data, not an argument
                "datamodule.pseudo_boxes: a pseudo box is of no class, and these images have several labels; leave it "
                "out"
            )
        # One array: an object for each image would be copied into every loader worker.
        self._boxes = np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float32)
        self._first = np.cumsum([0, *(len(of_image) for of_image in boxes)])

    def gt_boxes(self, index: int) -> list[Tensor]:
        """Return the image's pseudo boxes, (M,4) float32 half-open xyxy pixels."""
        return [torch.from_numpy(self._boxes[self._first[index] : self._first[index + 1]])]

    def masks(self, index: int) -> None:
        """Return null: a pseudo box comes without a mask."""


def with_pseudo_boxes(val: Split, pseudo_boxes: str) -> Split:
    """Return a split with the boxes of a folder, or with those that its images themselves give.

    Args:
        val: With one label per image.
        pseudo_boxes: The folder, see :func:`~camloc.data.annotations.pseudo_boxes.read_pseudo_boxes`, or
            ``border_contrast``, see :func:`~camloc.data.images.border_contrast.border_contrast_box`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it does not fit the split, or images have several labels.
    """
    if pseudo_boxes == BORDER_CONTRAST:
        console = Console(stderr=True)
        images = track(range(len(val)), "pseudo boxes of val", console=console, transient=True)
        return PseudoBoxed(val, [_of_image(val, index) for index in images])
    names = [val.image_id(index) for index in range(len(val))]
    return PseudoBoxed(val, read_pseudo_boxes(Path(pseudo_boxes).expanduser(), names))


def _of_image(val: Split, index: int) -> NDArray[np.floating]:
    try:
        image = val.image(index)
    except (OSError, ValueError):  # on_unreadable= says what becomes of it
        return np.zeros((0, 4))
    return border_contrast_box(image).numpy()[None]

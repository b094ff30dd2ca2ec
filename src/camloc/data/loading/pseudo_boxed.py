"""A split with boxes that were made without people, in place of true ones."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.loading.split import Split, Subset


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

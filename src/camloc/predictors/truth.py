"""The truth of a split whose images are not opened: what ready-made predictions are measured against."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from camloc.boxes import to_window
from camloc.data.annotations.mask_files import resize_levels
from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.images.decode import read_image_size
from camloc.data.loading.sample import EvalSample
from camloc.data.loading.split import Split


class SplitTruth(Protocol):
    """A split without its images."""

    def __len__(self) -> int:
        """Return N."""

    def image_id(self, index: int) -> str:
        """Return an image's name."""

    def sample(self, position: int) -> EvalSample:
        """Return what a position that ``EvalSampler`` dealt is measured against; its ``image`` is empty."""


class UnseenSplit:
    """A data set's split, measured on score maps of one size that cover whole images.

    Args:
        split: Its images' sizes are read from their headers.
        map_size: ``(height, width)`` of the score maps.
    """

    def __init__(self, split: Split, map_size: tuple[int, int]) -> None:
        self._split, self._map_size = split, map_size

    def __len__(self) -> int:
        """Return N."""
        return len(self._split)

    def image_id(self, index: int) -> str:
        """Return an image's name."""
        return self._split.image_id(index)

    def sample(self, position: int) -> EvalSample:
        """Return what a position is measured against."""
        index = position % len(self)
        file = self._split.file(index)
        size = tuple(self._split.image(index).shape[1:]) if file is None else read_image_size(file)
        masks = self._split.masks(index)
        return truth_sample(
            self._split.target(index),
            self._split.gt_boxes(index),
            None if masks is None else _resized(masks, self._map_size),
            (size[0], size[1]),
            self._map_size,
            self.image_id(index),
            position,
            is_padding=position >= len(self),
        )


def _resized(masks: tuple[Tensor, Tensor], size: tuple[int, int]) -> Tensor:
    """Return (K,2,h,w) bool masks at a size, by the nearest pixel."""
    both = torch.stack(masks, dim=1)
    levels = [resize_levels(mask.astype(np.uint8), size) > 0 for mask in both.flatten(0, 1).numpy()]
    return torch.from_numpy(np.array(levels, dtype=bool).reshape(*both.shape[:2], *size))


class MetadataSplit:
    """A split in the files of wsolevaluation.

    Args:
        metadata: The files.
        map_size: ``(height, width)`` of the score maps.
    """

    def __init__(self, metadata: WsolMetadata, map_size: tuple[int, int]) -> None:
        self._metadata, self._map_size = metadata, map_size

    def __len__(self) -> int:
        """Return N."""
        return len(self._metadata)

    def image_id(self, index: int) -> str:
        """Return an image's name."""
        return self._metadata.image_id(index)

    def sample(self, position: int) -> EvalSample:
        """Return what a position is measured against."""
        index, metadata = position % len(self), self._metadata
        masks = torch.stack(metadata.masks(index, self._map_size))[None] if metadata.has_masks else None
        # With masks the files hold no sizes, and nothing that is measured then asks for them.
        size = self._map_size if metadata.has_masks else metadata.image_size(index)
        boxes = torch.zeros(0, 4) if metadata.has_masks else metadata.gt_boxes(index)
        return truth_sample(
            metadata.target(index),
            [boxes],
            masks,
            size,
            self._map_size,
            self.image_id(index),
            position,
            is_padding=position >= len(self),
        )


class SomeOf:
    """Some images of a split, in its order.

    Args:
        split: All of them.
        indices: Which.
    """

    def __init__(self, split: SplitTruth, indices: list[int]) -> None:
        self._split, self._indices = split, indices

    def __len__(self) -> int:
        """Return N."""
        return len(self._indices)

    def image_id(self, index: int) -> str:
        """Return an image's name."""
        return self._split.image_id(self._indices[index])

    def sample(self, position: int) -> EvalSample:
        """Return what a position is measured against."""
        found = self._split.sample(self._indices[position % len(self)])
        return found._replace(position=position, is_padding=position >= len(self))


def truth_sample(
    target: int | Tensor,
    image_boxes: list[Tensor],
    masks: Tensor | None,
    image_size: tuple[int, int],
    map_size: tuple[int, int],
    image_id: str,
    position: int,
    *,
    is_padding: bool,
) -> EvalSample:
    """Return a sample without its image, whose score map of ``map_size`` covers the whole image."""
    height, width = image_size
    window = (0, 0, width, height)
    return EvalSample(
        image=torch.empty(0),
        target=target,
        gt_boxes=[to_window(boxes, window, map_size) for boxes in image_boxes],
        image_boxes=image_boxes,
        masks=masks,
        image_size=image_size,
        window=window,
        image_id=image_id,
        position=position,
        is_padding=is_padding,
    )

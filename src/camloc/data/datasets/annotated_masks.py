"""Mask files of annotated images, read when they are asked for."""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.annotations.mask_files import resize_levels
from camloc.data.annotations.mask_images import read_mask
from camloc.data.datasets.annotated_labels import PairMasks
from camloc.data.images.decode import read_image_size


class AnnotatedMasks:
    """The masks of a split's images in their pixels; loader workers may be sent this.

    Args:
        root: Folder that all files are relative to.
        images: (N,) paths of the images.
        masks: Of the mask files.
    """

    def __init__(self, root: Path, images: NDArray[np.bytes_], masks: PairMasks) -> None:
        self._root, self._images, self._masks = root, images, masks

    def __call__(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Return ``(mask, ignore)``, each (K,H,W) bool for the image's K true classes; null for an image without any.

        The files of one class are united, each resized to the nearest pixel. Of a class without a file, where others of
        the image have one, all is to be ignored.

        Raises:
            ValueError: If a file cannot be read any more.
        """
        first, end = self._masks.first_pair[index : index + 2].tolist()
        files = [self._files(pair) for pair in range(first, end)]
        if not any(files):
            return None
        height, width = read_image_size(self._root / os.fsdecode(bytes(self._images[index])))
        mask = torch.zeros(len(files), height, width, dtype=torch.bool)
        for pair, of_pair in enumerate(files):
            for file in of_pair:
                mask[pair] |= torch.from_numpy(resize_levels(read_mask(file), (height, width)) > 0)
        has_none = torch.tensor([not of_pair for of_pair in files])
        return mask, has_none[:, None, None].expand(mask.shape).clone()

    def _files(self, pair: int) -> list[Path]:
        names = self._masks.files[self._masks.firsts[pair] : self._masks.ends[pair]].tolist()
        return [self._root / os.fsdecode(name) for name in names]

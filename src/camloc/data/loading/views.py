"""Views of images, and training on what a frozen trunk has made of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from camloc.data.features import FeatureFile
from camloc.data.images.transforms import EvalTransform, TrainTransform
from camloc.data.loading.sample import stacked_targets
from camloc.data.loading.samplers import Draw
from camloc.data.loading.split import Split

_LARGEST_SEED = 2**62


class FeatureSample(NamedTuple):
    """What a frozen trunk made of an image, and its image label."""

    row: Tensor
    """(F,) float32."""
    target: int | Tensor
    """True class, 0-based; (C,) bool where images have several labels."""


class FeatureBatch(NamedTuple):
    """B of them."""

    rows: Tensor
    """(B,F) float32."""
    target: Tensor
    """(B,) int64, or (B,C) bool where images have several labels."""


class Views:
    """The views of each image that features are kept of: the one of an evaluation, or augmented ones.

    Args:
        split: The images.
        count: V. 1: as an evaluation sees the image; more: as many augmented views, drawn once.
        evaluation: Makes the one.
        training: Makes the others.
        seed: Of the draws.
    """

    def __init__(
        self, split: Split, count: int, evaluation: EvalTransform, training: TrainTransform, seed: int
    ) -> None:
        self.split, self.count, self.evaluation, self.training = split, count, evaluation, training
        generator = torch.Generator().manual_seed(seed)
        self._seeds = torch.randint(_LARGEST_SEED, (len(split), count), generator=generator)

    def __len__(self) -> int:
        """Return N times V."""
        return len(self.split) * self.count

    def row(self, draw: Draw) -> int:
        """Return which row holds the view that an epoch sees of an image, drawn by the draw's seed."""
        return draw.sample * self.count + draw.seed % self.count

    def image(self, row: int) -> Tensor:
        """Return the (3,S,S) uint8 view of a row."""
        index, view = divmod(row, self.count)
        if self.count == 1:
            image = self.split.image(index)
            return self.evaluation(image, self.evaluation.window((image.shape[1], image.shape[2])))
        seed = int(self._seeds[index, view])
        return self.training(self.split.image(index, self.training.shrink(seed)), seed)


class ViewDataset(Dataset[tuple[int, Tensor]]):
    """Rows with their views, for the trunk."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def __getitem__(self, row: int) -> tuple[int, Tensor]:
        """Return the row and its view, (3,S,S) uint8."""
        return row, self.views.image(row)


class FeatureDataset(Dataset[FeatureSample]):
    """Kept features and image labels; no image is read.

    Args:
        views: Of the images.
        file: Their features.
    """

    def __init__(self, views: Views, file: FeatureFile) -> None:
        self.views, self.file = views, file

    def __getitem__(self, draw: Draw) -> FeatureSample:
        """Return the view of this draw's image that its seed chooses."""
        row = torch.from_numpy(self.file.rows[self.views.row(draw)].copy())
        return FeatureSample(row, self.views.split.target(draw.sample))


def collate_features(samples: Sequence[FeatureSample]) -> FeatureBatch:
    """Stack kept features."""
    rows, targets = zip(*samples, strict=True)
    return FeatureBatch(torch.stack(rows), stacked_targets(targets))

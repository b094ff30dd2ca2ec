"""The contract of objectives: what a training minimizes."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from camloc.backbones.contract import Backbone


class Labelled(NamedTuple):
    """A training batch on the device: images and image labels, nothing else."""

    images: Tensor
    """(B,3,H,W) float, normalized as the backbone expects."""
    target: Tensor
    """(B,) int64, or (B,C) bool where images have several labels."""


class Losses(NamedTuple):
    """What an objective returns."""

    by_name: Mapping[str, Tensor]
    """Scalars; their sum is minimized."""
    logits: Tensor
    """(B,C) of the images as they were given, from which the training error is counted."""


class Objective(Protocol):
    """Compute the losses of a batch; an ``nn.Module`` may hold parameters of its own.

    Built from its configuration and ``class_counts``, the number of training images of each class. It may change images
    and labels on the device first, as CutMix does.
    """

    def __call__(self, backbone: Backbone, batch: Labelled) -> Losses:
        """Return the losses by name."""

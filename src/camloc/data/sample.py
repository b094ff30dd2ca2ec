"""What a loader yields: typed samples and the batches they are collated into.

Weak supervision is a type here: a training sample has no field for boxes or masks, so no training code can read one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class TrainSample(NamedTuple):
    """A picture and its image label, all that training may see."""

    image: Tensor
    """(3,H,W) uint8."""
    target: int
    """True class, 0-based."""


class EvalSample(NamedTuple):
    """A picture with what its localization is measured against."""

    image: Tensor
    """(3,H,W) uint8, as the network will see it."""
    target: int
    """True class, 0-based."""
    gt_boxes: Tensor
    """(M,4) float half-open xyxy pixels of ``image``."""
    image_size: tuple[int, int]
    """``(height, width)`` of the picture before any transform."""
    image_id: str
    """Names the picture within its split."""
    position: int
    """Place in the split, 0-based."""
    is_padding: bool
    """True for a repeat that only fills up the last round of a distributed sampler; it never counts."""


class TrainBatch(NamedTuple):
    """B training samples."""

    images: Tensor
    """(B,3,H,W) uint8."""
    target: Tensor
    """(B,) int64."""


class EvalBatch(NamedTuple):
    """B evaluation samples."""

    images: Tensor
    """(B,3,H,W) uint8."""
    target: Tensor
    """(B,) int64."""
    gt_boxes: list[Tensor]
    """B tensors (M_i,4), float half-open xyxy pixels of ``images``."""
    image_sizes: list[tuple[int, int]]
    """B times ``(height, width)`` before any transform."""
    image_ids: list[str]
    positions: list[int]
    is_padding: Tensor
    """(B,) bool."""


class Prediction(NamedTuple):
    """What evaluation saw of a batch."""

    logits: Tensor
    """(B,C) float32."""
    score_maps: Tensor
    """(B,H,W) in [0,1], the true class's."""


def collate_train(samples: Sequence[TrainSample]) -> TrainBatch:
    """Stack training samples of one size."""
    images, targets = zip(*samples, strict=True)
    return TrainBatch(torch.stack(images), torch.tensor(targets))


def collate_eval(samples: Sequence[EvalSample]) -> EvalBatch:
    """Stack evaluation samples of one size; each keeps its own number of true boxes."""
    images, targets, gt_boxes, sizes, ids, positions, is_padding = zip(*samples, strict=True)
    return EvalBatch(
        torch.stack(images),
        torch.tensor(targets),
        list(gt_boxes),
        list(sizes),
        list(ids),
        list(positions),
        torch.tensor(is_padding),
    )

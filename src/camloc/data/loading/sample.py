"""What a loader yields: typed samples and the batches they are collated into.

Weak supervision is a type here: a training sample has no field for boxes or masks, so no training code can read one.
The fully supervised comparison trains on samples of another type, which a data module gives only where
:meth:`~camloc.data.loading.datamodule.LocalizationDataModule.train_with_boxes` was called.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from camloc.records import Truth, Window


class TrainSample(NamedTuple):
    """An image and its image label, all that training may see."""

    image: Tensor
    """(3,H,W) uint8."""
    target: int | Tensor
    """True class, 0-based; (C,) bool where images have several labels."""


class BoxedTrainSample(NamedTuple):
    """An image with its image label and a true box, for full supervision alone."""

    image: Tensor
    """(3,H,W) uint8."""
    target: int
    """True class, 0-based."""
    box: Tensor
    """(4,) float half-open xyxy pixels of ``image``, cut at its edges; (0,0,0,0) where none is known or shown."""


class EvalSample(NamedTuple):
    """An image with what its localization is measured against."""

    image: Tensor
    """(3,H,W) uint8, as the network will see it."""
    target: int | Tensor
    """True class, 0-based; (C,) bool where images have several labels."""
    gt_boxes: list[Tensor]
    """Of each of K true classes, ascending: (M,4) float half-open xyxy pixels of ``image``, reaching beyond it where
    the window cuts one; (0,4): unknown."""
    image_boxes: list[Tensor]
    """The same boxes in pixels of the image as stored."""
    masks: Tensor | None
    """(K,2,H,W) bool pixels of ``image``, foreground and what to ignore; null where the image has none."""
    image_size: tuple[int, int]
    """``(height, width)`` of the image before any transform."""
    window: Window
    """The part of the stored image that ``image`` shows."""
    image_id: str
    """Name of the image, unique within its split."""
    position: int
    """Place in the split, 0-based."""
    is_padding: bool
    """True for a repeat that only fills up the last round of a distributed sampler; it never counts."""


class TrainBatch(NamedTuple):
    """B training samples."""

    images: Tensor
    """(B,3,H,W) uint8."""
    target: Tensor
    """(B,) int64, or (B,C) bool where images have several labels."""


class BoxedTrainBatch(NamedTuple):
    """B training samples with boxes."""

    images: Tensor
    """(B,3,H,W) uint8."""
    target: Tensor
    """(B,) int64."""
    boxes: Tensor
    """(B,4) float half-open xyxy pixels of the images; (0,0,0,0) for none."""


class EvalBatch(NamedTuple):
    """B images to predict on."""

    images: Tensor
    """(B,3,H,W) uint8."""
    truth: Truth


def collate_train(samples: Sequence[TrainSample]) -> TrainBatch:
    """Stack training samples of one size, channels last in memory as their images are."""
    images, targets = zip(*samples, strict=True)
    # Stacking in memory order copies each image in one go; the device converts the layout faster than a loader would.
    stacked = torch.stack([image.permute(1, 2, 0) for image in images])
    return TrainBatch(stacked.permute(0, 3, 1, 2), stacked_targets(targets))


def collate_boxed_train(samples: Sequence[BoxedTrainSample]) -> BoxedTrainBatch:
    """Stack training samples with boxes as :func:`collate_train` stacks those without."""
    images, target = collate_train([TrainSample(sample.image, sample.target) for sample in samples])
    return BoxedTrainBatch(images, target, torch.stack([sample.box for sample in samples]))


def collate_eval(samples: Sequence[EvalSample]) -> EvalBatch:
    """Stack evaluation samples of one size; each pair keeps its own number of true boxes."""
    images = torch.stack([sample.image for sample in samples])
    height, width = images.shape[-2:]
    return EvalBatch(images, collate_truth(samples, (height, width)))


def collate_truth(samples: Sequence[EvalSample], map_size: tuple[int, int]) -> Truth:
    """Gather what samples are measured against, for score maps of ``(height, width)``."""
    return Truth(
        target=stacked_targets([sample.target for sample in samples]),
        gt_boxes=[boxes for sample in samples for boxes in sample.gt_boxes],
        image_boxes=[boxes for sample in samples for boxes in sample.image_boxes],
        masks=_joined_masks(samples, map_size),
        map_size=map_size,
        image_sizes=[sample.image_size for sample in samples],
        windows=[sample.window for sample in samples],
        image_ids=[sample.image_id for sample in samples],
        positions=[sample.position for sample in samples],
        is_padding=torch.tensor([sample.is_padding for sample in samples]),
    )


def stacked_targets(targets: Sequence[int | Tensor]) -> Tensor:
    """Return the (B,) int64 or (B,C) bool targets of samples."""
    if isinstance(targets[0], Tensor):
        return torch.stack([torch.as_tensor(target) for target in targets])
    return torch.tensor(targets)


def _joined_masks(samples: Sequence[EvalSample], map_size: tuple[int, int]) -> Tensor | None:
    if all(sample.masks is None for sample in samples):
        return None
    return torch.cat(
        [no_masks(len(sample.gt_boxes), map_size) if sample.masks is None else sample.masks for sample in samples]
    )


def no_masks(count: int, size: tuple[int, int]) -> Tensor:
    """Return the (count,2,H,W) masks of pairs that have none: no foreground, and everything is to be ignored.

    Example:
        >>> no_masks(1, (1, 2)).tolist()
        [[[[False, False]], [[True, True]]]]
    """
    foreground = torch.zeros(count, *size, dtype=torch.bool)
    return torch.stack([foreground, ~foreground], dim=1)

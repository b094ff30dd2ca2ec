"""What a loader yields: typed samples and the batches they are collated into.

Weak supervision is a type here: a training sample has no field for boxes or masks, so no training code can read one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Window = tuple[int, int, int, int]
"""The part of an image that a score map covers, half-open xyxy pixels of the image; all of it under a warp."""


class TrainSample(NamedTuple):
    """An image and its image label, all that training may see."""

    image: Tensor
    """(3,H,W) uint8."""
    target: int
    """True class, 0-based."""


class EvalSample(NamedTuple):
    """An image with what its localization is measured against."""

    image: Tensor
    """(3,H,W) uint8, as the network will see it."""
    target: int
    """True class, 0-based."""
    gt_boxes: Tensor
    """(M,4) float half-open xyxy pixels of ``image``, reaching beyond it where the window cuts one; (0,4): unknown."""
    image_boxes: Tensor
    """The same (M,4) boxes in pixels of the image."""
    masks: Tensor | None
    """(2,H,W) bool pixels of ``image``, foreground and what to ignore; null where the split has none."""
    image_size: tuple[int, int]
    """``(height, width)`` of the image before any transform."""
    window: Window
    """What ``image`` shows of the image."""
    image_id: str
    """Names the image within its split."""
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


class Truth(NamedTuple):
    """What B predictions are measured against, wherever the predictions come from."""

    target: Tensor
    """(B,) int64."""
    gt_boxes: list[Tensor]
    """B tensors (M_i,4), float half-open xyxy pixels of the score map; all with boxes or none."""
    image_boxes: list[Tensor]
    """The same in pixels of the images."""
    masks: Tensor | None
    """(B,2,H,W) bool, foreground and what to ignore; null where the split has none."""
    map_size: tuple[int, int]
    """``(height, width)`` of the score maps."""
    image_sizes: list[tuple[int, int]]
    """B times ``(height, width)`` before any transform."""
    windows: list[Window]
    image_ids: list[str]
    positions: list[int]
    is_padding: Tensor
    """(B,) bool."""

    @property
    def has_boxes(self) -> bool:
        """Whether localization can be measured."""
        padding = self.is_padding.tolist()
        return all(len(boxes) > 0 for boxes, is_padding in zip(self.gt_boxes, padding, strict=True) if not is_padding)

    @property
    def counted_positions(self) -> list[int]:
        """Places of the images that are no padding."""
        return [p for p, is_padding in zip(self.positions, self.is_padding.tolist(), strict=True) if not is_padding]


class EvalBatch(NamedTuple):
    """B images to predict on."""

    images: Tensor
    """(B,3,H,W) uint8."""
    truth: Truth


class SavedSample(NamedTuple):
    """One image's prediction as it was saved."""

    logits: Tensor
    """(C,) float32."""
    cam: Tensor
    """(h,w) float32, raw, of the true class."""
    predictions: Tensor
    """(G,) int64, the classes with the largest logits, best first."""
    prediction_cams: Tensor
    """(G,h,w) float32, raw."""
    truth: EvalSample
    """Its ``image`` is empty."""


class SavedBatch(NamedTuple):
    """B predictions as they were saved."""

    logits: Tensor
    """(B,C)."""
    cam: Tensor
    """(B,h,w)."""
    predictions: Tensor
    """(B,G)."""
    prediction_cams: Tensor
    """(B,G,h,w)."""
    truth: Truth


class Prediction(NamedTuple):
    """What evaluation saw of a batch."""

    logits: Tensor
    """(B,C) float32."""
    cam: Tensor
    """(B,h,w) float32, raw, the true class's."""
    score_maps: Tensor
    """(B,H,W) in [0,1], the true class's."""
    boxes: Tensor
    """(B,T,4) int32 on the CPU, at every threshold that localization is measured at; half-open pixels of the map."""
    feature_maps: Tensor | None = None
    """(B,K,h,w), from which the maps of other classes follow; null where they were saved instead."""


class TopPredictions(NamedTuple):
    """The classes that a classifier would name, with a map for each."""

    classes: Tensor
    """(B,G) int64, best first; G is 5, or C where there are fewer classes."""
    cams: Tensor
    """(B,G,h,w) float32, raw."""


def collate_train(samples: Sequence[TrainSample]) -> TrainBatch:
    """Stack training samples of one size, channels last in memory as their images are."""
    images, targets = zip(*samples, strict=True)
    # Stacking in the order of memory copies each image in one go; the device sorts it out sooner than a loader.
    stacked = torch.stack([image.permute(1, 2, 0) for image in images])
    return TrainBatch(stacked.permute(0, 3, 1, 2), torch.tensor(targets))


def collate_eval(samples: Sequence[EvalSample]) -> EvalBatch:
    """Stack evaluation samples of one size; each keeps its own number of true boxes."""
    images = torch.stack([sample.image for sample in samples])
    height, width = images.shape[-2:]
    return EvalBatch(images, collate_truth(samples, (height, width)))


def collate_saved(samples: Sequence[SavedSample], map_size: tuple[int, int]) -> SavedBatch:
    """Stack saved predictions."""
    logits, cam, predictions, prediction_cams, truth = zip(*samples, strict=True)
    return SavedBatch(
        torch.stack(logits),
        torch.stack(cam),
        torch.stack(predictions),
        torch.stack(prediction_cams),
        collate_truth(truth, map_size),
    )


def collate_truth(samples: Sequence[EvalSample], map_size: tuple[int, int]) -> Truth:
    """Gather what samples are measured against."""
    masks = [sample.masks for sample in samples if sample.masks is not None]
    return Truth(
        target=torch.tensor([sample.target for sample in samples]),
        gt_boxes=[sample.gt_boxes for sample in samples],
        image_boxes=[sample.image_boxes for sample in samples],
        masks=torch.stack(masks) if len(masks) == len(samples) else None,
        map_size=map_size,
        image_sizes=[sample.image_size for sample in samples],
        windows=[sample.window for sample in samples],
        image_ids=[sample.image_id for sample in samples],
        positions=[sample.position for sample in samples],
        is_padding=torch.tensor([sample.is_padding for sample in samples]),
    )

"""What is handed from predicting to measuring to showing: pairs, predictions, the truth and the outcome."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

NUM_PREDICTIONS = 5
"""Classes that an image's prediction may name, as ILSVRC allows."""

NO_PREDICTION = -1
"""Class of a prediction that was not made."""

Window = tuple[int, int, int, int]
"""The part of an image that a score map covers, half-open xyxy pixels of the image; all of it under a warp."""


class Pairs(NamedTuple):
    """P (image, class) pairs, the unit of localization.

    Example:
        >>> Pairs.of_target(torch.tensor([3, 1]))
        Pairs(image_index=tensor([0, 1]), classes=tensor([3, 1]))
        >>> Pairs.of_target(torch.tensor([[True, False, True], [False, True, False]]))
        Pairs(image_index=tensor([0, 0, 1]), classes=tensor([0, 2, 1]))
    """

    image_index: Tensor
    """(P,) int64, place of the image within its batch."""
    classes: Tensor
    """(P,) int64, 0-based."""

    @classmethod
    def of_target(cls, target: Tensor) -> "Pairs":
        """Pair images with their true classes: ``target`` is (B,) int64, or (B,C) bool where there are several."""
        if target.ndim == 1:
            return cls(torch.arange(len(target), device=target.device), target)
        image_index, classes = target.nonzero(as_tuple=True)
        return cls(image_index, classes)

    @classmethod
    def most_likely(cls, logits: Tensor, count: int = NUM_PREDICTIONS) -> "Pairs":
        """Pair each image of (B,C) logits with its ``count`` most likely classes, best first."""
        classes = logits.topk(min(count, logits.shape[1])).indices
        image_index = torch.arange(len(logits), device=logits.device).repeat_interleave(classes.shape[1])
        return cls(image_index, classes.flatten())

    def followed_by(self, other: "Pairs") -> "Pairs":
        """List these pairs, then those."""
        return Pairs(torch.cat([self.image_index, other.image_index]), torch.cat([self.classes, other.classes]))


class Ranked(NamedTuple):
    """The classes that a prediction names, best first, each with its place in the image."""

    classes: Tensor
    """(B,G) int64, -1 where there are fewer than G."""
    cams: Tensor | None
    """(B,G,h,w) float32, raw and signed; null where the source gives boxes alone."""
    image_boxes: Tensor | None
    """(B,G,4) float64 half-open xyxy pixels of the images; null until they are made from the CAMs."""


class Prediction(NamedTuple):
    """What a predictor says of B images, of which P (image, class) pairs are localized."""

    pairs: Pairs
    """Images with their true classes."""
    logits: Tensor | None = None
    """(B,C) float32; null where the source has no classifier, as ready-made maps."""
    cams: Tensor | None = None
    """(P,h,w) float32, raw and signed; null where the source gives score maps or boxes."""
    score_maps: Tensor | None = None
    """(P,H,W) in [0,1]; null where the source gives boxes alone."""
    boxes: Tensor | None = None
    """(P,T,4) half-open xyxy pixels of the score map, on the CPU, at each of T CAM thresholds; (P,1,4) where
    boxes have none."""
    ranked: Ranked | None = None
    """The most likely classes with their maps or boxes; null unless they were asked for."""
    regressed_boxes: Tensor | None = None
    """(P,4) float64 half-open xyxy pixels of the score map, on the CPU: boxes that a network predicts itself, without a
    map or a CAM threshold; null where there are none."""
    images: Tensor | None = None
    """(B,3,H,W) uint8 at the size of the score maps; null where the source has no images."""


class Truth(NamedTuple):
    """What predictions of B images are measured against, wherever the predictions come from."""

    target: Tensor
    """(B,) int64, or (B,C) bool where images have several labels."""
    gt_boxes: list[Tensor]
    """P tensors (M_i,4), float half-open xyxy pixels of the score map, in the order of ``pairs``, on the CPU."""
    image_boxes: list[Tensor]
    """The same in pixels of the images."""
    masks: Tensor | None
    """(P,2,H,W) bool pixels of the score map, foreground and what to ignore, which is all of a pair without a mask;
    null where none has any."""
    map_size: tuple[int, int]
    """``(height, width)`` of the score maps."""
    image_sizes: list[tuple[int, int]]
    """B times ``(height, width)`` before any transform."""
    windows: list[Window]
    """B parts of images that the score maps cover."""
    image_ids: list[str]
    """B names, each unique within the split."""
    positions: list[int]
    """B places in the split, 0-based."""
    is_padding: Tensor
    """(B,) bool, True for a repeat that only fills up the last round of a distributed sampler."""

    @property
    def pairs(self) -> Pairs:
        """Images with their true classes."""
        return Pairs.of_target(self.target)

    @property
    def with_boxes(self) -> Tensor:
        """(P,) bool on the CPU, whether a true box is known of each pair."""
        return torch.tensor([len(boxes) > 0 for boxes in self.gt_boxes], dtype=torch.bool)

    @property
    def with_masks(self) -> Tensor:
        """(P,) bool on the CPU, whether each pair has a mask: of those without, all is to be ignored."""
        if self.masks is None:
            return torch.zeros(len(self.gt_boxes), dtype=torch.bool)
        return (self.masks[:, 0] | ~self.masks[:, 1]).flatten(1).any(dim=1).cpu()


class Outcome(NamedTuple):
    """What a protocol found for each of P pairs; padding is left out."""

    values: Mapping[str, Tensor]
    """(P,...) on the CPU, by name: what the protocol's numbers are summed from, such as ranks, IoUs or hits."""


class SplitOutcome(NamedTuple):
    """A protocol's outcomes on a whole split, from all processes, of the pairs that it counted, in order."""

    image_ids: Sequence[str]
    """P names; an image with several classes stands there once for each."""
    classes: Tensor
    """(P,) int64."""
    values: Mapping[str, Tensor]
    """(P,...) by name."""


class Row(NamedTuple):
    """A number that a protocol reports, as people are shown it."""

    key: str
    """As in ``metrics.json`` below the split and its section; a fraction."""
    title: str
    direction: Literal["min", "max"]
    """``min`` for errors and losses, ``max`` for accuracies."""
    threshold: Literal["none", "reported", "oracle"] = "none"
    """``reported``: at the protocol's CAM threshold; ``oracle``: at the best of the very data; ``none``: at none."""
    threshold_key: str | None = None
    """Key of the CAM threshold that the number was taken at, where there is a single one."""


class PairRecords(NamedTuple):
    """What is known of every pair of an evaluated split, in the split's order."""

    image_ids: Sequence[str]
    """P names; an image with several classes stands there once for each."""
    classes: Tensor
    """(P,) int64 true classes."""
    predicted: Tensor | None
    """(P,G) int64 most likely classes of each pair's image, best first; null without a classifier."""
    rank: Tensor | None
    """(P,) int64 classes that the image does not show and that stand before the true one; null without a classifier."""
    boxes: Tensor | None
    """(P,4) half-open pixels of the image at the reported CAM threshold, all 0 for none; null without maps."""
    iou: Tensor | None
    """(P,T) float64, best IoU with a true box at each CAM threshold; (P,1) where boxes have none; NaN for a pair
    without a true box; null where none has any."""
    cam_thresholds: Sequence[float]
    """(T,) ascending; empty where boxes have none."""
    cam_threshold: float | None
    """The reported one; null where boxes have none."""
    causes: Tensor | None
    """(P,) int64, why a pair was missed, see ``camloc.metrics.functional.breakdown``; -1 for a pair without a true box;
    null where none has any."""
    object_shares: Tensor | None
    """(P,) float64, the largest true box's share of the image's area; NaN and null likewise."""

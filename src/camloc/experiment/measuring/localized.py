"""Score maps and boxes of a batch under one normalization, made when they are first asked for."""

from collections.abc import Collection, Sequence
from functools import cached_property

import torch
from torch import Tensor

from camloc.boxes import from_window
from camloc.localization.contract import BoxRule, UncutBoxRule, cuts_at_thresholds, needs_images
from camloc.localization.released_boxes import loose_and_tight_boxes
from camloc.predictors.contract import ScoreMapFunction
from camloc.records import Pairs, Prediction, Truth


class Localized:
    """A batch's score maps under one normalization, with the boxes that a box rule reads off them.

    Args:
        prediction: Of the batch.
        truth: Of the same images.
        score_map: Raw CAMs to score maps.
        box_rule: Score maps to boxes.
        cam_thresholds: (T,) ascending, all that any protocol of this normalization asks for; unused by a rule that cuts
            at none.
        objectless: Classes without objects, 0-based, which get no box.
    """

    def __init__(
        self,
        prediction: Prediction,
        truth: Truth,
        score_map: ScoreMapFunction,
        box_rule: BoxRule | UncutBoxRule,
        cam_thresholds: Sequence[float],
        objectless: Collection[int] = (),
    ) -> None:
        self._prediction, self._truth = prediction, truth
        self._score_map, self._box_rule, self.cam_thresholds = score_map, box_rule, list(cam_thresholds)
        self._objectless = objectless

    @cached_property
    def score_maps(self) -> Tensor | None:
        """(P,H,W) in [0,1]; None where the predictions have no maps."""
        if self._prediction.score_maps is not None:
            return self._prediction.score_maps
        cams = self._prediction.cams
        return None if cams is None else self._score_map(cams, self._truth.map_size)

    @cached_property
    def boxes(self) -> Tensor | None:
        """(P,T,4) half-open pixels of the score maps, on the CPU; None without maps, and where a rule cuts at none."""
        if self._prediction.boxes is not None:
            return self._of_objects(self._prediction.boxes)
        if self.score_maps is None or not cuts_at_thresholds(self._box_rule):
            return None
        return self._of_objects(self._box_rule(self.score_maps.cpu(), self.cam_thresholds))

    @cached_property
    def uncut_boxes(self) -> Tensor | None:
        """(P,4) without CAM thresholds, likewise: a network's own, or of a rule that cuts at none; None for others."""
        if self._prediction.regressed_boxes is not None:
            return self._of_objects(self._prediction.regressed_boxes)
        if self.score_maps is None or cuts_at_thresholds(self._box_rule):
            return None
        images, image_index = self._prediction.images, self._prediction.pairs.image_index
        shown = None if images is None else images[image_index]
        return self._of_objects(apply_uncut(self._box_rule, self.score_maps, shown))

    @cached_property
    def released_boxes(self) -> Tensor | None:
        """(P,2,4) loose and tight boxes of the release, float64 pixels of the images; None without maps."""
        if self.score_maps is None:
            return None
        both = self._of_objects(loose_and_tight_boxes(self.score_maps).double()).unbind(dim=1)
        return torch.stack([to_images(boxes, self._truth.pairs, self._truth) for boxes in both], dim=1)

    def _of_objects(self, boxes: Tensor) -> Tensor:
        """Leave out the boxes of classes without objects."""
        return without_boxes(boxes, self._prediction.pairs.classes, self._objectless)

    def at(self, cam_thresholds: Sequence[float]) -> Tensor | None:
        """Return the boxes at some of the thresholds."""
        if self.boxes is None or list(cam_thresholds) == self.cam_thresholds:
            return self.boxes
        return self.boxes[:, [self.cam_thresholds.index(threshold) for threshold in cam_thresholds]]

    def shown(self, cam_thresholds: Sequence[float]) -> Tensor | None:
        """Return the boxes at these thresholds, (P,T,4); without CAM thresholds, (P,1,4)."""
        return self.at(cam_thresholds) if self.uncut_boxes is None else self.uncut_boxes[:, None]

    def image_boxes(self, cam_threshold: float | None) -> Tensor | None:
        """Return the (P,4) boxes at a threshold, or those without one, float64 pixels of the images.

        None without any, and before a threshold is chosen.
        """
        boxes = self.uncut_boxes
        if boxes is None:
            at = None if cam_threshold is None else self.at([cam_threshold])
            boxes = None if at is None else at[:, 0]
        return None if boxes is None else to_images(boxes.double(), self._truth.pairs, self._truth)


def without_boxes(boxes: Tensor, classes: Tensor, objectless: Collection[int]) -> Tensor:
    """Return (N,...,4) boxes of (N,...) classes with zeros for those without objects.

    Example:
        >>> without_boxes(torch.ones(2, 4), torch.tensor([0, 1]), {1}).tolist()
        [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if not objectless:
        return boxes
    gets_none = torch.isin(classes.to(boxes.device), torch.tensor(sorted(objectless), device=boxes.device))
    return boxes.masked_fill(gets_none.reshape(*classes.shape, *[1] * (boxes.ndim - classes.ndim)), 0)


def apply_uncut(rule: UncutBoxRule, score_maps: Tensor, images: Tensor | None) -> Tensor:
    """Apply a rule without CAM thresholds.

    Args:
        rule: See :data:`camloc.localization.contract.UncutBoxRule`.
        score_maps: (P,H,W).
        images: (P,3,H,W) uint8; None where the predictions have none.

    Raises:
        ValueError: If it needs images and there are none.
    """
    if not needs_images(rule):
        return rule(score_maps.cpu())
    if images is None:
        raise ValueError("this box_rule needs images, which these predictions come without; evaluate a checkpoint")
    return rule(score_maps.cpu(), images=images.cpu())


def to_images(boxes: Tensor, pairs: Pairs, truth: Truth) -> Tensor:
    """Carry one box (P,4) per pair from pixels of the score map to pixels of its image."""
    return from_window(boxes, torch.tensor(truth.windows).view(-1, 4)[pairs.image_index.cpu()], truth.map_size)

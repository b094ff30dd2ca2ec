"""What protocols are handed of a batch, made when the first of them asks for it."""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from camloc.boxes import from_window, half_open_to_inclusive
from camloc.localization.contract import BoxRule, UncutBoxRule, cuts_at_thresholds, needs_images
from camloc.localization.released_boxes import loose_and_tight_boxes
from camloc.metrics.contract import OF_BOXES, OF_IMAGES, OF_MASKS
from camloc.metrics.functional.max_box_acc import wsolevaluation_boxes
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


class Evidence:
    """A batch's inputs to protocols by the names of :data:`camloc.metrics.contract.NEEDS`.

    Args:
        prediction: Of the batch, without padding.
        truth: Of the same images.
    """

    def __init__(self, prediction: Prediction, truth: Truth) -> None:
        self._prediction, self._truth = prediction, truth
        self._made: dict[str, Any] = {}
        self._makers: dict[str, Callable[[], Any]] = {
            "logits": self._logits,
            "target": lambda: prediction.pairs.classes,
            "gt_boxes": lambda: truth.gt_boxes if self._with_boxes.any() else None,
            "image_boxes": lambda: truth.image_boxes if self._with_boxes.any() else None,
            "map_size": lambda: truth.map_size,
            "image_sizes": lambda: self._per_pair(truth.image_sizes),
            "windows": lambda: self._per_pair(truth.windows),
            "positions": lambda: self._per_pair(truth.positions),
            "resized_boxes": lambda: resized_boxes(truth) if self._with_boxes.any() else None,
            "masks": lambda: None if truth.masks is None else truth.masks[:, 0],
            "ignore": lambda: None if truth.masks is None else truth.masks[:, 1],
            "predicted_classes": lambda: self._ranked(prediction.ranked.classes) if self._has_ranked_boxes else None,  # type: ignore[union-attr] # checked
            "image_logits": lambda: prediction.logits,
            "labels": self._labels,
            "predicted_boxes": lambda: self._ranked(prediction.ranked.image_boxes) if self._has_ranked_boxes else None,  # type: ignore[union-attr,arg-type] # checked
        }

    @cached_property
    def _with_boxes(self) -> Tensor:
        return self._truth.with_boxes

    @cached_property
    def _with_masks(self) -> Tensor:
        return self._truth.with_masks

    def measured(self, needs: Collection[str]) -> list[int] | None:
        """Return the places of the pairs that have what is needed, where some have it; None for all."""
        keep = torch.ones(len(self._truth.gt_boxes), dtype=torch.bool)
        for of_kind, has in ((OF_BOXES, "_with_boxes"), (OF_MASKS, "_with_masks")):
            if not of_kind.isdisjoint(needs) and (found := getattr(self, has)).any():
                keep &= found
        return None if keep.all() else keep.nonzero().flatten().tolist()

    def get(
        self,
        name: str,
        localized: Localized,
        cam_thresholds: Sequence[float],
        cam_threshold: float | None,
        places: Sequence[int] | None = None,
    ) -> Any:  # noqa: ANN401 - as many types as names
        """Return what goes by a name for a protocol with these thresholds; None where there is nothing of the kind.

        Args:
            name: Of the need.
            localized: Maps and boxes under the protocol's normalization.
            cam_thresholds: The protocol's.
            cam_threshold: The one that it reports at.
            places: Of the pairs that it is measured on; None for all.
        """
        value = self._of_all(name, localized, cam_thresholds, cam_threshold)
        if value is None or places is None or name == "map_size" or name in OF_IMAGES:
            return value
        return value[places] if isinstance(value, Tensor) else [value[place] for place in places]

    def _of_all(
        self, name: str, localized: Localized, cam_thresholds: Sequence[float], cam_threshold: float | None
    ) -> Any:  # noqa: ANN401 - the same
        if name == "score_maps":
            return localized.score_maps
        if name == "released_boxes":
            return localized.released_boxes
        if name == "boxes":
            return localized.at(cam_thresholds)
        if name == "reported_boxes":
            return localized.image_boxes(cam_threshold)
        if name not in self._makers:
            return None
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    @property
    def _has_ranked_boxes(self) -> bool:
        return self._prediction.ranked is not None and self._prediction.ranked.image_boxes is not None

    def _logits(self) -> Tensor | None:
        logits = self._prediction.logits
        return None if logits is None else pair_logits(logits, self._truth.target)

    def _labels(self) -> Tensor | None:
        target, logits = self._truth.target, self._prediction.logits
        if target.ndim > 1 or logits is None:
            return target if target.ndim > 1 else None
        return one_hot(target, logits.shape[1]).bool()

    def _ranked(self, values: Tensor) -> Tensor:
        return values if self._truth.target.ndim == 1 else values[self._prediction.pairs.image_index]

    def _per_pair(self, values: list[Any]) -> list[Any]:
        if self._truth.target.ndim == 1:
            return values
        return [values[index] for index in self._prediction.pairs.image_index.tolist()]


def pair_logits(logits: Tensor, target: Tensor) -> Tensor:
    """Return the (P,C) logits that each pair's class is ranked by.

    Args:
        logits: (B,C).
        target: (B,) int64: the logits themselves; or (B,C) bool: -inf for the image's other true classes, which are no
            mistakes. With one label per image both are the same.

    Example:
        >>> pair_logits(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[True, True, False]])).tolist()
        [[3.0, -inf, 2.0], [-inf, 1.0, 2.0]]
    """
    if target.ndim == 1:
        return logits
    pairs = Pairs.of_target(target)
    others = target[pairs.image_index]
    others[torch.arange(len(others), device=others.device), pairs.classes] = False
    return logits[pairs.image_index].masked_fill(others.to(logits.device), -torch.inf)


def without_boxes(boxes: Tensor, classes: Tensor, objectless: Collection[int]) -> Tensor:
    """Return (N,...,4) boxes of (N,) classes with zeros for those without objects.

    Example:
        >>> without_boxes(torch.ones(2, 4), torch.tensor([0, 1]), {1}).tolist()
        [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if not objectless:
        return boxes
    gets_none = torch.isin(classes.cpu(), torch.tensor(sorted(objectless)))
    return boxes.masked_fill(gets_none.view(-1, *[1] * (boxes.ndim - 1)).to(boxes.device), 0)


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
    windows = [truth.windows[index] for index in pairs.image_index.tolist()]
    placed = [from_window(box, window, truth.map_size) for box, window in zip(boxes, windows, strict=True)]
    return torch.stack(placed) if placed else boxes


def resized_boxes(truth: Truth) -> list[Tensor]:
    """Carry true boxes to pixels of the maps as wsolevaluation does, from inclusive whole pixels.

    Raises:
        ValueError: If a map covers only a part of its image, which that evaluator does not know.
    """
    resized = []
    for index, boxes in zip(truth.pairs.image_index.tolist(), truth.image_boxes, strict=True):
        height, width = truth.image_sizes[index]
        if truth.windows[index] != (0, 0, width, height):
            raise ValueError("MaxBoxAcc is defined on whole images; set datamodule.eval_transform=warp")
        whole = boxes.cpu().round().to(torch.int64)
        resized.append(wsolevaluation_boxes(half_open_to_inclusive(whole), (height, width), truth.map_size))
    return resized


def without_padding(prediction: Prediction, truth: Truth) -> tuple[Prediction, Truth]:
    """Drop the images that only fill up the last round of a distributed sampler."""
    is_padding = truth.is_padding.tolist()
    if not any(is_padding):
        return prediction, truth
    images = [index for index, padded in enumerate(is_padding) if not padded]
    new_index = {old: new for new, old in enumerate(images)}
    image_index = prediction.pairs.image_index.tolist()
    pairs = [place for place, index in enumerate(image_index) if index in new_index]

    def of_images(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[images]

    def of_pairs(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[pairs]

    kept = Pairs(
        torch.tensor(
            [new_index[image_index[place]] for place in pairs],
            dtype=torch.int64,
            device=prediction.pairs.image_index.device,
        ),
        prediction.pairs.classes[pairs],
    )
    ranked = prediction.ranked
    if ranked is not None:
        ranked = ranked._replace(
            classes=ranked.classes[images], cams=of_images(ranked.cams), image_boxes=of_images(ranked.image_boxes)
        )
    return (
        Prediction(
            kept,
            of_images(prediction.logits),
            of_pairs(prediction.cams),
            of_pairs(prediction.score_maps),
            of_pairs(prediction.boxes),
            ranked,
            of_pairs(prediction.regressed_boxes),
            of_images(prediction.images),
        ),
        truth._replace(
            target=truth.target[images],
            gt_boxes=[truth.gt_boxes[place] for place in pairs],
            image_boxes=[truth.image_boxes[place] for place in pairs],
            masks=of_pairs(truth.masks),
            image_sizes=[truth.image_sizes[index] for index in images],
            windows=[truth.windows[index] for index in images],
            image_ids=[truth.image_ids[index] for index in images],
            positions=[truth.positions[index] for index in images],
            is_padding=truth.is_padding[images],
        ),
    )

"""What protocols are handed of a batch, made when the first of them asks for it."""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from camloc.boxes import half_open_to_inclusive
from camloc.experiment.measuring.localized import Localized
from camloc.metrics.contract import OF_BOXES, OF_IMAGES, OF_MASKS
from camloc.metrics.functional.max_box_acc import wsolevaluation_boxes
from camloc.records import Pairs, Prediction, Truth


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

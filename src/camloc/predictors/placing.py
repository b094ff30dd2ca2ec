"""Raw maps of chosen classes to boxes, peaks and masks in pixels of their images."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from torch import Tensor

from camloc.boxes import from_window
from camloc.localization.components import components
from camloc.localization.contract import BoxRule, UncutBoxRule, cuts_at_thresholds, needs_images
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.localized import Box, LocalizedBox, LocalizedClass, LocalizedImage, Mask
from camloc.predictors.contract import ScoreMapFunction
from camloc.records import Pairs, Window

Boxes = Literal["largest", "all"]
ThresholdSource = Literal["val", "pseudo", "fixed", "given", "assumed"]
ASSUMED_THRESHOLD = 0.2
"""Fraction of the maximum (Zhou et al., CVPR 2016, Sec. 3.2), for a run that had no boxes to choose one on."""
STEPS = 100
"""CAM thresholds between 0 and 1 that people can choose from on a page."""
MAPS_AT_ONCE = 128
"""Score maps at the size of the network's input that are held at a time."""


class Threshold(NamedTuple):
    """Where score maps are cut, and who said so."""

    value: float
    """Fraction of a map's maximum."""
    source: ThresholdSource
    """``val``: chosen there in training; ``pseudo``: the same, on boxes made without people; ``fixed``: set for the
    training; ``given``: for predicting; ``assumed``: by nobody."""


class Choice(NamedTuple):
    """Which classes are localized, and which of their boxes are kept."""

    probability: Annotated[float, Ge(0), Le(1)] | None = None
    """Least probability of a class; null with ``top_k`` null is 0.5 where images have several labels."""
    top_k: Annotated[int, Gt(0)] | None = None
    """Most classes of an image, the most probable ones; null with ``probability`` null is 1 where images have one."""
    boxes: Boxes = "largest"
    """Of a map: what the box rule gives, by default the largest component; or every component."""
    min_size: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Least area of a box, a fraction of the image's."""
    masks: bool = False
    """Whether boxes come with their pixels."""
    maps: bool = False
    """Whether classes come with their maps."""


class Inputs(NamedTuple):
    """B images as a network sees them, with where that was in the images."""

    images: Tensor
    """(B,3,S,S) uint8."""
    names: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    """``(height, width)`` of the images."""
    windows: Sequence[Window]
    """Half-open xyxy pixels of the images."""
    clipped: Sequence[float]
    """Shares of their stored values that were made black or white."""


class RawOutputs(NamedTuple):
    """What a network says of a batch, on its device but for the boxes."""

    probabilities: Tensor
    """(B,C)."""
    pairs: Pairs
    """Classes to localize, each image's most probable first."""
    cams: Tensor | None
    """(P,h,w) raw and signed; null of a network that predicts boxes itself."""
    boxes: Tensor | None
    """(P,4) half-open xyxy pixels of the input, of such a network; null of others."""


class Placing:
    """Reads boxes off maps as a run does, and carries them to the images.

    Args:
        class_names: (C,).
        map_size: ``(height, width)`` of score maps.
        score_map: Raw CAMs to score maps.
        box_rule: Score maps to boxes; null for a network that predicts boxes itself.
        threshold: Where the box rule cuts.
        objectless: Classes without objects, 0-based, which give no box.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        map_size: tuple[int, int],
        score_map: ScoreMapFunction,
        box_rule: BoxRule | UncutBoxRule | None,
        threshold: Threshold,
        objectless: Iterable[int] = (),
    ) -> None:
        self.class_names, self.map_size, self.objectless = tuple(class_names), map_size, frozenset(objectless)
        self.score_map, self.box_rule = score_map, box_rule
        is_cut = box_rule is not None and cuts_at_thresholds(box_rule)
        self.threshold = threshold if is_cut else None
        """None where boxes have no CAM threshold."""

    @property
    def has_maps(self) -> bool:
        """Whether boxes are made of maps, not predicted by the network itself."""
        return self.box_rule is not None

    @property
    def shown_thresholds(self) -> list[float]:
        """Return the CAM thresholds that people can choose from on a page, ascending, the one in use among them.

        Empty where boxes have none.
        """
        if self.threshold is None:
            return []
        return sorted({*(number / STEPS for number in range(STEPS)), self.threshold.value})

    def boxes_at_shown_thresholds(self, score_maps: Tensor, classes: Sequence[int], window: Window) -> Tensor:
        """Return the boxes of P maps of one image at :attr:`shown_thresholds`.

        Args:
            score_maps: (P,S,S).
            classes: (P,) 0-based.
            window: That the maps cover, half-open xyxy pixels of the image.

        Returns:
            (P,T,4) float64 half-open xyxy pixels of the image, all 0 for none; T is 0 where boxes have no threshold.
        """
        rule: BoxRule | UncutBoxRule | None = self.box_rule
        thresholds = self.shown_thresholds
        if rule is None or not thresholds or not len(score_maps):
            return torch.zeros(len(score_maps), len(thresholds), 4, dtype=torch.float64)
        boxes = rule(score_maps, thresholds)
        for place, index in enumerate(classes):
            if index in self.objectless:
                boxes[place] = 0
        return from_window(boxes.double(), window, self.map_size)

    def check(self, choice: Choice) -> None:
        """Refuse an option that lies outside its range or has no effect.

        Raises:
            ValueError: Naming it.
        """
        if choice.probability is not None and not 0 <= choice.probability <= 1:
            raise ValueError(f"probability={choice.probability} must lie in [0, 1]")
        if choice.top_k is not None and choice.top_k < 1:
            raise ValueError(f"top_k={choice.top_k} must be at least 1")
        if not 0 <= choice.min_size < 1:
            raise ValueError(f"min_size={choice.min_size} is a fraction of the image's area and must lie in [0, 1)")
        if choice.boxes not in ("largest", "all"):
            raise ValueError(f"boxes={choice.boxes} must be largest or all")
        if choice.maps and self.box_rule is None:
            raise ValueError("maps: this network predicts boxes itself and has none; leave them out")
        has_components = getattr(self.box_rule, "func", self.box_rule) is largest_component_boxes
        for option, asked in (("boxes=all", choice.boxes == "all"), ("masks=true", choice.masks)):
            if asked and not has_components:
                raise ValueError(
                    f"{option} needs components of maps above a CAM threshold, which this network's boxes are not made "
                    "of; leave it out"
                )

    def place(self, batch: Inputs, raw: RawOutputs, choice: Choice) -> list[LocalizedImage]:
        """Return what is found in each of B images."""
        probabilities = raw.probabilities.cpu().numpy()
        image_index, classes = raw.pairs.image_index.tolist(), raw.pairs.classes.tolist()
        by_image: list[list[LocalizedClass]] = [[] for _ in batch.names]
        for start in range(0, len(classes), MAPS_AT_ONCE):
            part = slice(start, min(start + MAPS_AT_ONCE, len(classes)))
            score_maps = self._score_maps(raw, part)
            boxes = self._boxes(batch, raw, part, score_maps)
            windows = torch.tensor(batch.windows).view(-1, 4)[raw.pairs.image_index[part].cpu()]
            on_images = from_window(boxes.double(), windows, self.map_size)
            for number, (image, index) in enumerate(zip(image_index[part], classes[part], strict=True)):
                window, size, probability = batch.windows[image], batch.sizes[image], float(probabilities[image, index])
                score_map = None if score_maps is None else score_maps[number].numpy()
                both = (boxes[number], on_images[number])
                placed = self._placed(index, probability, score_map, both, window, choice)
                least = choice.min_size * size[0] * size[1]
                kept = (box for box in placed if _area(box.box) >= least)
                cam = raw.cams[start + number] if choice.maps and raw.cams is not None else None
                by_image[image].append(
                    LocalizedClass(
                        index,
                        self.class_names[index],
                        probability,
                        tuple(box._replace(mask=_on_image(box.mask, window, size)) for box in kept),
                        None if score_map is None else _peak(score_map, window),
                        None if cam is None else cam.float().cpu().numpy(),
                        score_map if choice.maps else None,
                    )
                )
        return [
            LocalizedImage(name, size, tuple(found), window=window, probabilities=of_image, clipped=clipped)
            for name, size, found, window, of_image, clipped in zip(
                batch.names, batch.sizes, by_image, batch.windows, probabilities, batch.clipped, strict=True
            )
        ]

    def _score_maps(self, raw: RawOutputs, part: slice) -> Tensor | None:
        if raw.cams is None:
            return None
        with torch.no_grad():
            return self.score_map(raw.cams[part], self.map_size).cpu()

    def _boxes(self, batch: Inputs, raw: RawOutputs, part: slice, score_maps: Tensor | None) -> Tensor:
        """Return one box (P,4) for each pair, half-open pixels of the score maps, all 0 for none."""
        if raw.boxes is not None:
            return raw.boxes[part]
        rule: BoxRule | UncutBoxRule | None = self.box_rule
        if rule is None or score_maps is None:
            raise ValueError("the network gave neither maps nor boxes")
        if self.threshold is not None:
            return rule(score_maps, [self.threshold.value])[:, 0]
        if needs_images(rule):
            return rule(score_maps, images=batch.images[raw.pairs.image_index[part].cpu()])  # type: ignore[call-arg] # see needs_images
        return rule(score_maps)  # type: ignore[call-arg] # of a rule that cuts at none

    def _placed(
        self,
        index: int,
        probability: float,
        score_map: NDArray[np.float32] | None,
        box: tuple[Tensor, Tensor],
        window: Window,
        choice: Choice,
    ) -> list[LocalizedBox]:
        """Return the boxes of a pair in pixels of the image, with masks of the map; ``box`` in those of both."""
        if index in self.objectless:
            return []
        boxes: list[tuple[Tensor, Tensor, Mask | None]] = [(*box, None)]
        if score_map is not None and self.threshold is not None and (choice.boxes == "all" or choice.masks):
            found = components(score_map, self.threshold.value)
            number = len(found.boxes) if choice.boxes == "all" else min(1, len(found.boxes))
            masks = [found.labels == one + 1 if choice.masks else None for one in range(number)]
            of_maps = torch.from_numpy(found.boxes[:number])
            boxes = list(zip(of_maps, from_window(of_maps.double(), window, self.map_size), masks, strict=True))
        placed = []
        for of_map, on_image, mask in boxes:
            x0, y0, x1, y1 = on_image.tolist()
            if x1 > x0 and y1 > y0:
                score = probability if score_map is None else probability * _highest_share(score_map, of_map)
                placed.append(LocalizedBox((x0, y0, x1, y1), score, mask))
        return placed


def _highest_share(score_map: NDArray[np.float32], box: Tensor) -> float:
    x0, y0, x1, y1 = (int(edge) for edge in box.tolist())
    highest = float(score_map.max())
    return float(score_map[y0:y1, x0:x1].max()) / highest if highest > 0 else 0.0


def _area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def _peak(score_map: NDArray[np.float32], window: Window) -> tuple[float, float] | None:
    """Return the middle of the first pixel with the highest score, in pixels of the image."""
    if not score_map.max() > 0:
        return None
    row, column = divmod(int(score_map.argmax()), score_map.shape[1])
    x0, y0, x1, y1 = window
    height, width = score_map.shape
    return x0 + (column + 0.5) * (x1 - x0) / width, y0 + (row + 0.5) * (y1 - y0) / height


def _on_image(mask: Mask | None, window: Window, size: tuple[int, int]) -> Mask | None:
    """Return a mask of the map as one of the image, by the nearest pixel."""
    if mask is None:
        return None
    x0, y0, x1, y1 = window
    whole: Mask = np.zeros(size, np.bool_)
    shown = cv2.resize(mask.astype(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
    whole[y0:y1, x0:x1] = shown > 0
    return whole

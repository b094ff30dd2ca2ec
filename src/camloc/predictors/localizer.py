"""Images in, places of classes out: a trained network with all that its run says of how boxes are read off it."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.images.decode import read_clipped_image
from camloc.data.images.intensity import Intensity
from camloc.data.images.transforms import EvalTransform
from camloc.data.sources.loading import Unlabelled, Viewing
from camloc.localization.contract import BoxRule, UncutBoxRule
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.localized import LocalizedImage
from camloc.predictors.box_network import BoxPredictor, decoded
from camloc.predictors.contract import ScoreMapFunction
from camloc.predictors.network import NetworkPredictor
from camloc.predictors.placing import ASSUMED_THRESHOLD, Boxes, Choice, Inputs, Placing, RawOutputs, Threshold
from camloc.records import Pairs

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
ASSUMED = Threshold(ASSUMED_THRESHOLD, "assumed")
SEVERAL_PROBABILITY = 0.5
"""From which a class counts as shown where images have several labels, if nothing else is said."""
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Localizer:
    """Finds the places of classes in images; no label is needed.

    :func:`camloc.load` makes one of a run. Boxes are those of the run's evaluation. The number of devices changes
    nothing, and the batch size no more than a convolution's rounding.

    Args:
        predictor: Network with its attribution method, or one that predicts boxes itself.
        class_names: (C,).
        transform: Takes images to the network's input, as the run's evaluation did.
        score_map: Raw CAMs to score maps.
        box_rule: Score maps to boxes.
        threshold: Where the box rule cuts.
        several_labels: Whether images have several labels: probabilities are then a sigmoid's, else a softmax's.
        objectless: Classes without objects, 0-based, which give no box.
        intensity: What becomes black to white of files with more than 8 bits; null for what a file's type can hold.
        devices: Each gets a copy of the network; batches take turns.
        precision: Of the network; 16 bits are for GPUs.

    Attributes:
        class_names: As given.
        predictor: As given, on the first device.
        placing: What makes boxes of maps; ``placing.threshold`` is None where boxes have no CAM threshold.

    Raises:
        ValueError: If there is no device.
    """

    def __init__(
        self,
        predictor: NetworkPredictor | BoxPredictor,
        class_names: Sequence[str],
        transform: EvalTransform,
        score_map: ScoreMapFunction,
        box_rule: BoxRule | UncutBoxRule = largest_component_boxes,
        threshold: Threshold = ASSUMED,
        *,
        several_labels: bool = False,
        objectless: Iterable[int] = (),
        devices: Sequence[str | torch.device] = ("cpu",),
        intensity: Intensity | None = None,
        precision: Precision = "32-true",
    ) -> None:
        if not devices:
            raise ValueError("devices is empty; give at least one, such as cpu")
        self.class_names, self.transform, self.several_labels = tuple(class_names), transform, several_labels
        self.intensity = intensity
        self.devices, self.precision = [torch.device(device) for device in devices], precision
        rule = None if isinstance(predictor, BoxPredictor) else box_rule
        self.placing = Placing(class_names, transform.size, score_map, rule, threshold, objectless)
        others = [copy.deepcopy(predictor) for _ in self.devices[1:]]
        self.predictor = predictor
        self._copies = [one.eval().to(device) for one, device in zip([predictor, *others], self.devices, strict=True)]

    def localize(
        self,
        images: Iterable[str | Path | Tensor | NDArray[np.uint8] | Any],
        *,
        probability: float | None = None,
        top_k: int | None = None,
        boxes: Boxes = "largest",
        min_size: float = 0.0,
        masks: bool = False,
        maps: bool = False,
        batch_size: int = 32,
    ) -> list[LocalizedImage]:
        """Find classes and their places in images.

        Args:
            images: Paths, (3,H,W) uint8 tensors, (H,W,3) uint8 RGB arrays or Pillow's images, in any mix and sizes.
            probability: Least probability of a class. Null with ``top_k`` null: 0.5 where images have several labels.
            top_k: Most classes of an image, the most probable ones. Null with ``probability`` null: 1 where images
                have one label.
            boxes: ``largest`` component of a map, or ``all`` of them.
            min_size: Least area of a box, a fraction of the image's.
            masks: Whether boxes come with their pixels.
            maps: Whether classes come with their maps.
            batch_size: Images that go through the network at once.

        Returns:
            As many as there are images, in their order; named by their paths, others by their places.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If an image cannot be read or is none, or an option lies outside its range.
        """
        if isinstance(images, str | Path):
            raise ValueError(f"images={images} is one path; give a list: localize([{str(images)!r}])")  # noqa: TRY004 - as any wrong value
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        choice = Choice(probability, top_k, boxes, min_size, masks, maps)
        self.placing.check(choice)
        return [found for batch in self.stream(self._batches(images, batch_size), choice) for found in batch]

    def stream(self, batches: Iterable[Inputs], choice: Choice) -> Iterator[list[LocalizedImage]]:
        """Localize batch after batch in their order; no more than one per device, and one, are held at a time."""
        waiting: deque[tuple[Inputs, Future[RawOutputs]]] = deque()
        with ThreadPoolExecutor(len(self.devices)) as pool:
            for number, batch in enumerate(batches):
                waiting.append((batch, pool.submit(self._run, number % len(self.devices), batch.images, choice)))
                if len(waiting) > len(self.devices):
                    yield self._placed(*waiting.popleft(), choice)
            while waiting:
                yield self._placed(*waiting.popleft(), choice)

    def limits(self, choice: Choice) -> tuple[float | None, int | None]:
        """Return the least probability and the most classes of an image that a choice means here; null for none."""
        if choice.probability is None and choice.top_k is None:
            return (SEVERAL_PROBABILITY, None) if self.several_labels else (None, 1)
        return choice.probability, choice.top_k

    def _placed(self, batch: Inputs, raw: Future[RawOutputs], choice: Choice) -> list[LocalizedImage]:
        return self.placing.place(batch, raw.result(), choice)

    def _batches(self, images: Iterable[Any], batch_size: int) -> Iterator[Inputs]:
        viewing, held = Viewing(self.transform), []
        for number, given in enumerate(images):
            image, clipped = as_image(given, self.intensity)
            name = str(given) if isinstance(given, str | Path) else str(number)
            held.append(viewing(name, image)._replace(clipped=clipped))
            if len(held) == batch_size:
                yield stacked(held, self.transform.size)
                held = []
        if held:
            yield stacked(held, self.transform.size)

    def _run(self, device: int, images: Tensor, choice: Choice) -> RawOutputs:
        found: list[Tensor] = []

        def choose(logits: Tensor) -> Pairs:
            logits = logits.float()
            found.append(logits.sigmoid() if self.several_labels else logits.softmax(dim=1))
            return chosen_pairs(found[0], *self.limits(choice))

        predictor, where = self._copies[device], self.devices[device]
        mixed = torch.autocast(where.type, _DTYPES[self.precision]) if self.precision in _DTYPES else nullcontext()
        with torch.no_grad(), mixed:
            network_input = predictor.normalize(images.to(where, non_blocking=True))
            if isinstance(predictor, BoxPredictor):
                features = predictor.backbone.forward_features(network_input)
                pairs = choose(predictor.backbone.forward_head(features))
                boxes = decoded(predictor.backbone.forward_boxes(features).float(), self.transform.size)
                return RawOutputs(found[0], pairs, None, boxes[pairs.image_index.cpu(), pairs.classes.cpu()])
            _, pairs, cams = predictor.attribution(predictor.backbone, network_input, choose)
        return RawOutputs(found[0], pairs, cams, None)


def chosen_pairs(probabilities: Tensor, probability: float | None, top_k: int | None) -> Pairs:
    """Pair images with their classes, image by image and most probable first; of equal ones the lower index first.

    Args:
        probabilities: (B,C).
        probability: The least; null for any.
        top_k: Most classes of an image; null for any number.

    Example:
        >>> chosen_pairs(torch.tensor([[0.2, 0.8], [0.4, 0.4]]), probability=0.4, top_k=None)
        Pairs(image_index=tensor([0, 1, 1]), classes=tensor([1, 0, 1]))
    """
    values, classes = probabilities.sort(dim=1, descending=True, stable=True)
    kept = torch.ones_like(values, dtype=torch.bool) if probability is None else values >= probability
    kept[:, probabilities.shape[1] if top_k is None else top_k :] = False
    image_index, place = kept.nonzero(as_tuple=True)
    return Pairs(image_index, classes[image_index, place])


def as_image(
    given: str | Path | Tensor | NDArray[np.uint8] | Any,  # noqa: ANN401 - Pillow's image is known by what it can do
    intensity: Intensity | None = None,
) -> tuple[Tensor, float]:
    """Return the (3,H,W) uint8 image that a person means, and the share of its values that were clipped.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or is no image.

    Example:
        >>> as_image(np.zeros((2, 4, 3), np.uint8))[0].shape
        torch.Size([3, 2, 4])
    """
    if isinstance(given, str | Path):
        return read_clipped_image(Path(given), intensity)
    if hasattr(given, "convert"):  # Pillow's
        given = np.array(given.convert("RGB"))
    if isinstance(given, np.ndarray) and given.ndim == 3 and given.shape[2] == 3:  # noqa: PLR2004 - (H,W,3)
        given = torch.from_numpy(np.ascontiguousarray(given)).permute(2, 0, 1)
    shape, dtype = tuple(getattr(given, "shape", ())), getattr(given, "dtype", type(given).__name__)
    if isinstance(given, Tensor) and dtype == torch.uint8 and len(shape) == 3 and shape[0] == 3 and 0 not in shape:  # noqa: PLR2004 - (3,H,W)
        return given.cpu(), 0.0
    raise ValueError(
        f"an image is a path, a (3,H,W) uint8 tensor, a (H,W,3) uint8 RGB array or Pillow's, found {dtype} {shape}"
    )


def stacked(seen: Iterable[Unlabelled], size: tuple[int, int]) -> Inputs:
    """Return images as a batch, without those that could not be read; there may be none.

    Args:
        seen: Images.
        size: ``(height, width)`` of the network's input.

    Example:
        >>> broken = Unlabelled("a.jpg", None, (0, 0), (0, 0, 0, 0), None, "it is empty", None)
        >>> stacked([broken], (8, 8)).images.shape
        torch.Size([0, 3, 8, 8])
    """
    readable = [(one, one.image) for one in seen if one.image is not None]
    return Inputs(
        torch.stack([image for _, image in readable]) if readable else torch.zeros(0, 3, *size, dtype=torch.uint8),
        [one.name for one, _ in readable],
        [one.size for one, _ in readable],
        [one.window for one, _ in readable],
        [one.clipped for one, _ in readable],
    )

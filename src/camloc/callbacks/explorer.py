"""Test images for the page to explore: thumbnails, score maps, boxes at every CAM threshold."""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol, cast

import torch
from annotated_types import Ge
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from camloc.callbacks.watched import BatchResult, RunPaths, batch_index, datamodule_of, gathered
from camloc.data.loading.sample import EvalBatch
from camloc.records import NUM_PREDICTIONS
from camloc.report.explorer.choose import MAX_IMAGES, choose_images
from camloc.report.explorer.files import thumbnails_folder
from camloc.report.explorer.records import ShownImage, ShownPair, shown_pair, shown_thresholds, small_map
from camloc.report.explorer.thumbnails import save_thumbnail


class ShownProtocols(Protocol):
    """What says which boxes people are shown."""

    @property
    def shown_thresholds(self) -> Sequence[float]:
        """(T,) ascending; empty where boxes have none."""

    @property
    def shown_threshold(self) -> float | None:
        """The reported one."""

    def localize_maps(self, cams: Tensor, classes: Tensor, map_size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        """Return score maps (P,H,W) and boxes (P,T,4) of any raw CAMs; None where boxes are not cut out of maps."""


class Watched(Protocol):
    """What is evaluated."""

    num_ranked: int
    """How many of the most likely classes are mapped as well."""
    test_protocols: ShownProtocols


class Explorer(Callback):
    """Keep test images for the page to explore; every process keeps those that it was given.

    Args:
        run: Has the report's folder.
        iou_threshold: From which IoU on a box is a hit, a fraction.
        max_images: How many images, chosen by :func:`camloc.report.explorer.choose.choose_images`.
        predicted_class: Whether to map the most likely class as well: one more map for each image.

    Raises:
        ValueError: If ``max_images`` is below 1.
    """

    def __init__(
        self,
        run: RunPaths,
        iou_threshold: float,
        max_images: Annotated[int, Ge(1)] = MAX_IMAGES,
        predicted_class: bool = True,
    ) -> None:
        if max_images < 1:
            raise ValueError(
                f"report.max_images must be at least 1, got {max_images}; callbacks.explorer=null leaves them out"
            )
        self.thumbnails, self.iou_threshold = thumbnails_folder(run.report), iou_threshold
        self.max_images, self.predicted_class = max_images, predicted_class
        self.images: list[ShownImage] = []
        """What was kept by all processes when an evaluation has ended, in the split's order."""
        self._wanted: set[int] = set()
        self._kept: dict[int, ShownImage] = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the images: the same ones for any number of processes."""
        split: Any = datamodule_of(trainer).split("test")
        classes = [_true_classes(split.target(index)) for index in range(len(split))]
        self._wanted, self._kept, self.images = set(choose_images(classes, self.max_images)), {}, []
        if self.predicted_class:
            module = cast(Watched, pl_module)
            module.num_ranked = max(module.num_ranked, 1)

    def on_test_batch_end(  # type: ignore[override] # our steps return results
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: BatchResult,
        batch: EvalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the chosen images of a batch."""
        wanted = [
            image
            for image, position in enumerate(outputs.truth.positions)
            if position in self._wanted and position not in self._kept
        ]
        if not wanted:
            return
        protocols = cast(Watched, pl_module).test_protocols
        batch_views = _BatchViews(outputs, protocols, self.iou_threshold, wanted if self.predicted_class else [])
        for image in wanted:
            position, (x0, y0, x1, y1) = outputs.truth.positions[image], outputs.truth.windows[image]
            seen = batch.images[batch_index(batch.truth, position)]
            size = save_thumbnail(self.thumbnails, position, seen, (y1 - y0, x1 - x0))
            self._kept[position] = batch_views.shown(image, size)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the images of all processes into the split's order."""
        parts = gathered(self._kept, trainer.world_size)
        kept = {position: image for part in parts for position, image in part.items()}
        self.images = [kept[position] for position in sorted(kept)]
        self._kept = {}


class _BatchViews:
    """What a batch's predictions say of each of its images."""

    def __init__(
        self, outputs: BatchResult, protocols: ShownProtocols, iou_threshold: float, predicted_of: Sequence[int]
    ) -> None:
        self._prediction, self._truth, self._iou_threshold = outputs.prediction, outputs.truth, iou_threshold
        thresholds = protocols.shown_thresholds
        self._places = shown_thresholds(thresholds, protocols.shown_threshold) if thresholds else [0]
        self._image_index = self._prediction.pairs.image_index.tolist()
        self._classes = self._prediction.pairs.classes.tolist()
        logits, self._probs = self._prediction.logits, None
        if logits is not None:
            several = self._truth.target.ndim > 1
            self._probs = (logits.double().sigmoid() if several else logits.double().softmax(dim=1)).cpu()
        self._predicted = self._map_predicted(protocols, predicted_of)

    def shown(self, image: int, size: tuple[int, int]) -> ShownImage:
        """Return an image whose thumbnail has a size."""
        pairs = [self._true_pair(place) for place, of in enumerate(self._image_index) if of == image]
        ranked: list[tuple[int, float]] = []
        if self._probs is not None:
            top = self._probs[image].topk(min(NUM_PREDICTIONS, self._probs.shape[1]))
            ranked = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        return ShownImage(
            name=self._truth.image_ids[image],
            position=self._truth.positions[image],
            size=size,
            pairs=pairs,
            ranked=ranked,
            predicted=self._predicted.get(image),
        )

    def _true_pair(self, place: int) -> ShownPair:
        prediction, class_index, image = self._prediction, self._classes[place], self._image_index[place]
        boxes = torch.zeros(len(self._places), 4)
        if prediction.boxes is not None:
            boxes = prediction.boxes[place, self._places]
        cam_size = None if prediction.cams is None else (prediction.cams.shape[1], prediction.cams.shape[2])
        score_maps = prediction.score_maps
        of_image = None if self._probs is None else self._probs[image]
        return shown_pair(
            class_index,
            boxes,
            self._truth.map_size,
            score_map=None if score_maps is None else small_map(score_maps[place], cam_size),
            probability=None if of_image is None else float(of_image[class_index]),
            rank=None if of_image is None else self._rank(of_image, image, class_index),
            gt_boxes=self._truth.gt_boxes[place],
            iou_threshold=self._iou_threshold,
        )

    def _rank(self, probs: Tensor, image: int, class_index: int) -> int:
        """Count the classes that stand before a true one; the image's other true classes are no mistakes."""
        before = probs > probs[class_index]
        if self._truth.target.ndim > 1:
            before &= ~self._truth.target[image].cpu()
        return int(before.sum())

    def _map_predicted(self, protocols: ShownProtocols, images: Sequence[int]) -> dict[int, ShownPair]:
        """Map the most likely class of each image whose true classes do not have it, by image."""
        ranked = self._prediction.ranked
        if ranked is None or ranked.cams is None or not images:
            return {}
        first = ranked.classes[:, 0].tolist()
        true = set(zip(self._image_index, self._classes, strict=True))
        wrong = [image for image in images if (image, first[image]) not in true]
        if not wrong:
            return {}
        localized = protocols.localize_maps(ranked.cams[wrong, 0], ranked.classes[wrong, 0], self._truth.map_size)
        if localized is None:
            return {}
        cam_size = (ranked.cams.shape[2], ranked.cams.shape[3])
        return {
            image: shown_pair(
                first[image],
                boxes[self._places],
                self._truth.map_size,
                score_map=small_map(score_map, cam_size),
                probability=None if self._probs is None else float(self._probs[image, first[image]]),
                rank=0,
            )
            for image, score_map, boxes in zip(wrong, *localized, strict=True)
        }


def _true_classes(target: int | Tensor) -> list[int]:
    return target.nonzero()[:, 0].tolist() if isinstance(target, Tensor) else [target]

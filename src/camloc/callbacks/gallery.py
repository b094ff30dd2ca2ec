"""A gallery of test images: heatmap, true boxes, predicted box, classes, IoU."""

from typing import Annotated, Any

import torch
from annotated_types import Ge
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.nn.functional import interpolate

from camloc.boxes import iou, rescale
from camloc.callbacks.watched import BatchResult, RunPaths, batch_index, datamodule_of, gathered, predicted_class
from camloc.data.loading.sample import EvalBatch
from camloc.report.gallery_tile import gallery_caption, gallery_tile
from camloc.report.page import GalleryItem
from camloc.report.rgb import save_png


class Gallery(Callback):
    """Draw some test images into a folder, a PNG each.

    The heatmap and the predicted box are those of the true class, as GT-known localization sees them, at the reported
    threshold; a network that predicts boxes itself has no heatmap. An image with several labels has a tile for
    each, one without has none. Every process draws the images it was given.

    Args:
        run: Has the folder.
        iou_threshold: From which IoU on a box is shown as a hit, a fraction.
        count: How many images.

    Raises:
        ValueError: If ``count`` is below 1.
    """

    def __init__(self, run: RunPaths, iou_threshold: float, count: Annotated[int, Ge(1)] = 24) -> None:
        if count < 1:
            raise ValueError(
                f"callbacks.gallery.count must be at least 1, got {count}; callbacks.gallery=null leaves it out"
            )
        self.folder, self.iou_threshold, self.count = run.gallery, iou_threshold, count
        self.items: list[GalleryItem] = []
        """What was drawn by all processes when an evaluation has ended, in the split's order."""
        self._wanted: set[int] = set()
        self._drawn: dict[tuple[int, int], GalleryItem] = {}
        """By position and class."""

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the images: the same ones for any number of processes."""
        num_images = len(datamodule_of(trainer).split("test"))
        # Drawn with a seed of their own: evenly spaced ones would meet the same few classes where classes take turns.
        order = torch.randperm(num_images, generator=torch.Generator().manual_seed(0))
        self._wanted, self._drawn, self.items = set(order[: self.count].tolist()), {}, []

    def on_test_batch_end(  # type: ignore[override] # our steps return results
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: BatchResult,
        batch: EvalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the chosen images of a batch."""
        names = datamodule_of(trainer).class_names
        for pair, image in enumerate(outputs.prediction.pairs.image_index.tolist()):
            position, drawn = outputs.truth.positions[image], int(outputs.prediction.pairs.classes[pair])
            if position in self._wanted and (position, drawn) not in self._drawn:
                seen = batch.images[batch_index(batch.truth, position)]
                several = "" if outputs.truth.target.ndim == 1 else f"_{drawn:04d}"
                self._drawn[position, drawn] = self._draw(f"{position:08d}{several}.png", seen, outputs, pair, names)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the items of all processes into the split's order."""
        drawn = {pair: item for part in gathered(self._drawn, trainer.world_size) for pair, item in part.items()}
        self.items = [drawn[pair] for pair in sorted(drawn)]

    def _draw(
        self, name: str, seen: torch.Tensor, outputs: BatchResult, pair: int, names: tuple[str, ...]
    ) -> GalleryItem:
        prediction, truth = outputs.prediction, outputs.truth
        image, pair_class = int(prediction.pairs.image_index[pair]), int(prediction.pairs.classes[pair])
        if outputs.shown_boxes is None or prediction.logits is None:
            raise ValueError("a gallery needs logits and boxes; callbacks.gallery=null leaves it out")
        score_map = None if prediction.score_maps is None else prediction.score_maps[pair].float().cpu()
        box = outputs.shown_boxes[pair].float()
        gt_boxes = truth.gt_boxes[pair]
        shown: dict[str, Any] = {
            "true_class": names[pair_class],
            "predicted_class": names[predicted_class(prediction.logits[image], truth.target[image], pair_class)],
            "iou": float(iou(box[None], gt_boxes).max()) if len(gt_boxes) else None,
        }
        # Images are shown in their own aspect, not in the square that the network sees.
        square, (x0, y0, x1, y1) = (seen.shape[-2], seen.shape[-1]), truth.windows[image]
        height, width = y1 - y0, x1 - x0
        zoom = max(square) / max(height, width)
        size = (max(1, round(height * zoom)), max(1, round(width * zoom)))
        resized = interpolate(seen[None].cpu().float(), size, mode="bilinear", antialias=True)
        tile = gallery_tile(
            resized[0].round().byte(),
            None if score_map is None else interpolate(score_map[None, None], size, mode="bilinear")[0, 0],
            rescale(gt_boxes, truth.map_size, size),
            rescale(box, truth.map_size, size),
            iou_threshold=self.iou_threshold,
            **shown,
        )
        file = self.folder / name
        save_png(file, tile)
        caption = gallery_caption(**shown, predicted_box=box, iou_threshold=self.iou_threshold)
        return GalleryItem(file, caption, truth.image_ids[image])

"""A gallery of test images: heatmap, true boxes, predicted box, classes, IoU."""

import json
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.nn.functional import interpolate

from camloc.boxes import iou, rescale
from camloc.callbacks.localizer import Localizer
from camloc.data.loading.sample import EvalBatch, Prediction
from camloc.report.drawing import gallery_caption, gallery_tile, save_png


class Gallery(Callback):
    """Draw some test images into ``report/gallery``, each a PNG with a JSON file of what it shows.

    The heatmap and the predicted box are those of the true class, as GT-known localization sees them, at the reported
    threshold. Every process draws the images it was dealt.

    Args:
        count: How many images.
        iou_threshold: From which IoU on a box is shown as a hit, a fraction.
    """

    def __init__(self, count: int = 24, iou_threshold: float = 0.5) -> None:
        if count < 1:
            raise ValueError(
                f"callbacks.gallery.count must be at least 1, got {count}; callbacks.gallery=null leaves it out"
            )
        self.count = count
        self.iou_threshold = iou_threshold
        self._wanted: set[int] = set()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the images: the same ones for any number of processes."""
        num_images = len(trainer.datamodule.split("test"))  # type: ignore[attr-defined] # set while testing
        # Drawn with a seed of their own: evenly spaced ones would meet the same few classes where classes take turns.
        order = torch.randperm(num_images, generator=torch.Generator().manual_seed(0))
        self._wanted = set(order[: self.count].tolist())

    def on_test_batch_end(  # type: ignore[override] # our steps return predictions
        self,
        trainer: Trainer,
        pl_module: Localizer,
        outputs: Prediction,
        batch: EvalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the chosen images of a batch."""
        folder = Path(trainer.default_root_dir) / "report" / "gallery"
        for index, position in enumerate(batch.truth.positions):
            if position in self._wanted:
                self._draw(folder / f"{position:08d}", trainer, pl_module, outputs, batch, index)

    def _draw(
        self,
        stem: Path,
        trainer: Trainer,
        module: Localizer,
        outputs: Prediction,
        batch: EvalBatch,
        index: int,
    ) -> None:
        names = trainer.datamodule.class_names  # type: ignore[attr-defined] # set while testing
        score_map = outputs.score_maps[index].float().cpu()
        at = module.cam_thresholds.index(module.test_threshold())
        box = outputs.boxes[index, at].float()
        truth = batch.truth
        gt_boxes = truth.gt_boxes[index].cpu()
        shown: dict[str, Any] = {
            "true_class": names[int(truth.target[index])],
            "predicted_class": names[int(outputs.logits[index].argmax())],
            "iou": float(iou(box[None], gt_boxes).max()) if len(gt_boxes) else None,
        }
        # Images are shown in their own aspect, not in the square that the network sees.
        seen, (x0, y0, x1, y1) = batch.images.shape[-2:], truth.windows[index]
        height, width = y1 - y0, x1 - x0
        zoom = max(seen) / max(height, width)
        size = (max(1, round(height * zoom)), max(1, round(width * zoom)))
        image = interpolate(batch.images[index : index + 1].cpu().float(), size, mode="bilinear", antialias=True)
        tile = gallery_tile(
            image[0].round().byte(),
            interpolate(score_map[None, None], size, mode="bilinear")[0, 0],
            rescale(gt_boxes, (seen[0], seen[1]), size),
            rescale(box, (seen[0], seen[1]), size),
            iou_threshold=self.iou_threshold,
            **shown,
        )
        save_png(stem.with_suffix(".png"), tile)
        caption = gallery_caption(**shown, predicted_box=box, iou_threshold=self.iou_threshold)
        record = {"image_id": truth.image_ids[index], **shown, "caption": caption}
        stem.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")

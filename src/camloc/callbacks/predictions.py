"""What a run says of every image: ``predictions.csv`` for people, ``per_image/*.npz`` for statistics."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch.nn.utils.rnn import pad_sequence

from camloc.boxes import from_window, iou
from camloc.callbacks.localizer import Localizer
from camloc.data.loading.sample import EvalBatch, Prediction, SavedBatch, Truth
from camloc.metrics.functional.breakdown import CAUSES, miss_causes, object_share
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.per_image import PerImage

COLUMNS = (
    "image_id",
    "true_class",
    "top5_classes",  # best first, separated by |
    "rank",  # of the true class, 0 when it is first
    "x0",
    "y0",
    "x1",
    "y1",  # half-open pixels of the original image; all 0 when the map gave no box
    # What follows is empty for a split without true boxes.
    "iou",  # at the reported CAM threshold, with the best true box
    "best_iou",  # over all CAM thresholds: a diagnostic, not a result
    "best_cam_threshold",
    "cause",  # hit, or why it is no top-1 hit, see camloc.metrics.functional.breakdown
    "object_share",  # of the image's area, the largest true box
)


class Predictions(Callback):
    """Write every test image's prediction, and its IoU at every threshold, once however many processes there are.

    Args:
        iou_threshold: From which IoU on a box is a hit, a fraction.
    """

    def __init__(self, iou_threshold: float = 0.5) -> None:
        self.iou_threshold = iou_threshold
        self._rows: list[dict[str, Any]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the split before."""
        self._rows = []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the split before."""
        self._rows = []

    def on_validation_batch_end(  # type: ignore[override] # our steps return predictions
        self, trainer: Trainer, pl_module: Localizer, outputs: Prediction, batch: EvalBatch | SavedBatch, batch_idx: int
    ) -> None:
        """Keep a batch of ``val``, unless it only watches a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._keep(outputs, batch.truth)

    def on_test_batch_end(  # type: ignore[override] # our steps return predictions
        self, trainer: Trainer, pl_module: Localizer, outputs: Prediction, batch: EvalBatch | SavedBatch, batch_idx: int
    ) -> None:
        """Keep a batch of ``test``, with the causes of misses at the reported threshold."""
        self._keep(outputs, batch.truth, pl_module.cam_thresholds.index(pl_module.test_threshold()))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Localizer) -> None:  # type: ignore[override]
        """Write ``per_image/val.npz``."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Localizer) -> None:  # type: ignore[override]
        """Write ``per_image/test.npz`` and ``predictions.csv``."""
        rows = self._write(trainer, pl_module, "test")
        if not trainer.is_global_zero:
            return
        names = trainer.datamodule.class_names  # type: ignore[attr-defined] # set while testing
        at = pl_module.cam_thresholds.index(pl_module.test_threshold())
        path = Path(trainer.default_root_dir) / "predictions.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in rows:
                fields = [
                    row["image_id"],
                    names[row["target"]],
                    "|".join(names[prediction] for prediction in row["predictions"]),
                    row["rank"],
                    *(f"{value:g}" for value in row["box"]),
                ]
                if "iou" in row:
                    best = int(row["iou"].argmax())
                    fields += [
                        f"{row['iou'][at]:.6f}",
                        f"{row['iou'][best]:.6f}",
                        pl_module.cam_thresholds[best],
                        row["cause"],
                        f"{row['object_share']:.6f}",
                    ]
                writer.writerow(fields)

    def _keep(self, outputs: Prediction, truth: Truth, reported: int = 0) -> None:
        boxes, size = outputs.boxes, truth.map_size
        gt_boxes = [true_boxes.cpu() for true_boxes in truth.gt_boxes]
        overlap = iou(boxes, pad_sequence(gt_boxes, batch_first=True)).amax(dim=-1).numpy() if truth.has_boxes else None
        rank = class_rank(outputs.logits, truth.target).tolist()
        predictions = outputs.logits.topk(min(5, outputs.logits.shape[1])).indices.tolist()
        if truth.has_boxes:
            causes = miss_causes(boxes[:, reported], gt_boxes, torch.tensor(rank) == 0, self.iou_threshold).tolist()
            shares = object_share(truth.image_boxes, truth.image_sizes).tolist()
        for index, is_padding in enumerate(truth.is_padding.tolist()):
            if not is_padding:
                row = {
                    "position": truth.positions[index],
                    "image_id": truth.image_ids[index],
                    "target": int(truth.target[index]),
                    "rank": rank[index],
                    "predictions": predictions[index],
                    "box": from_window(boxes[index, reported].float(), truth.windows[index], size).tolist(),
                }
                if overlap is not None:
                    row |= {
                        "iou": overlap[index],
                        "cause": CAUSES[causes[index]],
                        "object_share": shares[index],
                    }
                self._rows.append(row)

    def _write(self, trainer: Trainer, module: Localizer, split: str) -> list[dict[str, Any]]:
        """Bring the rows of all processes into the split's order; the first process writes the arrays."""
        gathered = [self._rows]
        if trainer.world_size > 1:
            gathered = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(gathered, self._rows)
        rows = sorted((row for part in gathered for row in part), key=lambda row: row["position"])
        if trainer.is_global_zero and all("iou" in row for row in rows):
            path = Path(trainer.default_root_dir) / "per_image" / f"{split}.npz"
            path.parent.mkdir(exist_ok=True)
            PerImage(
                image_ids=np.array([row["image_id"] for row in rows]),
                target=np.array([row["target"] for row in rows]),
                rank=np.array([row["rank"] for row in rows]),
                iou=np.stack([row["iou"] for row in rows]),
                cam_thresholds=np.array(module.cam_thresholds),
            ).save(path)
        return rows

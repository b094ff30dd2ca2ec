"""The predictions of a test split as a file that the ILSVRC devkit reads."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from camloc.boxes import from_window
from camloc.callbacks.localizer import Localizer
from camloc.data.loading.sample import EvalBatch, Prediction, SavedBatch
from camloc.metrics.functional.devkit import devkit_pixels
from camloc.predictors.submission import write_submission

FILE_NAME = "submission.txt"


class Submission(Callback):
    """Write ``submission.txt``: five classes per image, each with the box of its own map at the reported threshold.

    Labels are the devkit's where the data module knows them (``devkit_ids``), else 1 for the first class and so on.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[list[int], Tensor]] = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the evaluation before."""
        self._rows = {}

    def on_test_batch_end(  # type: ignore[override] # our steps return predictions
        self,
        trainer: Trainer,
        pl_module: Localizer,
        outputs: Prediction,
        batch: EvalBatch | SavedBatch,
        batch_idx: int,
    ) -> None:
        """Box the predictions of a batch."""
        truth = batch.truth
        predictions = pl_module.prediction(batch, outputs)
        at = pl_module.cam_thresholds.index(pl_module.test_threshold())
        score_maps = pl_module.score_map(predictions.cams.flatten(0, 1), truth.map_size).cpu()
        boxes = pl_module.sweep(score_maps)[:, at].double().view(*predictions.classes.shape, 4)
        classes = predictions.classes.tolist()
        for index, is_padding in enumerate(truth.is_padding.tolist()):
            if not is_padding:
                placed = from_window(boxes[index], truth.windows[index], truth.map_size)
                self._rows[truth.positions[index]] = (classes[index], devkit_pixels(placed))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the predictions of all processes into the split's order and write them."""
        gathered = [self._rows]
        if trainer.world_size > 1:
            gathered = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(gathered, self._rows)
        if trainer.is_global_zero:
            rows = {position: row for part in gathered for position, row in part.items()}
            datamodule: Any = trainer.datamodule  # type: ignore[attr-defined] # set while testing
            ids = getattr(datamodule, "devkit_ids", None) or range(1, len(datamodule.class_names) + 1)
            labels = [[ids[prediction] for prediction in rows[position][0]] for position in range(len(rows))]
            boxes = [rows[position][1] for position in range(len(rows))]
            write_submission(Path(trainer.default_root_dir) / FILE_NAME, labels, boxes)
        self._rows = {}

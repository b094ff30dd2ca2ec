"""Score maps as files that other tools read."""

from pathlib import Path

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from camloc.data.loading.sample import EvalBatch, Prediction, SavedBatch


class ExportScoreMaps(Callback):
    """Write every test image's score map to ``<folder>/<image_id>.npy``, float32, the layout of wsolevaluation.

    Args:
        folder: Where to; ids keep their folders.

    Raises:
        FileExistsError: If the folder holds something already.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and any(self.folder.iterdir()):
            raise FileExistsError(f"export_score_maps={folder} is not empty; name a new folder")

    def on_test_batch_end(  # type: ignore[override] # our steps return predictions
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Prediction,
        batch: EvalBatch | SavedBatch,
        batch_idx: int,
    ) -> None:
        """Write a batch; a repeat that fills up the last round is written once, where it counts."""
        truth = batch.truth
        maps = outputs.score_maps.float().cpu().numpy()
        for score_map, image_id, is_padding in zip(maps, truth.image_ids, truth.is_padding.tolist(), strict=True):
            if not is_padding:
                file = (self.folder / f"{image_id}.npy").resolve()
                if not file.is_relative_to(self.folder.resolve()):
                    raise ValueError(f"the image id {image_id!r} leads out of export_score_maps={self.folder}")
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, score_map)

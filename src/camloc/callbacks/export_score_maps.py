"""Every test image's score map as a file, while the maps go by."""

from pytorch_lightning import Callback, LightningModule, Trainer

from camloc.callbacks.watched import BatchResult
from camloc.export.score_map_files import ScoreMapFolder


class ExportScoreMaps(Callback):
    """Write the score map of every test image's true class.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: ScoreMapFolder) -> None:
        self.folder = folder

    def on_test_batch_end(  # type: ignore[override] # our steps return results
        self, trainer: Trainer, pl_module: LightningModule, outputs: BatchResult, batch: object, batch_idx: int
    ) -> None:
        """Write a batch; a repeat that fills up the last round is written once, where it counts."""
        prediction, truth = outputs.prediction, outputs.truth
        if prediction.score_maps is None:
            raise ValueError("export_score_maps needs maps, which this source of predictions lacks")
        for score_map, image in zip(prediction.score_maps, prediction.pairs.image_index.tolist(), strict=True):
            self.folder.write(truth.image_ids[image], score_map)

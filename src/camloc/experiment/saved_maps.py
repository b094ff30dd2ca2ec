"""Evaluate the predictions that an earlier evaluation saved: no network, no images."""

from functools import partial
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from camloc.data.loading.sample import Prediction, SavedBatch, SavedSample, TopPredictions, collate_saved
from camloc.data.loading.samplers import EvalSampler
from camloc.data.loading.split import SplitName
from camloc.evaluation import EvaluationModule
from camloc.predictors.saved_maps import SavedMaps, SavedSplit


class SavedMapsModule(EvaluationModule):
    """Counts saved predictions as the classifier that made them would."""

    def validation_step(self, batch: SavedBatch) -> Prediction:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that thresholds are chosen on."""
        return self.count(batch.logits, batch.cam, batch.truth, self.val_metrics)

    def test_step(self, batch: SavedBatch) -> Prediction:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that results are reported on."""
        return self.count(batch.logits, batch.cam, batch.truth, self.test_metrics)

    def prediction(self, batch: SavedBatch, prediction: Prediction) -> TopPredictions:  # noqa: ARG002 - other modules need it
        """Return the predictions that were saved."""
        return TopPredictions(batch.predictions, batch.prediction_cams)


class SavedMapsData(LightningDataModule):
    """Loads the splits of a file of saved predictions.

    Args:
        saved: The file.
        batch_size: Images per process and step.
    """

    def __init__(self, saved: SavedMaps, batch_size: int) -> None:
        super().__init__()
        self.class_names, self.devkit_ids, self.batch_size = saved.class_names, saved.devkit_ids, batch_size
        self._splits: dict[str, SavedSplit] = {name: saved.split(name) for name in ("val", "test")}

    def split(self, name: SplitName) -> SavedSplit:
        """Return a split."""
        return self._splits[name]

    def val_dataloader(self) -> DataLoader[SavedSample]:
        """Return this process's share of ``val``."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[SavedSample]:
        """Return this process's share of ``test``."""
        return self._loader("test")

    def _loader(self, name: SplitName) -> DataLoader[SavedSample]:
        split = self.split(name)
        trainer: Any = self.trainer
        sampler = EvalSampler(len(split), trainer.world_size, trainer.global_rank)
        collate = partial(collate_saved, map_size=split.map_size)
        return DataLoader(split, self.batch_size, sampler=sampler, collate_fn=collate)

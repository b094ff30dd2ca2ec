"""What every source of predictions gives an evaluation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.samplers import EvalSampler
from camloc.data.loading.split import SplitName
from camloc.experiment.measuring.results import Threshold
from camloc.predictors.contract import Predictor, ScoreMapFunction


class Source(NamedTuple):
    """Predictions with the data that they are measured against."""

    predictor: Predictor
    data: "LocalizationDataModule | PredictedData"
    """Loaders, ``split(name).image_id(index)``, ``class_names``, ``devkit_ids``, ``objectless``, ``several_labels``."""
    splits: tuple[SplitName, ...]
    """``test``, with ``val`` before it where thresholds can be chosen there."""
    notes: list[str]
    """What people should know of the predictions."""
    score_map: ScoreMapFunction | None = None
    """In place of the configured one; None where that applies."""
    threshold: Threshold | None = None
    """To report at where ``val`` is not evaluated."""
    has_maps: bool = True
    """Whether boxes are read off maps; else there is no CAM threshold."""
    has_images: bool = False
    """Whether there are images to draw on."""
    has_other_classes: bool = False
    """Whether it can localize other classes than the true ones."""
    trained_with_boxes: bool = False
    """Whether its network was trained with true boxes and predicts boxes itself, without maps."""


class PredictedData(LightningDataModule):
    """Loads predictions that were made before.

    Args:
        splits: By name.
        collate: Samples to a batch, by split.
        class_names: (C,).
        devkit_ids: See :class:`camloc.callbacks.watched.WatchedData`.
        batch_size: Per process and step.
        num_workers: Loader processes.
        objectless: Classes without objects, 0-based.
        several_labels: Whether an image may have several labels, or none.
        pseudo_boxes: What stood in for the true boxes of ``val``; null where these are there.
    """

    def __init__(
        self,
        splits: Mapping[SplitName, Dataset[Any]],
        collate: Mapping[SplitName, Callable[[Any], Any]],
        class_names: Sequence[str],
        devkit_ids: Sequence[int] | None,
        batch_size: int,
        num_workers: int,
        objectless: frozenset[int] = frozenset(),
        *,
        several_labels: bool = False,
        pseudo_boxes: str | None = None,
    ) -> None:
        super().__init__()
        self.objectless, self.several_labels, self.pseudo_boxes = objectless, several_labels, pseudo_boxes
        self._splits, self._collate = splits, collate
        self.class_names, self.devkit_ids = tuple(class_names), devkit_ids
        self.batch_size, self.num_workers = batch_size, num_workers

    def split(self, name: SplitName) -> Any:  # noqa: ANN401 - each source has its own
        """Return a split."""
        return self._splits[name]

    def val_dataloader(self) -> DataLoader[Any]:
        """Return this process's share of ``val``."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return this process's share of ``test``."""
        return self._loader("test")

    def _loader(self, name: SplitName) -> DataLoader[Any]:
        if self.trainer is None:
            raise ValueError("predictions are loaded by a trainer")
        split = self.split(name)
        sampler = EvalSampler(len(split), self.trainer.world_size, self.trainer.global_rank)
        return DataLoader(
            split, self.batch_size, sampler=sampler, num_workers=self.num_workers, collate_fn=self._collate[name]
        )

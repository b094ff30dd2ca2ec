"""Where an evaluation's predictions come from: a network, saved maps, ready-made maps or a submission file."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, Dataset

from camloc.attribution.score_map import score_map
from camloc.data.datasets.wsol_metadata import WsolMetadata
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.samplers import EvalSampler
from camloc.data.loading.split import SplitName
from camloc.experiment.build import (
    build_box_rule,
    build_datamodule,
    build_measures,
    build_predictor,
    load_splits,
)
from camloc.experiment.checkpoint import (
    load_weights,
    refuse_other_classes,
    refuse_trained_images,
    run_record,
)
from camloc.experiment.limits import refuse_few_descriptors
from camloc.experiment.measuring.results import Threshold
from camloc.experiment.measuring.split_protocols import SplitProtocols
from camloc.experiment.preflight import preflight
from camloc.experiment.recorded_splits import moved_since
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.saved_config import checkpoint_file, saved_config
from camloc.experiment.unused_options import names_network
from camloc.localization.contract import cuts_at_thresholds
from camloc.predictors.contract import Predictor, ScoreMapFunction
from camloc.predictors.map_files import MAP_SIZE, MapDataset, MapFolder, MapPredictor
from camloc.predictors.saved_maps import SavedMaps, SavedPredictor
from camloc.predictors.submission import SubmissionDataset, SubmissionPredictor
from camloc.predictors.truth import MetadataSplit, SomeOf, SplitTruth, UnseenSplit

_ASKING_FOR_MAPS = (
    *("localization.cam_threshold", "localization.more_thresholds"),
    *("save_score_maps", "export_score_maps"),
)


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
    ) -> None:
        super().__init__()
        self.objectless, self.several_labels = objectless, several_labels
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


def build_source(config: DictConfig, run: RunDirectory) -> Source:
    """Build the one source that a configuration names.

    Raises:
        ValueError: If it names none, or several.
    """
    if names_network(config):
        return _network(config, run)
    named = [name for name in ("checkpoint", "score_maps", "submission") if config[name] is not None]
    if len(named) != 1:
        found = f"found {' and '.join(named)}" if named else "found none"
        raise ValueError(
            "say what to evaluate, one of checkpoint=RUN_OR_FILE.ckpt, score_maps=FILE_OR_FOLDER, backbone=NAME with "
            f"weights of its own and submission=FILE; {found}"
        )
    if config.submission is not None:
        return _submission(config)
    if config.score_maps is None:
        return _checkpoint(config, run)
    return _saved_maps(config) if Path(config.score_maps).is_file() else _map_folder(config)


def _network(config: DictConfig, run: RunDirectory) -> Source:
    """Return a network with the weights that it comes with; ``val`` is read where a threshold is chosen there."""
    missing = [part for part in ("datamodule", "attribution", "views", "score_map") if not config[part]]
    if missing:
        raise ValueError(
            "a backbone= without checkpoint= brings nothing but its weights; name "
            f"{', '.join(f'{part}=' for part in missing)} too, or an experiment= that does"
        )
    if "channels_last" not in config.classifier:  # trainer=gpu has it
        OmegaConf.update(config, "classifier.channels_last", False, force_add=True)
    splits: tuple[SplitName, ...] = ("val", "test") if _chooses_on_val(config) else ("test",)
    datamodule = build_datamodule(config, splits)
    preflight(datamodule, splits, run, config.on_unreadable)
    predictor = build_predictor(config, datamodule)
    _refuse_random_weights(config, cast(nn.Module, predictor.backbone), datamodule.num_classes)
    return Source(
        predictor,
        datamodule,
        splits,
        [f"Weights: the network's own, backbone.weights={config.backbone.get('weights')}."],
        has_images=True,
        has_other_classes=True,
    )


def _chooses_on_val(config: DictConfig) -> bool:
    """Return whether a protocol chooses its CAM threshold."""
    protocols = SplitProtocols(build_measures(config)).protocols.values()
    return any(protocol.chooses_threshold and protocol.cam_threshold is None for protocol in protocols)


def _refuse_random_weights(config: DictConfig, backbone: nn.Module, num_classes: int) -> None:
    """Refuse a network with layers that come out different when it is built with another seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        other: nn.Module = instantiate(config.backbone)(num_classes=num_classes)
    again = other.state_dict()
    random = [
        name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor.cpu(), again[name].cpu())
    ]
    if random:
        raise ValueError(
            f"backbone.weights={config.backbone.get('weights')} leaves {len(random)} tensors at random for "
            f"{num_classes} classes, such as {random[0]}; train the network and evaluate its checkpoint=, or give "
            "weights for all of it"
        )


def _checkpoint(config: DictConfig, run: RunDirectory) -> Source:
    file = checkpoint_file(Path(config.checkpoint))
    record = run_record(file)
    if record.trained_with_boxes:
        _refuse_what_needs_maps(config, file)
    splits: tuple[SplitName, ...] = ("val", "test") if config.threshold_from == "val" else ("test",)
    notes = [f"Weights: {file}."]
    datamodule: LocalizationDataModule = instantiate(config.datamodule)
    if not set(splits) <= set(datamodule.split_names):
        splits = ("test",)
        notes.append("The data has no val: the CAM threshold, where there is one, is that of the checkpoint.")
    load_splits(datamodule, config, splits)
    datamodule.use_intensity(record.intensity)
    preflight(datamodule, splits, run, config.on_unreadable)
    notes += moved_since(RunDirectory(file.parent.parent).splits, datamodule.dealt, splits)
    refuse_other_classes(datamodule.class_names, record.class_names, file)
    for name in splits:
        refuse_trained_images(record.fingerprint, datamodule.split(name), name, file)
    if "weights" in config.backbone:
        config.backbone.weights = None  # the checkpoint brings all weights; nothing is fetched for it
    predictor = build_predictor(config, datamodule, trained_with_boxes=record.trained_with_boxes)
    load_weights(predictor, file, prefix="predictor.")
    threshold = None
    if record.cam_threshold is not None and record.threshold_source is not None:
        threshold = Threshold(record.cam_threshold, record.threshold_source)
    needs_threshold = not record.trained_with_boxes and cuts_at_thresholds(build_box_rule(config))
    test = datamodule.split("test")
    has_boxes = any(len(boxes) for index in range(len(test)) for boxes in test.gt_boxes(index))
    if splits == ("test",) and threshold is None and needs_threshold and has_boxes:
        raise ValueError(
            f"{file} has no CAM threshold, for its val had no boxes to choose it on; give data with boxes in val and "
            "threshold_from=val"
        )
    return Source(
        predictor,
        datamodule,
        splits,
        notes,
        threshold=threshold,
        has_maps=not record.trained_with_boxes,
        has_images=True,
        has_other_classes=True,
        trained_with_boxes=record.trained_with_boxes,
    )


def _refuse_what_needs_maps(config: DictConfig, file: Path) -> None:
    """Refuse options that have no effect on a network which predicts boxes itself.

    Raises:
        ValueError: Naming all of them.
    """
    of_run = saved_config(Path(config.checkpoint))
    asked = [key for key in ("attribution", "views", "score_map", "box_rule") if config[key] != of_run.get(key)]
    asked += [key for key in _ASKING_FOR_MAPS if OmegaConf.select(config, key)]
    if asked:
        raise ValueError(
            f"{file} was trained with boxes and predicts boxes itself; there is no map and no CAM threshold, so leave "
            f"out {', '.join(asked)}"
        )


def _saved_maps(config: DictConfig) -> Source:
    saved = SavedMaps(Path(config.score_maps))
    names: tuple[SplitName, ...] = ("val", "test")
    if not saved.has("val"):  # an evaluation that chose no threshold has not read it
        if _chooses_on_val(config):
            raise ValueError(
                f"score_maps={saved.path} holds maps of test alone, and a CAM threshold is to be chosen on val; give "
                "localization.cam_threshold=, or a protocol with a threshold of its own, such as localization=paper"
            )
        names = ("test",)
    splits = {name: saved.split(name) for name in names}
    data = PredictedData(
        splits,
        {name: split.collate for name, split in splits.items()},
        saved.class_names,
        saved.devkit_ids,
        config.map_loader.batch_size,
        num_workers=0,  # they lie in memory
        objectless=saved.objectless,
        several_labels=splits["test"].several_labels,
    )
    return Source(SavedPredictor(), data, names, [f"Saved score maps: {saved.path}."], has_other_classes=True)


def _map_folder(config: DictConfig) -> Source:
    refuse_few_descriptors(config.map_loader.num_workers, "map_loader.num_workers")
    folder = MapFolder(config.score_maps)
    truth, class_names, devkit_ids, objectless = _unseen_test_split(config, MAP_SIZE)
    image_ids = [truth.image_id(index) for index in range(len(truth))]
    present, notes = folder.check(image_ids, config.on_missing)
    measured = MapDataset(folder, truth if len(present) == len(truth) else SomeOf(truth, present))
    data = PredictedData(
        {"test": measured},
        {"test": MapDataset.collate},
        class_names,
        devkit_ids,
        **config.map_loader,
        objectless=objectless,
    )
    notes = [f"Ready-made maps: {folder.directory}.", *measured.size_notes(), *notes]
    as_they_are = partial(score_map, normalization="none")
    # Maps that are finished are measured as they are, unless another normalization is asked for.
    chosen = None if config.score_map else as_they_are
    return Source(MapPredictor(), data, ("test",), notes, score_map=chosen)


def _submission(config: DictConfig) -> Source:
    truth, class_names, devkit_ids, objectless = _unseen_test_split(config, (1, 1))
    labels = devkit_ids or range(1, len(class_names) + 1)
    path = Path(config.submission)
    data = PredictedData(
        {"test": SubmissionDataset(path, truth, labels)},
        {"test": SubmissionDataset.collate},
        class_names,
        devkit_ids,
        config.map_loader.batch_size,
        num_workers=0,
        objectless=objectless,
    )
    return Source(SubmissionPredictor(), data, ("test",), [f"Submission: {path}."], has_maps=False)


def _unseen_test_split(
    config: DictConfig, map_size: tuple[int, int]
) -> tuple[SplitTruth, Sequence[str], Sequence[int] | None, frozenset[int]]:
    """Return the test split without its images, its classes' names, their labels in the devkit and the objectless."""
    if not config.datamodule:
        raise ValueError("name the data set that the predictions are measured against: datamodule=NAME")
    built: LocalizationDataModule | WsolMetadata = instantiate(config.datamodule)
    if isinstance(built, WsolMetadata):
        return MetadataSplit(built, map_size), [str(label) for label in range(built.num_classes)], None, frozenset()
    if built.several_labels:
        raise ValueError(
            "predictions from files have one class for each image, and the images of this data set have several "
            "labels; evaluate a checkpoint"
        )
    return UnseenSplit(built.split("test"), map_size), built.class_names, built.devkit_ids, built.objectless

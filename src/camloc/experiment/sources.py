"""Where an evaluation's predictions come from: a network, saved maps, ready-made maps or a submission file."""

from pathlib import Path
from typing import cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.split import SplitName
from camloc.experiment.build import (
    build_box_rule,
    build_datamodule,
    build_predictor,
    load_splits,
)
from camloc.experiment.checkpoint import load_weights
from camloc.experiment.exchanged import exchanged_parts, refuse_exchanged_parts
from camloc.experiment.file_sources import chooses_on_val, map_folder, onnx_model, saved_maps, submission
from camloc.experiment.measuring.results import Threshold
from camloc.experiment.network import objective_of_run
from camloc.experiment.preflight import preflight
from camloc.experiment.recorded_splits import moved_since
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_record import RunRecord, refuse_other_classes, refuse_trained_images, run_record
from camloc.experiment.saved_config import checkpoint_file, saved_config
from camloc.experiment.source import Source
from camloc.experiment.unused_options import names_network
from camloc.localization.contract import cuts_at_thresholds
from camloc.predictors.contract import Predictor

_ASKING_FOR_MAPS = (
    *("localization.cam_threshold", "localization.more_thresholds"),
    *("save_score_maps", "export_score_maps", "onnx"),
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
        return submission(config)
    if config.score_maps is None:
        return _checkpoint(config, run)
    return saved_maps(config) if Path(config.score_maps).is_file() else map_folder(config)


def _network(config: DictConfig, run: RunDirectory) -> Source:
    """Return a network with the weights that it comes with; ``val`` is read where a threshold is chosen there."""
    missing = [part for part in ("datamodule", "attribution", "views", "score_map") if not config[part]]
    if missing:
        raise ValueError(
            "a backbone= without checkpoint= brings nothing but its weights; name "
            f"{', '.join(f'{part}=' for part in missing)} too, or an experiment= that does"
        )
    if "channels_last" not in config.classifier:  # trainer=gpu has it
        OmegaConf.update(config, "classifier.channels_last", None, force_add=True)
    splits: tuple[SplitName, ...] = ("val", "test") if chooses_on_val(config) else ("test",)
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
    if datamodule.several_labels != record.several_labels:
        words = ("one label per image", "several labels per image")
        trained, measured = words[record.several_labels], words[datamodule.several_labels]
        notes.append(f"The network was trained on {trained} and is measured on {measured}.")
    for name in splits:
        refuse_trained_images(record.fingerprint, datamodule.split(name), name, file)
    predictor: Predictor
    if config.onnx is None:
        if "weights" in config.backbone:
            config.backbone.weights = None  # the checkpoint brings all weights; nothing is fetched for it
        objective = objective_of_run(file, record, trust=bool(config.get("trust")))
        network = build_predictor(config, datamodule, objective, trained_with_boxes=record.trained_with_boxes)
        load_weights(network, file, prefix="predictor.")
        predictor = network
    else:
        predictor, of_file = onnx_model(config, datamodule, record)
        notes += of_file
    threshold = None
    if record.cam_threshold is not None and record.threshold_source is not None:
        threshold = Threshold(record.cam_threshold, record.threshold_source)
    if splits == ("test",) and threshold is None and _lacks_threshold(config, datamodule, record):
        raise ValueError(
            f"{file} has no CAM threshold, for its val had no boxes to choose it on; give localization.cam_threshold=, "
            "or data with boxes in val and threshold_from=val"
        )
    if splits == ("test",) and threshold is not None and not record.trained_with_boxes and _reads_threshold(config):
        val = "threshold_from=val or " if "val" in datamodule.split_names else ""
        fix = f"{val}localization.cam_threshold=X"
        refuse_exchanged_parts(config, saved_config(Path(config.checkpoint)), threshold.source, fix)
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


def _lacks_threshold(config: DictConfig, datamodule: LocalizationDataModule, record: RunRecord) -> bool:
    """Return whether there are boxes to measure at a CAM threshold that nothing gives."""
    if record.trained_with_boxes or not _reads_threshold(config):
        return False
    test = datamodule.split("test")  # the last question: a set of masks opens one after the other for it
    return any(len(boxes) for index in range(len(test)) for boxes in test.gt_boxes(index))


def _reads_threshold(config: DictConfig) -> bool:
    """Return whether there are boxes to be cut at a threshold that the configuration does not say."""
    return cuts_at_thresholds(build_box_rule(config)) and chooses_on_val(config)


def _refuse_what_needs_maps(config: DictConfig, file: Path) -> None:
    """Refuse options that have no effect on a network which predicts boxes itself.

    Raises:
        ValueError: Naming all of them.
    """
    of_run = saved_config(Path(config.checkpoint))
    asked = exchanged_parts(config, of_run)
    asked += [key for key in _ASKING_FOR_MAPS if OmegaConf.select(config, key)]
    if asked:
        raise ValueError(
            f"{file} was trained with boxes and predicts boxes itself; there is no map and no CAM threshold, so leave "
            f"out {', '.join(asked)}"
        )

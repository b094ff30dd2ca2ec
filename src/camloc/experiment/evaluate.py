"""Measure a checkpoint or saved score maps, write the run directory."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, seed_everything

from camloc.callbacks.export_score_maps import ExportScoreMaps
from camloc.callbacks.save_score_maps import SaveScoreMaps
from camloc.callbacks.submission import Submission
from camloc.experiment.build import build_classifier, build_datamodule, build_localization, build_trainer
from camloc.experiment.checkpoint import load_weights, refuse_other_classes
from camloc.experiment.conclusion import conclude
from camloc.experiment.evaluate_maps import evaluate_maps
from camloc.experiment.evaluate_submission import evaluate_submission
from camloc.experiment.measure import measure
from camloc.experiment.preflight import preflight
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.saved_config import checkpoint_file
from camloc.experiment.saved_maps import SavedMapsData, SavedMapsModule
from camloc.predictors.saved_maps import SavedMaps


def evaluate(config: DictConfig, run: RunDirectory) -> None:
    """Evaluate what the configuration names, with the parts of its run unless it replaces them."""
    if config.submission is not None:
        evaluate_submission(config, run)
    elif config.score_maps is None:
        _evaluate_checkpoint(config, run)
    elif Path(config.score_maps).is_file():
        _evaluate_saved_maps(config, run)
    else:
        evaluate_maps(config, run)


def _evaluate_checkpoint(config: DictConfig, run: RunDirectory) -> None:
    if config.checkpoint is None:
        raise ValueError(
            "say what to evaluate: checkpoint=RUN_OR_FILE.ckpt, score_maps=FILE_OR_FOLDER or submission=FILE"
        )
    run.write_config(config)
    seed_everything(config.seed, workers=True, verbose=False)
    datamodule = build_datamodule(config, ("val", "test"))
    preflight(datamodule, ("val", "test"), run, config.on_unreadable)
    if "weights" in config.backbone:
        config.backbone.weights = None  # the checkpoint brings all weights; nothing is fetched for it
    classifier = build_classifier(config, datamodule.num_classes)
    file = checkpoint_file(Path(config.checkpoint))
    refuse_other_classes(datamodule.class_names, file)
    load_weights(classifier, file)
    callbacks = _writers(config)
    if config.save_score_maps:
        callbacks.append(SaveScoreMaps(OmegaConf.to_yaml(config, resolve=True)))
    trainer = build_trainer(config, run, callbacks)
    metrics = measure(trainer, classifier, datamodule)
    conclude(config, run, trainer, classifier, metrics, f"Weights: {file}.")


def _evaluate_saved_maps(config: DictConfig, run: RunDirectory) -> None:
    config.callbacks.gallery = None  # there are no images to draw on
    run.write_config(config)
    saved = SavedMaps(Path(config.score_maps))
    module = SavedMapsModule(instantiate(config.score_map), **build_localization(config))
    data = SavedMapsData(saved, config.map_loader.batch_size)
    trainer = build_trainer(config, run, _writers(config))
    metrics = measure(trainer, module, data)
    conclude(config, run, trainer, module, metrics, f"Saved score maps: {saved.path}.")


def _writers(config: DictConfig) -> list[Callback]:
    writers: list[Callback] = []
    if config.export_score_maps is not None:
        writers.append(ExportScoreMaps(config.export_score_maps))
    if config.localization.get("submission"):
        writers.append(Submission())
    return writers

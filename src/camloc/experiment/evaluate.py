"""Measure predictions wherever they come from, write the run directory."""

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, seed_everything

from camloc.callbacks.explorer import Explorer
from camloc.callbacks.export_score_maps import ExportScoreMaps
from camloc.callbacks.gallery import Gallery
from camloc.callbacks.save_score_maps import SaveScoreMaps
from camloc.experiment.build import build_callbacks, build_measures, build_trainer
from camloc.experiment.conclusion import conclude
from camloc.experiment.measuring.measure import measure
from camloc.experiment.measuring.module import EvaluationModule
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_job import given_keys
from camloc.experiment.saved_values import saved_values
from camloc.experiment.sources import build_source
from camloc.export.score_map_files import ScoreMapFolder
from camloc.localization.contract import needs_images
from camloc.records import NUM_PREDICTIONS


def evaluate(config: DictConfig, run: RunDirectory) -> None:
    """Evaluate what the configuration names, with the parts of its run unless it replaces them.

    Raises:
        ValueError: If an option does not apply to the source of the predictions.
    """
    run.write_config(config)
    seed_everything(config.seed, workers=True, verbose=False)
    source = build_source(config, run)
    notes = list(source.notes)
    if source.data.several_labels:
        _refuse_one_class_per_image(config)
    writes_submission = bool(config.localization.submission) and source.has_other_classes
    if writes_submission and source.data.several_labels:
        writes_submission = False
        notes.append("submission.txt is not written: it has one class for each image, and these images have several.")
    measures = build_measures(
        config,
        source.score_map,
        from_maps=source.has_maps,
        class_names=source.data.class_names,
        objectless=source.data.objectless,
    )
    if needs_images(measures.box_rule) and not source.has_images:
        raise ValueError(
            f"box_rule={config.box_rule._target_} needs images, which these predictions come without; evaluate a "
            "checkpoint with it"
        )
    module = EvaluationModule(
        source.predictor,
        measures,
        num_ranked=NUM_PREDICTIONS if writes_submission or config.save_score_maps else 0,
        box_ranked=writes_submission,
    )
    callbacks = [
        callback
        for callback in build_callbacks(config, run)
        if source.has_images or not isinstance(callback, Gallery | Explorer)
    ]
    trainer = build_trainer(config, run, [*callbacks, *_writers(config, run)])
    results = measure(trainer, module, source.data, source.splits, source.threshold)
    conclude(config, run, trainer, results, notes, trained_with_boxes=source.trained_with_boxes)


def _refuse_one_class_per_image(config: DictConfig) -> None:
    """Refuse to write files that hold one class for each image, where they were asked for and not by a protocol alone.

    Raises:
        ValueError: Naming the option.
    """
    options = {
        "export_score_maps": config.export_score_maps,
        "localization.submission": config.localization.submission and "localization.submission" in given_keys(),
    }
    if asked := [name for name, value in options.items() if value]:
        raise ValueError(f"{asked[0]} writes one class for each image, and these images have several; leave it out")


def _writers(config: DictConfig, run: RunDirectory) -> list[Callback]:
    writers: list[Callback] = []
    if config.export_score_maps is not None:
        writers.append(ExportScoreMaps(ScoreMapFolder(config.export_score_maps)))
    if config.save_score_maps:
        writers.append(SaveScoreMaps(run.score_maps, OmegaConf.to_yaml(saved_values(config))))
    return writers

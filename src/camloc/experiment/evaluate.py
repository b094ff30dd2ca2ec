"""Measure a checkpoint, write the run directory."""

from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning import seed_everything

from camloc.experiment.build import build_classifier, build_datamodule, build_trainer
from camloc.experiment.checkpoint import load_weights
from camloc.experiment.conclusion import conclude
from camloc.experiment.evaluate_maps import evaluate_maps
from camloc.experiment.measure import measure
from camloc.experiment.run_directory import RunDirectory, checkpoint_file


def evaluate(config: DictConfig, run: RunDirectory) -> None:
    """Evaluate a checkpoint with the parts of its run, unless the configuration replaces them."""
    if config.score_maps is not None:
        evaluate_maps(config, run)
        return
    if config.checkpoint is None:
        raise ValueError("say what to evaluate: checkpoint=RUN_DIRECTORY, checkpoint=FILE.ckpt or score_maps=DIRECTORY")
    run.write_config(config)
    seed_everything(config.seed, workers=True, verbose=False)
    datamodule = build_datamodule(config, ("val", "test"))
    if "weights" in config.backbone:
        config.backbone.weights = None  # the checkpoint brings all weights; nothing is fetched for it
    classifier = build_classifier(config, datamodule.num_classes)
    file = checkpoint_file(Path(config.checkpoint))
    load_weights(classifier, file)
    trainer = build_trainer(config, run, [])
    metrics = measure(trainer, classifier, datamodule)
    conclude(config, run, trainer, classifier, metrics, f"Weights: {file}.")

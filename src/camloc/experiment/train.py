"""Fit, test the best checkpoint, write the run directory."""

import signal
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import seed_everything

from camloc.callbacks.repeatable import Repeatable
from camloc.data.loading.split import SplitName
from camloc.experiment.build import best_and_last_checkpoint, build_classifier, build_datamodule, build_trainer
from camloc.experiment.checkpoint import (
    RunInCheckpoint,
    load_checkpoint,
    load_weights,
    refuse_other_classes,
    trained_so_far,
)
from camloc.experiment.conclusion import conclude
from camloc.experiment.device import compile_backbone
from camloc.experiment.measure import measure
from camloc.experiment.preflight import preflight
from camloc.experiment.run_directory import RunDirectory


def train(config: DictConfig, run: RunDirectory) -> None:
    """Train as configured; the best checkpoint is measured with the threshold chosen on ``val``.

    With ``check_only`` the data is looked at and nothing is trained.
    """
    resumed = config.get("resume") is not None
    config.resume = None  # the configuration stays one that can be run again
    run.write_config(config)
    seed_everything(config.seed, workers=True, verbose=False)
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    datamodule = build_datamodule(config, splits)
    preflight(datamodule, splits, run, config.on_unreadable, open_all=config.check_only)
    if config.check_only:
        return
    classifier = build_classifier(config, datamodule.num_classes)
    if config.compile:
        compile_backbone(classifier, config.trainer.accelerator)
    checkpoint, each_epoch = best_and_last_checkpoint(config.monitor, classifier, datamodule.split("val"), run)
    plain_config = OmegaConf.to_container(config, resolve=True)
    last = run.checkpoints / "last.ckpt"
    own = [checkpoint, each_epoch, RunInCheckpoint(plain_config, datamodule.class_names), Repeatable(config.seed, last)]  # type: ignore[arg-type] # a dict
    trainer = build_trainer(config, run, own)
    if resumed:
        refuse_other_classes(datamodule.class_names, last)
        datamodule.resume(*trained_so_far(load_checkpoint(last)))
    # As SIGTERM: what SLURM sends ahead of pre-emption with --signal=USR1.
    signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    trainer.fit(classifier, datamodule, ckpt_path=str(last) if resumed else None, weights_only=True)
    note = f"The last epoch's weights ({trainer.current_epoch} epochs)."
    if checkpoint.best_model_path:
        load_weights(classifier, Path(checkpoint.best_model_path))
        value = float(checkpoint.best_model_score) if checkpoint.best_model_score is not None else float("nan")
        note = f"Best checkpoint: least {checkpoint.monitor} = {value:.4f}."
    metrics = measure(trainer, classifier, datamodule)
    conclude(config, run, trainer, classifier, metrics, note)

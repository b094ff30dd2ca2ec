"""Configuration to objects, with the checks that can be made before a device starts."""

import logging
import warnings
from typing import Any

from hydra.utils import instantiate
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from camloc.classifier import Classifier
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.split import Split, SplitName
from camloc.experiment.checkpoint import WholeCheckpoints
from camloc.experiment.device import check_clipping, check_devices
from camloc.experiment.run_directory import RunDirectory

BESIDE = ("also", "threshold_interval", "submission")
"""What a localization config holds beside the arguments of its own metric."""


def build_datamodule(config: DictConfig, splits: tuple[SplitName, ...]) -> LocalizationDataModule:
    """Build the data module and load the splits, so that bad data is found before anything starts."""
    datamodule: LocalizationDataModule = instantiate(config.datamodule)
    for name in splits:
        datamodule.split(name)
    return datamodule


def build_localization(config: DictConfig) -> dict[str, Any]:
    """Build the metrics of a localization config: ``localization``, and ``also`` by name."""
    own = {key: value for key, value in config.localization.items() if key not in BESIDE}
    also = config.localization.get("also") or {}
    return {
        "localization": instantiate(own),
        "also": {name: instantiate(entry) for name, entry in also.items() if entry is not None},
    }


def build_classifier(config: DictConfig, num_classes: int) -> Classifier:
    """Build the classifier with its backbone, attribution and metrics."""
    classifier: Classifier = instantiate(
        config.classifier,
        backbone=instantiate(config.backbone)(num_classes=num_classes),
        cam=instantiate(config.cam),
        score_map=instantiate(config.score_map),
        **build_localization(config),
        optimizer=instantiate(config.get("optimizer")),
        scheduler=instantiate(config.get("scheduler")),
    )
    return classifier


def build_trainer(config: DictConfig, run: RunDirectory, callbacks: list[Callback]) -> Trainer:
    """Build the trainer with the configured callbacks and loggers, all writing below the run directory.

    Raises:
        ValueError: If more GPUs are asked for than there are, or gradients cannot be clipped.
    """
    check_devices(config.trainer.accelerator, config.trainer.devices)
    check_clipping(config)
    _silence_what_does_not_apply()
    trainer: Trainer = instantiate(
        config.trainer,
        default_root_dir=str(run.path),
        callbacks=[*instantiate_all(config.callbacks), *callbacks],
        plugins=[
            WholeCheckpoints(),
            # SLURM's own requeueing would start another run directory; resume=RUN goes on in this one.
            *([SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []),
        ],
        logger=[factory(save_dir=str(run.path)) for factory in instantiate_all(config.logger)],
        # Our samplers deal positions themselves: exact counts, and an order that follows from the seed.
        use_distributed_sampler=False,
    )
    for logger in trainer.loggers:
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type] # a dict
    return trainer


def _silence_what_does_not_apply() -> None:
    # Lightning announces devices it does not use, products, and that max_epochs was reached.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.* is deprecated",  # Lightning's own use of torch
        ".*does not have many workers",  # chosen: in-memory data needs none
        ".*recommended to use `self.log.*sync_dist=True",  # what is logged is summed over processes already
        ".*it is recommended to use `Trainer\\(devices=1",  # our samplers and metrics are exact on any number
        ".*number of training batches.*smaller than the logging interval",  # logging is per epoch
        ".*tensorboardX.* has been removed",  # loggers are given explicitly
        ".*Checkpoint directory .* exists and is not empty",  # hydra.run.dir=DIR names it on purpose
    ):
        warnings.filterwarnings("ignore", message)


def instantiate_all(group: DictConfig | None) -> list[Any]:
    """Build every entry of a config group that is not null."""
    return [instantiate(entry) for entry in (group or {}).values() if entry is not None]


def best_and_last_checkpoint(
    monitor: str | None, classifier: Classifier, val: Split, run: RunDirectory
) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Keep ``best.ckpt``, the least value of ``monitor``, and ``last.ckpt``; a whole file replaces the former.

    Args:
        monitor: Null is the top-1 localization error, or the classification error where ``val`` has no boxes.
        classifier: Measures it.
        val: Where.
        run: Holds the checkpoints.

    Raises:
        ValueError: If nothing of that name is measured.
    """
    has_boxes = len(val.gt_boxes(0)) > 0
    if monitor is None:
        monitor = f"val/{'localization' if has_boxes else 'classification'}/top1_error"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics: nothing was counted yet, only the names are wanted
        numbers = classifier.val_metrics.compute(counted_only=False)
    classifier.val_metrics.reset()
    measured = [
        f"val/{name}"
        for name, value in numbers.items()
        if value.ndim == 0 and (has_boxes or not name.startswith("localization/"))
    ]
    if monitor not in measured:
        raise ValueError(f"monitor={monitor} is not measured; choose from {', '.join(measured)}")
    best = ModelCheckpoint(filename="best", monitor=monitor, mode="min", **_every_epoch(run))
    # Not save_last=True, which writes last.ckpt only after epochs that were the best so far.
    return best, ModelCheckpoint(filename="last", **_every_epoch(run))


def _every_epoch(run: RunDirectory) -> dict[str, Any]:
    return {
        "dirpath": str(run.checkpoints),
        "enable_version_counter": False,
        # After validation, when the epoch is complete: resuming starts with the next one.
        "save_on_train_epoch_end": True,
    }

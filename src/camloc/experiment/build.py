"""Configuration to objects, with the checks that can be made before a device starts."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from camloc.attribution.contract import Attribution, Cropping
from camloc.backbones.box_head import BoxRegressor
from camloc.data.annotations.problems import DataProblems
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.split import SplitName
from camloc.experiment.batches import batch_limits, overfits
from camloc.experiment.checkpoint import WholeCheckpoints
from camloc.experiment.device import check_clipping, check_devices, check_precision
from camloc.experiment.interruption import held_back
from camloc.experiment.limits import refuse_few_descriptors
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.network import build_backbone
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.stop import StopTogether
from camloc.experiment.training import TrainingModule
from camloc.localization.contract import BoxRule, UncutBoxRule, cuts_at_thresholds
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.contract import Protocol
from camloc.objectives.contract import BoxedObjective, Objective
from camloc.predictors.box_network import BoxPredictor
from camloc.predictors.contract import ScoreMapFunction
from camloc.predictors.network import NetworkPredictor


def trains_with_boxes(config: DictConfig) -> bool:
    """Tell whether the objective says that it trains with true boxes, see ``objectives.contract.BoxedObjective``."""
    return bool(getattr(get_object(config.objective._target_), "trains_with_boxes", False))


def runs_in_parts(config: DictConfig) -> bool:
    """Tell whether the objective says that it runs parts of the network, see ``objectives.contract``."""
    return bool(getattr(get_object(config.objective._target_), "runs_in_parts", False))


def trains_on_several_labels(config: DictConfig) -> bool:
    """Tell whether the objective says that it trains on several labels per image, see ``objectives.contract``."""
    return bool(getattr(get_object(config.objective._target_), "several_labels", False))


def refuse_other_labels(config: DictConfig, datamodule: LocalizationDataModule) -> None:
    """Refuse an objective that is not for as many labels per image as the data has.

    Raises:
        ValueError: If it is not; the message names one that is.
    """
    for_several, name = trains_on_several_labels(config), config.objective._target_.rpartition(".")[2]
    if datamodule.several_labels and not for_several:
        hint = f"{datamodule.one_label_hint}, or " if datamodule.one_label_hint else ""
        raise ValueError(
            f"the images of this data set have several labels, or none, and the objective {name} trains on one label "
            f"per image; {hint}use objective=multi_label"
        )
    if datamodule.num_classes == 1 and not for_several and not trains_with_boxes(config):
        raise ValueError(
            f"{datamodule.class_names[0]} is the only class, and the objective {name} learns nothing from one class; "
            "add images of another class, or images without label, which are negative, and use objective=multi_label"
        )
    if for_several and not datamodule.several_labels:
        raise ValueError(
            f"the images of this data set have one label each, and the objective {name} trains on several labels per "
            "image; use objective=cross_entropy"
        )


def build_datamodule(
    config: DictConfig, splits: tuple[SplitName, ...], *, trained_with_boxes: bool = False
) -> LocalizationDataModule:
    """Build the data module and load the splits, so that bad data is found before anything starts."""
    datamodule: LocalizationDataModule = instantiate(config.datamodule)
    if trained_with_boxes:
        datamodule.train_with_boxes()
    load_splits(datamodule, config, splits)
    return datamodule


def load_splits(datamodule: LocalizationDataModule, config: DictConfig, splits: tuple[SplitName, ...]) -> None:
    """Load the splits of a data module, so that bad data is found before anything starts.

    Raises:
        DataProblems: With all that is wrong in the annotation of all splits.
    """
    refuse_few_descriptors(datamodule.workers_per_loader(), "datamodule.num_workers")
    problems: list[tuple[str, str]] = []
    for name in splits:
        try:
            datamodule.split(name)
        except DataProblems as error:
            problems += error.problems
    if problems:
        raise DataProblems(list(dict.fromkeys(problems)))  # a file may be of two splits
    if overfits(config):
        datamodule.repeat_first_epoch()


def build_measures(
    config: DictConfig,
    score_map: ScoreMapFunction | None = None,
    *,
    from_maps: bool = True,
    class_names: Sequence[str] = (),
    objectless: frozenset[int] = frozenset(),
) -> Measures:
    """Build what is measured.

    Args:
        config: With ``localization``, ``score_map`` and ``box_rule``.
        score_map: Replaces the configured one, as for maps that are score maps already.
        from_maps: See :class:`Measures`.
        class_names: (C,) for protocols that count each class by itself.
        objectless: See :class:`Measures`.

    Raises:
        ValueError: If no protocol is left, or a CAM threshold is given to a box rule that cuts at none.
    """
    localization = config.localization
    protocols = instantiate_all(localization.protocols)
    if not protocols:
        raise ValueError("localization.protocols is empty; choose one or several, such as localization=val_threshold")
    for protocol in protocols.values():
        if isinstance(protocol, Protocol):
            protocol.use_classes(class_names)
    box_rule = build_box_rule(config)
    for name in ("cam_threshold", "more_thresholds"):
        if localization.get(name) not in (None, []) and not cuts_at_thresholds(box_rule):
            raise ValueError(
                f"localization.{name}={localization[name]} has no effect: "
                f"box_rule={config.box_rule._target_} cuts at no CAM threshold; give "
                f"localization.{name}={'null' if name == 'cam_threshold' else '[]'}"
            )
    return Measures(
        protocols=protocols,
        score_map=score_map or instantiate(config.score_map),
        own_score_maps=instantiate_all(localization.score_maps),
        box_rule=box_rule,
        iou_threshold=localization.iou_threshold,
        from_maps=from_maps,
        objectless=objectless,
    )


def build_box_rule(config: DictConfig) -> BoxRule | UncutBoxRule:
    """Build what makes boxes of score maps, by default the largest component."""
    if not config.box_rule:
        return largest_component_boxes
    rule: BoxRule | UncutBoxRule = instantiate(config.box_rule)
    return rule


def build_predictor(
    config: DictConfig,
    datamodule: LocalizationDataModule,
    objective: DictConfig | None = None,
    *,
    trained_with_boxes: bool = False,
) -> NetworkPredictor | BoxPredictor:
    """Build the network, with its attribution or a box head; the data module takes the size that it was made for.

    Args:
        config: With ``backbone``, ``attribution``, ``views`` and ``classifier``.
        datamodule: Says how many classes there are.
        objective: Of the training, for the parts that it brings; null for a network that none was trained with.
        trained_with_boxes: Whether the network has a box head in place of an attribution.
    """
    backbone = build_backbone(config.backbone, datamodule.num_classes, objective)
    channels_last = config.classifier.channels_last
    datamodule.use_input_size(backbone.input_spec.size)
    if trained_with_boxes:
        return BoxPredictor(BoxRegressor(backbone), channels_last=channels_last)
    attribution: Attribution = instantiate(config.views)(instantiate(config.attribution))
    if isinstance(attribution, Cropping):
        datamodule.enlarge_evaluation(attribution.image_size)
    return NetworkPredictor(backbone, attribution, channels_last=channels_last)


def build_training(
    config: DictConfig, predictor: NetworkPredictor | BoxPredictor, datamodule: LocalizationDataModule
) -> TrainingModule:
    """Build the module that trains a network, with its objective and optimizer."""
    counts: dict[str, Any] = {"class_counts": datamodule.class_counts()}
    if trains_on_several_labels(config):
        counts["num_images"] = len(datamodule.split("train"))
    objective: Objective | BoxedObjective = instantiate(config.objective)(**counts)
    return TrainingModule(
        predictor,
        build_measures(
            config,
            from_maps=not datamodule.trains_with_boxes,
            class_names=datamodule.class_names,
            objectless=datamodule.objectless,
        ),
        objective,
        optimizer=instantiate(config.optimizer),
        scheduler=instantiate(config.scheduler),
        head_lr_multiplier=config.classifier.head_lr_multiplier,
    )


def build_callbacks(config: DictConfig, run: RunDirectory) -> list[Callback]:
    """Build the configured callbacks; a partial one is completed with the run."""
    built = instantiate_all(config.callbacks).values()
    return [callback(run=run) if isinstance(callback, partial) else callback for callback in built]


def check_trainer(config: DictConfig) -> None:
    """Build a trainer that nothing comes of, for what it refuses in its constructor alone.

    Raises:
        ValueError: If the configuration asks the device or the trainer for what they cannot do.
        InstantiationException: The same, of Lightning.
    """
    check_devices(config.trainer.accelerator, config.trainer.devices)
    check_clipping(config)
    check_precision(config.trainer.precision)
    _silence_what_does_not_apply()
    with warnings.catch_warnings(action="ignore"):  # they come again with the trainer that is used
        instantiate(config.trainer, logger=False, enable_checkpointing=False, **batch_limits(config))


def build_trainer(config: DictConfig, run: RunDirectory, callbacks: list[Callback]) -> Trainer:
    """Build the trainer with the configured loggers, all writing below the run directory."""
    _silence_what_does_not_apply()
    # Filling every new tensor costs a fifth of a training on a GPU; no kernel used here reads one that is not filled.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # torch makes it at import
    trainer: Trainer = instantiate(
        config.trainer,
        default_root_dir=str(run.path),
        # First: reading Lightning's metrics reduces them, which other callbacks do in the first process alone at first.
        callbacks=[StopTogether(run.last_checkpoint), *callbacks],
        plugins=[
            WholeCheckpoints(),
            # SLURM's own requeueing would start another run directory; resume=RUN goes on in this one.
            *([SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []),
        ],
        logger=[factory(save_dir=str(run.path)) for factory in instantiate_all(config.logger).values()],
        # Our samplers deal positions themselves: exact counts, and an order that follows from the seed.
        use_distributed_sampler=False,
        **batch_limits(config),
    )
    if isinstance(launcher := trainer.strategy.launcher, _SubprocessScriptLauncher):
        start = held_back()(launcher._call_children_scripts)  # noqa: SLF001 - there is no public way
        launcher._call_children_scripts = start  # type: ignore[method-assign] # noqa: SLF001 - the same
    for logger in trainer.loggers:
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type] # a dict
    return trainer


def instantiate_all(group: Mapping[str, Any] | None) -> dict[str, Any]:
    """Build every entry of a config group that is not null."""
    return {str(name): instantiate(entry) for name, entry in (group or {}).items() if entry is not None}


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
        ".*resuming from a checkpoint that ended before the epoch ended",  # our sampler goes on with the next batch
        ".*Checkpoint directory .* exists and is not empty",  # hydra.run.dir=DIR names it on purpose
        ".*your dataloader is not resumable",  # the data module deals the rest of the epoch
        ".*overridden `transfer_batch_to_device` in `LightningModule`",  # data modules have none of their own
    ):
        warnings.filterwarnings("ignore", message)

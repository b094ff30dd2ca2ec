"""Fit, test the best checkpoint, write the run directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from omegaconf import DictConfig
from pytorch_lightning import seed_everything
from torch import Tensor, nn

from camloc.callbacks.finite import StopWhenNotFinite
from camloc.callbacks.repeatable import Repeatable
from camloc.callbacks.training_cost import TrainingCost
from camloc.data.loading.fingerprint import fingerprint
from camloc.data.loading.split import SplitName
from camloc.experiment.batches import check_last_batch
from camloc.experiment.build import (
    build_callbacks,
    build_datamodule,
    build_predictor,
    build_trainer,
    build_training,
    refuse_other_labels,
    trains_with_boxes,
)
from camloc.experiment.checkpoint import CONFIG_KEY, load_checkpoint, load_weights, trained_so_far
from camloc.experiment.checkpoints import best_and_last_checkpoint
from camloc.experiment.conclusion import conclude
from camloc.experiment.device import compile_backbone
from camloc.experiment.epoch_means import EpochMeans
from camloc.experiment.frozen import build_frozen, check_frozen, is_frozen
from camloc.experiment.measuring.measure import measure
from camloc.experiment.network import extends_network
from camloc.experiment.preflight import preflight
from camloc.experiment.resumed_values import ApplyChanged, Changed, changed_values
from camloc.experiment.run_directory import RunDirectory, is_first_process
from camloc.experiment.run_record import (
    RunInCheckpoint,
    RunRecord,
    record_in,
    refuse_other_classes,
    refuse_trained_images,
)
from camloc.experiment.saved_values import saved_values


def train(config: DictConfig, run: RunDirectory) -> None:
    """Train as configured; the best checkpoint is measured with the threshold chosen on ``val``.

    With ``check_only`` the data is looked at and nothing is trained.
    """
    resumed = config.get("resume") is not None
    config.resume = None  # the configuration stays one that can be run again
    values = saved_values(config)
    so_far = _so_far(run, values) if resumed else None
    if so_far is None:
        run.write_config(config)
    seed_everything(config.seed, workers=True, verbose=False)
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    with_boxes = trains_with_boxes(config)
    if is_frozen(config):
        check_frozen(config)  # before the data is looked at
    datamodule = build_datamodule(config, splits, trained_with_boxes=with_boxes)
    refuse_other_labels(config, datamodule)
    preflight(datamodule, splits, run, config.on_unreadable, open_all=config.check_only)
    if config.check_only:
        _say("check_only=true: every image was opened, no error was found, and nothing was trained.")
        return
    predictor = build_predictor(config, datamodule, config.objective, trained_with_boxes=with_boxes)
    if config.compile:
        compile_backbone(cast(nn.Module, predictor.backbone), config.trainer.accelerator)
    module = build_training(config, predictor, datamodule)
    kept = build_frozen(config, module, datamodule) if is_frozen(config) else []
    best, last = best_and_last_checkpoint(config.monitor, module.val_protocols, datamodule.split("val"), run)
    record = RunRecord(
        class_names=list(datamodule.class_names),
        input_size=cast("int", datamodule.input_size),  # the predictor has set it
        cam_threshold=None,
        threshold_source=None,
        fingerprint=fingerprint(datamodule.split("train")),
        trained_with_boxes=with_boxes,
        intensity=datamodule.chosen_intensity,
        several_labels=datamodule.several_labels,
        objectless=tuple(sorted(datamodule.objectless)),
        extended=extends_network(config.objective),
    )
    chosen_on: Literal["val", "pseudo"] = "val" if datamodule.pseudo_boxes is None else "pseudo"
    in_checkpoint = RunInCheckpoint(values, record, chosen_on)
    own = [best, last, in_checkpoint, Repeatable(config.seed), EpochMeans(), TrainingCost(run)]
    changes = [ApplyChanged(so_far.changed)] if so_far is not None and so_far.changed else []
    trainer = build_trainer(config, run, [StopWhenNotFinite(), *build_callbacks(config, run), *kept, *own, *changes])
    check_last_batch(predictor.backbone, datamodule, trainer)
    notes: list[str] = []
    if so_far is not None:
        refuse_other_classes(datamodule.class_names, so_far.class_names, run.last_checkpoint)
        if datamodule.dealt is not None:  # by an earlier version perhaps, or with images of other names
            for name in ("val", "test"):
                refuse_trained_images(so_far.fingerprint, datamodule.split(name), name, run.last_checkpoint)
        datamodule.resume(so_far.epochs, so_far.batches)
        notes = so_far.notes()
        for note in notes:
            _say(note)  # before hours of training, not only in the report
        run.write_config(config)  # not before: what was refused by now is no value of the run
        run.write_status("running")
    ckpt_path = None if so_far is None else str(run.last_checkpoint)
    trainer.fit(module, datamodule, ckpt_path=ckpt_path, weights_only=True)
    note = f"The last epoch's weights ({_counted(trainer.current_epoch, 'epoch')})."
    if best.best_model_path:
        load_weights(module, Path(best.best_model_path))
        value = float(best.best_model_score) if best.best_model_score is not None else float("nan")
        note = f"Best checkpoint: {'least' if best.mode == 'min' else 'greatest'} {best.monitor} = {value:.4f}."
    results = measure(trainer, module, datamodule)
    conclude(config, run, trainer, results, [note, *notes], trained_with_boxes=with_boxes)


class _SoFar(NamedTuple):
    """Where a training that goes on stood, and what is different now."""

    epochs: int
    batches: int
    """Of the next epoch."""
    changed: list[Changed]
    class_names: Sequence[str]
    fingerprint: Tensor | None

    def notes(self) -> list[str]:
        """Return what a reader of the run's numbers must know."""
        if not self.changed:
            return []
        trained = _counted(self.epochs, "epoch")
        if self.batches:
            trained += f" and {_counted(self.batches, 'batch', 'es')} of the next"
        return [f"Resumed after {trained} with {', '.join(map(str, self.changed))}: the result is not that of one run."]


def _so_far(run: RunDirectory, values: Mapping[str, Any]) -> _SoFar:
    """Read where the run stands.

    Raises:
        ValueError: If fewer epochs are asked for than were trained, or a value cannot be changed.
    """
    checkpoint = load_checkpoint(run.last_checkpoint)
    epochs, batches = trained_so_far(checkpoint)
    wanted, begun = values["trainer"].get("max_epochs"), epochs + (batches > 0)
    if wanted is not None and wanted < begun:
        raise ValueError(
            f"trainer.max_epochs={wanted}: {run.last_checkpoint} is of epoch {begun} already, and no epoch is taken "
            "back; give as many or more"
        )
    changed = changed_values(checkpoint.get(CONFIG_KEY, values), values, in_epoch=batches > 0)
    record = record_in(checkpoint, run.last_checkpoint)
    return _SoFar(epochs, batches, changed, record.class_names, record.fingerprint)


def _counted(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{'' if number == 1 else plural}"


def _say(line: str) -> None:
    if is_first_process():
        print(line, flush=True)  # noqa: T201 - to the user

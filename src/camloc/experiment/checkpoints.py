"""Which checkpoints a training keeps: the best by a monitored number, and the last."""

from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from camloc.data.loading.split import Split
from camloc.experiment.checkpoint import load_checkpoint
from camloc.experiment.measuring.split_protocols import SplitProtocols
from camloc.experiment.run_directory import RunDirectory
from camloc.metrics.contract import NEEDS

OF_BOXES = ("boxes", "reported_boxes", "gt_boxes", "image_boxes", "resized_boxes")
"""Needs that a split without true boxes cannot meet."""
MASKS = ("masks", "ignore")
LOSS = "val/loss"


class MovableCheckpoint(ModelCheckpoint):
    """Writes one file, and knows nothing of where a run's directory was when it was stopped.

    Lightning restores absolute paths, and forgets the best score of a run that was moved. Here the file itself says how
    good it is: also where the directory was copied between the writing of ``best.ckpt`` and that of ``last.ckpt``.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return the score of the file that is being written."""
        return {"best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: ARG002 - of last.ckpt, which may be older
        """Take the file that is there for the best one; without it the next epoch is the best.

        Raises:
            ValueError: If the file is of another run.
        """
        file = Path(str(self.dirpath), f"{self.filename}{self.FILE_EXTENSION}")
        if self.monitor is None or not file.is_file():
            return
        known = load_checkpoint(file).get("callbacks", {}).get(self.state_key)
        if known is None:
            raise ValueError(f"{file} does not say its {self.monitor}: it is no best checkpoint of this run")
        score = known["best_model_score"]
        self.best_model_path = self.kth_best_model_path = str(file)
        self.best_model_score = self.current_score = self.kth_value = score
        self.best_k_models = {str(file): score}


class BestCheckpoint(MovableCheckpoint):
    """Keep the best epoch, of equally good ones the later.

    Errors of a small ``val`` take few values, so that ties are common; the later epoch has trained longer, at a lower
    learning rate. Epochs without a validation do not take part: Lightning would offer the last validation's number.
    """

    _validated_epoch: int | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the epoch."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.sanity_checking:
            self._validated_epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch if it was validated and is the best so far."""
        if self._validated_epoch == trainer.current_epoch:
            super().on_train_epoch_end(trainer, pl_module)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Return whether a value is the best so far; every process has the same one."""
        return super().check_monitor_top_k(trainer, current) or (
            current is not None and self.best_model_score is not None and bool(current == self.best_model_score)
        )


def best_and_last_checkpoint(
    monitor: str | None, protocols: SplitProtocols, val: Split, run: RunDirectory
) -> tuple[BestCheckpoint, MovableCheckpoint]:
    """Keep ``best.ckpt``, the least or greatest value of ``monitor``, and ``last.ckpt``.

    Each is replaced by a whole file. Of equally good epochs the later is the best.

    Args:
        monitor: Null is the top-1 localization error, or where that is not measured the average precision of several
            labels, or the classification error.
        protocols: Of ``val``.
        val: Where it is measured.
        run: Holds the checkpoints.

    Raises:
        ValueError: If it is no error, accuracy or loss that is measured on ``val``; the message lists those that are.
    """
    directions = monitored_directions(protocols, val)
    if monitor is None:
        classified = ("val/classification/average_precision", "val/classification/top1_error")
        defaults = ("val/localization/top1_error", *classified, LOSS)
        monitor = next(name for name in defaults if name in directions)
    if monitor not in directions:
        choices = ", ".join(f"{key} ({direction})" for key, direction in directions.items())
        raise ValueError(f"monitor={monitor} is no error, accuracy or loss measured on val; choose from {choices}")
    best = BestCheckpoint(
        filename=run.best_checkpoint.stem, monitor=monitor, mode=directions[monitor], **_every_epoch(run)
    )
    # Not save_last=True, which writes last.ckpt only after epochs that were the best so far.
    return best, MovableCheckpoint(filename=run.last_checkpoint.stem, **_every_epoch(run))


def monitored_directions(protocols: SplitProtocols, val: Split) -> dict[str, str]:
    """Return ``min`` or ``max`` of every number that will be measured on ``val``, by key."""
    images = range(len(val))
    has_boxes = any(len(boxes) > 0 for index in images for boxes in val.gt_boxes(index))
    has_masks = any(val.masks(index) is not None for index in images)
    absent = {name for name in NEEDS if (name in OF_BOXES and not has_boxes) or (name in MASKS and not has_masks)}
    absent |= set() if protocols.from_maps else {"score_maps"}
    # What reports at a threshold that is chosen only when val has been measured is not there in time.
    found = {LOSS: "min"}
    for key, (name, row) in protocols.rows().items():
        needs = protocols.needs[name]
        has_threshold = not protocols.is_swept or protocols.protocols[name].cam_threshold is not None
        waits = "reported_boxes" in needs.required | needs.nullable and not has_threshold
        lacks = needs.required & absent or ("boxes" in needs.all and not protocols.is_swept)
        if not lacks and not waits:
            found[f"val/{key}"] = row.direction
    return found


def _every_epoch(run: RunDirectory) -> dict[str, Any]:
    return {
        "dirpath": str(run.checkpoints),
        "enable_version_counter": False,
        # After validation, when the epoch is complete: resuming starts with the next one.
        "save_on_train_epoch_end": True,
    }

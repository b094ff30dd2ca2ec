"""Checkpoints: read without running code from them, written so that the former one is never lost."""

import io
import os
import pickle
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer

from camloc.experiment.run_directory import replaced

CONFIG_KEY = "camloc_config"
"""Where a checkpoint keeps its run's configuration, as plain containers."""
CLASS_NAMES_KEY = "camloc_class_names"
"""Where a checkpoint keeps the classes that it was trained on."""


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``.

    Raises:
        ValueError: If it is cut off, no checkpoint, or holds code.
    """
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{file} is cut off, no checkpoint, or holds code, which is not run: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{file} holds no state_dict; give a checkpoint that train.py wrote")
    return checkpoint


def trained_so_far(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Return the epoch that a training was in when it was saved, and the batches of it that it had trained.

    Raises:
        ValueError: If the checkpoint was not saved by a training.
    """
    try:
        loop = checkpoint["loops"]["fit_loop"]
        epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
        in_epoch = epochs["ready"] > epochs["processed"]
        return int(epochs["processed"]), int(batches["completed"]) if in_epoch else 0
    except (KeyError, TypeError) as error:
        raise ValueError(f"the checkpoint does not say where its training stood: {error} is missing") from error


def load_weights(module: LightningModule, file: Path) -> None:
    """Load a checkpoint's weights into a module.

    Raises:
        ValueError: If they do not fit.
    """
    try:
        module.load_state_dict(load_checkpoint(file)["state_dict"])
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ValueError(f"{file} does not fit the network that is configured: {lines[1].strip()}") from error


def refuse_other_classes(class_names: Sequence[str], file: Path) -> None:
    """Refuse data whose classes are not those that a checkpoint was trained on, in their order.

    Raises:
        ValueError: If one differs; else its images would be measured against another class's output.
    """
    trained = load_checkpoint(file).get(CLASS_NAMES_KEY, class_names)
    if list(trained) != list(class_names):
        pairs = zip_longest(trained, class_names, fillvalue="none")
        one, other = next((one, other) for one, other in pairs if one != other)
        raise ValueError(
            f"{file} was trained on {len(trained)} classes and the data set has {len(class_names)}; where they first "
            f"differ, {one} was trained and {other} is to be measured: give data with the classes that were trained"
        )


class RunInCheckpoint(Callback):
    """Keep the run's configuration and classes in its checkpoints, so that a file alone can be evaluated.

    Args:
        config: Plain containers, which ``weights_only=True`` loads.
        class_names: (C,) in the order of ``target``.
    """

    def __init__(self, config: Mapping[str, Any], class_names: Sequence[str]) -> None:
        self.config, self.class_names = dict(config), list(class_names)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add both."""
        checkpoint[CONFIG_KEY] = self.config
        checkpoint[CLASS_NAMES_KEY] = self.class_names


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside the former one and rename it.

    Lightning's own goes through the temporary directory, and where that is another file system it is copied over the
    former one: killed or out of space halfway, there is none.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write the file and wait until it is on the disk.

        Raises:
            OSError: If there is no room.
        """
        file = Path(path)
        # Not straight to the file: torch hides from its errors that the disk is full.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replaced(file) as partial, partial.open("wb") as stream:
                stream.write(buffer.getbuffer())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OSError(
                f"{file} could not be written: {error.strerror}; the former one is whole, resume=RUN goes on from it"
            ) from error

"""Reading checkpoints without running code from them."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from camloc.experiment.run_directory import CONFIG_KEY


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


class ConfigInCheckpoint(Callback):
    """Keep the run's configuration in its checkpoints, so that a file alone can be evaluated.

    Args:
        config: Plain containers, which ``weights_only=True`` loads.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the configuration."""
        checkpoint[CONFIG_KEY] = self.config

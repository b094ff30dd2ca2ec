"""The files of a run directory. Imports torch only to read a checkpoint that stands alone."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, OmegaConf

CONFIG_KEY = "camloc_config"
"""Where a checkpoint keeps its run's configuration, as plain containers."""


class RunDirectory:
    """One directory per run; under DDP only the first process writes.

    Args:
        path: Exists already, Hydra has made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.report = path / "report"
        self._writes = is_first_process()

    def write_config(self, config: DictConfig) -> None:
        """Write ``config.yaml``, resolved: ``train.py --config-dir RUN --config-name config`` runs it again."""
        self._write("config.yaml", OmegaConf.to_yaml(config, resolve=True))

    def write_status(self, status: Literal["running", "completed", "failed"], error: str | None = None) -> None:
        """Write ``status.json``."""
        self._write("status.json", json.dumps({"status": status, "error": error}, indent=2))

    def write_metrics(self, metrics: Mapping[str, float | int | str]) -> None:
        """Write ``metrics.json``: flat keys, fractions; a number that is not finite is left out."""
        finite = {k: v for k, v in metrics.items() if not isinstance(v, float) or math.isfinite(v)}
        self._write("metrics.json", json.dumps(finite, indent=2))

    def _write(self, name: str, text: str) -> None:
        if self._writes:
            with replaced(self.path / name) as partial:
                partial.write_text(text + "\n", encoding="utf-8")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a file beside another to be written, which takes the other's place in one step once it is whole.

    So a reader never meets half a file, and a full disk costs the new one, not the former.

    Args:
        path: The file that is to be replaced, or made.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def is_first_process() -> bool:
    """Tell whether this is the process that writes files, before any process group exists."""
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return int(next((rank for rank in ranks if rank is not None), 0)) == 0


def is_started_by_first_process() -> bool:
    """Tell whether the first process has started this one, and had done all its work before a device is used."""
    return "LOCAL_RANK" in os.environ and not {"RANK", "SLURM_PROCID"} & os.environ.keys()


def checkpoint_file(checkpoint: Path) -> Path:
    """Return the file that ``checkpoint=`` means: itself, or a run directory's best.

    Raises:
        FileNotFoundError: If there is none.
    """
    file = checkpoint / "checkpoints" / "best.ckpt" if checkpoint.is_dir() else checkpoint
    if not file.is_file():
        raise FileNotFoundError(
            f"checkpoint={checkpoint}: there is no {file}; give a run directory or a checkpoint file"
        )
    return file


def saved_config(checkpoint: Path) -> DictConfig:
    """Return the configuration of the run that a checkpoint, or a file of saved score maps, comes from.

    Args:
        checkpoint: A run directory, a checkpoint file or a ``.npz`` of saved score maps.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of ours.
    """
    file = checkpoint_file(checkpoint)
    beside = file.parent.parent / "config.yaml"
    if file.suffix == ".npz":
        from camloc.data.saved_maps import SavedMaps  # noqa: PLC0415 - imports torch

        config = OmegaConf.create(SavedMaps(file).config_yaml)
    elif file.parent.name == "checkpoints" and beside.is_file():
        config = OmegaConf.load(beside)
    else:
        from camloc.experiment.checkpoint import load_checkpoint  # noqa: PLC0415 - imports torch

        config = OmegaConf.create(load_checkpoint(file).get(CONFIG_KEY, {}))
    if not isinstance(config, DictConfig) or "backbone" not in config:
        raise ValueError(f"{file} does not say which run it comes from; give a checkpoint that train.py wrote")
    return config

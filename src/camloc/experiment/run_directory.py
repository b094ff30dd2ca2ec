"""The files of a run directory. Imports neither torch nor Lightning."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, OmegaConf


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

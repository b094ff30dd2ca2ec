"""Loggers that need more than their constructor."""

import inspect
import os
import secrets
from collections.abc import Mapping, Sequence
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pytorch_lightning import Trainer
from pytorch_lightning.loggers import WandbLogger

from camloc.experiment.run_directory import RunDirectory, is_first_process
from camloc.export.replaced import replaced

OURS = ("id", "resume", "dir", "save_dir", "version", "offline", "experiment", "config", "kwargs", "self")
"""Arguments of ``WandbLogger`` and ``wandb.init`` that are not a user's to give."""


def wandb_logger(
    save_dir: str,
    project: str,
    name: str | None = None,
    tags: Sequence[str] = (),
    mode: Literal["online", "offline", "disabled", "shared"] | None = None,
    **options: Any,  # noqa: ANN401 - wandb's
) -> WandbLogger:
    """Log to Weights & Biases; without an account the run is kept offline, and ``wandb sync`` sends it later.

    Args:
        save_dir: The run directory.
        project: Project the run belongs to.
        name: Of the run; null lets the service choose.
        tags: Of the run.
        mode: Of ``wandb.init``; null is online when logged in and offline otherwise.
        options: What else ``wandb.init`` and ``WandbLogger`` take: ``entity``, ``group``, ``job_type``, ``notes``, ...

    Raises:
        ValueError: If they take no such option, or it is set here.
    """
    _refuse_unknown(options)
    if mode is None:
        wanted: Any = os.environ.get("WANDB_MODE")
        mode = wanted or ("online" if _logged_in() else "offline")
    # A training and what is resumed of it are one W&B run; the agent of a W&B sweep has named it already.
    file = RunDirectory(Path(save_dir)).wandb_run_id
    known_id = file.read_text(encoding="utf-8").strip() if file.is_file() else os.environ.get("WANDB_RUN_ID")
    run_id = known_id or secrets.token_hex(4)
    if is_first_process():
        with replaced(file) as partial:
            partial.write_text(run_id + "\n", encoding="utf-8")
    # Not WandbLogger(offline=True): it leaves WANDB_MODE in the environment, for every later run of the process.
    return WandbLogger(
        project=project, name=name, save_dir=save_dir, tags=list(tags), mode=mode, id=run_id, resume="allow", **options
    )


def summarize(trainer: Trainer, metrics: Mapping[str, float | int | str]) -> None:
    """Put a run's final numbers, the keys of ``metrics.json``, into its W&B summary; call in the first process."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(dict(metrics))


def _refuse_unknown(options: Mapping[str, object]) -> None:
    import wandb  # noqa: PLC0415 - only where it is logged to

    signatures = (inspect.signature(function).parameters for function in (wandb.init, WandbLogger.__init__))
    known = sorted({name for signature in signatures for name in signature} - {*OURS})
    for name in options:
        if name not in known:
            raise ValueError(f"logger.wandb.{name} is no option; choose from {', '.join(known)}")


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return host in netrc().hosts  # where `wandb login` puts the key
    except (FileNotFoundError, NetrcParseError):
        return False

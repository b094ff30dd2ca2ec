"""What the entries share: composing, one clear line on failure. Imports neither torch nor Lightning."""

import contextlib
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from camloc.experiment.resume import resume_arguments
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.saved_config import saved_config

RUN_PARTS = ("backbone", "datamodule", "cam", "score_map", "localization", "classifier")
"""Config groups that an evaluation takes over from the checkpoint's run."""

_RUN_TOKEN = secrets.token_hex(3)


def prepare() -> None:
    """Register what the configuration files refer to; call before Hydra composes."""
    # Constant in a process: Hydra resolves the run directory more than once and must get one answer.
    OmegaConf.register_new_resolver("unique", lambda: _RUN_TOKEN, replace=True)


def offer_run(arguments: Sequence[str]) -> None:
    """Offer the parts of the run that ``checkpoint=`` or ``score_maps=FILE.npz`` names as ``of_run`` in their groups.

    So an evaluation composes like a training: parts come from the run unless another option is named, and single
    values are overridden on top of them. A sweep over several runs composes with the first one's parts; each of its
    jobs is a process of its own, which comes here again with its own run.

    Args:
        arguments: The command line without the program's name.
    """
    maps = [value for value in _values("score_maps", arguments) if value.endswith(".npz")]
    parts: DictConfig = OmegaConf.create()
    try:
        # All are looked at: a sweep does not begin with one that is not there.
        runs = [saved_config(Path(source)) for source in maps or _values("checkpoint", arguments)]
    except (OSError, ValueError) as error:
        _fail(error)
    launcher = _values("hydra/launcher", arguments)
    if len(runs) > 1 and launcher not in ([], ["processes"]):  # others compose all jobs in this process
        _fail(ValueError(f"hydra/launcher={launcher[0]} evaluates one run at a time; leave it out, or name one run"))
    if runs:
        parts = runs[0]
    for part in RUN_PARTS:
        ConfigStore.instance().store(group=part, name="of_run", node=parts.get(part, OmegaConf.create()))


def _values(key: str, arguments: Sequence[str]) -> list[str]:
    """Return what an option is given, several values in a sweep, without the quotes of Hydra's grammar."""
    given = next((argument for argument in reversed(arguments) if argument.startswith(f"{key}=")), f"{key}=null")
    try:
        override = OverridesParser.create().parse_override(given)
    except OverrideParseException:
        return []  # Hydra says what is wrong with it
    values = list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]
    return [value.text if isinstance(value, QuotedString) else str(value) for value in values if value is not None]


def offer_resume(arguments: Sequence[str]) -> list[str]:
    """Return the command line that ``resume=RUN`` stands for; fail in one line where there is nothing to resume.

    Args:
        arguments: The command line without the program's name.
    """
    try:
        return resume_arguments(arguments)
    except (OSError, ValueError) as error:
        _fail(error)


def run_job(job: str, config: DictConfig) -> None:
    """Run a job in its run directory; on failure say why in one line and exit with 1.

    The full traceback goes to ``traceback.txt`` in the run directory, and is raised with ``HYDRA_FULL_ERROR=1``.

    Args:
        job: ``module:function``, called with the configuration and the run directory.
        config: As composed.
    """
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    module, _, function = job.partition(":")
    run.write_status("running")
    try:
        getattr(import_module(module), function)(config, run)
    except Exception as error:
        with contextlib.suppress(OSError):  # a full disk has no room for these either, and is what there is to tell
            run.write_status("failed", error=message(error))
            (run.path / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        _finish_loggers(exit_code=1)
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        _fail(error, f" (run directory: {run.path})")
    except BaseException as interruption:
        run.write_status("failed", error=f"interrupted: {type(interruption).__name__}")
        _finish_loggers(exit_code=1)
        if type(interruption).__name__ == "SIGTERMException":  # Lightning's; an exit code of 0 would look like success
            sys.stderr.write(f"error: interrupted; python train.py resume={run.path} goes on\n")
            sys.exit(128 + signal.SIGTERM)
        raise
    run.write_status("completed")
    _finish_loggers(exit_code=0)


def message(error: BaseException) -> str:
    """Return what went wrong in one line, without the wrapping that Hydra and loader workers put around it.

    Example:
        >>> message(FileNotFoundError("datamodule.root=/data has no wnids.txt"))
        'datamodule.root=/data has no wnids.txt'
    """
    while type(error).__name__ == "InstantiationException" and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=..., see its file in conf/"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Caught "):  # a loader worker's: its own traceback, then "Type: message"
        return lines[-1].partition(": ")[2] or lines[-1]
    return " ".join(lines)


def _finish_loggers(exit_code: int) -> None:
    # Else the next job of a sweep, in the same process, would go on in this one's W&B run.
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=exit_code)


def _fail(error: BaseException, where: str = "") -> NoReturn:
    print(f"error: {message(error)}{where}", file=sys.stderr)  # noqa: T201 - an entry's one line to its user
    sys.exit(1)

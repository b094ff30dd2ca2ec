"""A job in its run directory: its status, and one clear line on failure. Imports neither torch nor Lightning."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.trusted import refuse_calls
from camloc.experiment.version_0_1 import refuse_config


def run_job(job: str, config: DictConfig) -> None:
    """Run a job in its run directory; on failure say why in one line and exit with 1.

    The full traceback goes to ``traceback.txt`` in the run directory, and is raised with ``HYDRA_FULL_ERROR=1``.

    Args:
        job: ``module:function``, called with the configuration and the run directory.
        config: As composed; ``resume`` and ``overwrite`` say what becomes of an earlier run in the same directory.
    """
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    resumes = OmegaConf.select(config, "resume") is not None
    try:  # what is refused here must not change the directory
        refuse_config(config, "the configuration")
        refuse_calls(config)
        if resumes:
            run.refuse_running()
        else:
            _refuse_own_files_as_input(config, run)
            run.start(overwrite=bool(OmegaConf.select(config, "overwrite")))
    except (OSError, ValueError) as error:
        fail(error)
    module, _, function = job.partition(":")
    run.write_status("running")
    try:
        _refuse_missing_values(config)
        getattr(import_module(module), function)(config, run)
    except Exception as error:
        with contextlib.suppress(OSError):  # a full disk has no room for these either, and is the error to report
            run.write_status("failed", error=message(error))
            run.traceback.write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        _finish_loggers(exit_code=1)
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        fail(error, f" (run directory: {run.path})")
    except BaseException as interruption:
        run.write_status("failed", error=f"interrupted: {type(interruption).__name__}")
        _finish_loggers(exit_code=1)
        if type(interruption).__name__ == "SIGTERMException":  # Lightning's; an exit code of 0 would look like success
            way_on = f"; resume={run.path} continues" if "resume" in config else ""
            sys.stderr.write(f"error: interrupted{way_on}\n")
            sys.exit(128 + signal.SIGTERM)
        raise
    run.write_status("completed")
    _finish_loggers(exit_code=0)


def _refuse_missing_values(config: DictConfig) -> None:
    """Refuse a configuration that leaves a value for its user to give, before anything is built.

    Raises:
        ValueError: Naming the first of them.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ValueError(_must_be_given(missing[0]))


def _must_be_given(key: str) -> str:
    return f"{key} must be given: {key}=..., see its file in conf/"


def message(error: BaseException) -> str:
    """Return what went wrong in one line, without what Hydra and loader workers wrap around it.

    Example:
        >>> message(FileNotFoundError("datamodule.root=/data has no wnids.txt"))
        'datamodule.root=/data has no wnids.txt'
    """
    while type(error).__name__ == "InstantiationException" and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, MissingMandatoryValue):
        return _must_be_given(str(error.full_key))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Caught "):  # a loader worker's: its own traceback, then "Type: message"
        return lines[-1].partition(": ")[2] or lines[-1]
    return " ".join(lines)


def fail(error: BaseException, where: str = "") -> NoReturn:
    """Say in one line what went wrong and exit with 1."""
    print(f"error: {message(error)}{where}", file=sys.stderr)  # noqa: T201 - an entry's one line to its user
    sys.exit(1)


def _refuse_own_files_as_input(config: DictConfig, run: RunDirectory) -> None:
    """Refuse a configuration that names a file which starting in this directory would remove.

    Raises:
        ValueError: If there is one, such as ``checkpoint=RUN hydra.run.dir=RUN``.
    """
    own = [file.resolve() for file in run.own_files()]
    named = _strings(OmegaConf.to_container(config, resolve=False)) if own else ()
    for key, value in named:
        path = Path(value).resolve()
        inside = value and path.is_relative_to(run.path.resolve())
        if inside and any(file.is_relative_to(path) for file in own):
            raise ValueError(
                f"{key}={value} lies in the run directory {run.path}, whose files a new run replaces; "
                "choose another hydra.run.dir="
            )


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - a configured value
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _strings(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part, key)


def _finish_loggers(exit_code: int) -> None:
    # Otherwise the next job of a sweep, in the same process, would continue this one's W&B run.
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=exit_code)

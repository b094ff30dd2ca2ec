"""A job in its run directory: its status, and one clear line on failure. Imports neither torch nor Lightning."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from camloc.data.annotations.problems import DataProblems
from camloc.experiment.composition import explained
from camloc.experiment.interruption import Interrupted, Interruption
from camloc.experiment.limits import raise_descriptor_limit, reuse_freed_memory
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.trusted import refuse_calls
from camloc.experiment.version_0_1 import refuse_config


def run_job(job: str, config: DictConfig, check: str | None = None) -> None:
    """Run a job in its run directory; on failure say why in one line and exit with 1.

    The full traceback goes to ``traceback.txt`` in the run directory, and is raised with ``HYDRA_FULL_ERROR=1``.

    Args:
        job: ``module:function``, called with the configuration and the run directory.
        config: As composed; ``resume`` and ``overwrite`` say what becomes of an earlier run in the same directory.
        check: ``module:function``, called with the configuration and the keys that the command line sets, before the
            directory is changed; raises ValueError for what the job cannot run with.
    """
    run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
    resumable = "resume" in config
    with Interruption(run, resumable=resumable) as interruption:
        try:
            _begin(config, run, check)
        except Interrupted:
            interruption.ending()
            interruption.end()
        except Exception as error:
            if wants_traceback():
                raise
            fail(error)
        try:
            raise_descriptor_limit()
            reuse_freed_memory()
            _function(job)(config, run)
            run.write_status("completed")
        except BaseException as error:
            interruption.ending()
            trace = traceback.format_exc()
            stopped = interruption.number is not None
            if isinstance(error, Exception) and not stopped:
                interruption.outlive_first()
                run.write_failure(message(error), trace)
            elif not stopped:
                run.write_status("failed", error=f"interrupted: {type(error).__name__}")
            _finish_loggers(exit_code=1)
            if stopped:
                interruption.end(message(error) if isinstance(error, OSError) else "")
            if not isinstance(error, Exception) or wants_traceback():
                raise
            states = ((run.last_checkpoint, "from its last checkpoint"), (run.found, "after what is predicted"))
            kept = next((where for file, where in states if resumable and file.is_file()), None)
            way_on = "" if kept is None else f"; resume= with it goes on {kept}"
            fault = _cause(error)
            is_listed = isinstance(fault, DataProblems) and run.write_data_problems(fault.problems)
            listed = f"; all problems: {run.data_problems}" if is_listed else ""
            fail(error, f" (run directory: {run.path}{way_on}{listed})")
        _finish_loggers(exit_code=0)


def _begin(config: DictConfig, run: RunDirectory, check: str | None) -> None:
    """Refuse what cannot run, which must not change the directory, and start the run."""
    resumes = OmegaConf.select(config, "resume") is not None
    overwrite = OmegaConf.select(config, "overwrite") is True
    refuse_config(config, "the configuration")
    refuse_calls(config)  # before anything that the configuration names is imported
    _refuse_missing_values(config)
    run.lock()
    if not resumes:
        _refuse_own_files_as_input(config, run)
        run.refuse_completed(overwrite=overwrite)
    if check is not None:
        _function(check)(config, given_keys())
    if not resumes:
        run.start(overwrite=overwrite)
    if run.read_status().status != "completed":  # of a run that is resumed, and goes on only once all is built
        run.write_status("running")


def _function(name: str) -> Callable[..., None]:
    module, _, function = name.partition(":")
    found: Callable[..., None] = getattr(import_module(module), function)
    return found


def given_keys() -> list[str]:
    """Return the keys that the command line sets, a config group's with dots too; none where there is no command."""
    if not HydraConfig.initialized():
        return []
    given = (re.match(r"[+~]*([^=@]*)", override) for override in HydraConfig.get().overrides.task)
    return [found[1].replace("/", ".") for found in given if found]


def _refuse_missing_values(config: DictConfig) -> None:
    """Refuse a configuration that leaves a value for its user to give, before anything is built.

    Raises:
        ValueError: Naming the first of them.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ValueError(_must_be_given(missing[0]))


def _must_be_given(key: str) -> str:
    return f"{key} must be given: {key}=...; --help has the options"


def message(error: BaseException) -> str:
    """Return what went wrong in one line, without what Hydra and loader workers wrap around it.

    Example:
        >>> message(FileNotFoundError("datamodule.root=/data has no wnids.txt"))
        'datamodule.root=/data has no wnids.txt'
    """
    error = _cause(error)
    if isinstance(error, MissingMandatoryValue):
        return _must_be_given(str(error.full_key))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if "shared memory" in str(error) and not isinstance(error, ValueError):  # torch's, of loader workers
        what = (
            "may open too few files (ulimit -n)"
            if "Too many open files" in str(error)
            else "lack shared memory (/dev/shm)"
        )
        return f"the loader workers {what}; raise that limit, or give num_workers=0 in datamodule or map_loader"
    if lines[0].startswith("Caught "):  # a loader worker's: its own traceback, then "Type: message"
        return lines[-1].partition(": ")[2] or lines[-1]
    return explained(error)


def _cause(error: BaseException) -> BaseException:
    """Return what went wrong without what Hydra wraps around it."""
    while type(error).__name__ == "InstantiationException" and error.__cause__ is not None:
        error = error.__cause__
    return error


def wants_traceback() -> bool:
    """Return whether errors are to be raised instead of said in one line."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


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

"""Continuing a training that was stopped: ``camloc train resume=RUN``. Imports neither torch nor Lightning."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.trusted import read_config_file
from camloc.experiment.version_0_1 import refuse_config

RESUMED = "resumed"
"""Name under which Hydra finds the configuration of the run."""


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Turn ``resume=RUN`` into the arguments that run its own configuration in its own directory.

    Args:
        arguments: The command line without the program's name; further overrides stay, such as
            ``trainer.max_epochs=20`` to train on.

    Returns:
        The arguments, unchanged without ``resume=``.

    Raises:
        FileNotFoundError: If the directory has no configuration or no checkpoint.
        ValueError: If the run has completed and no further epochs are asked for, is of version 0.1, or has a
            configuration that no run saves.
    """
    given = _given("resume=", arguments)
    if given == "null":
        if (resumed := _given("++resume=", arguments)) != "null":  # in a process that a resumed run has started
            _offer(RunDirectory(Path(resumed)), resumed)
        return list(arguments)
    run = RunDirectory(Path(given).absolute())
    others = [argument for argument in arguments if not argument.startswith("resume=")]
    for needed in (run.config, run.last_checkpoint):
        if not needed.is_file():
            raise FileNotFoundError(
                f"resume={given}: there is no {needed}; give the directory of a run that has trained an epoch"
            )
    _offer(run, given)
    trains_on = any(argument.startswith("trainer.max_epochs=") for argument in others)
    if run.read_status().status == "completed" and not trains_on:
        raise ValueError(f"resume={given}: the run has completed; trainer.max_epochs=N trains on, up to N epochs")
    return [
        *("--config-name", RESUMED),
        *others,
        f"++resume='{run.path}'",
        f"hydra.run.dir='{run.path}'",
        "hydra.output_subdir=null",  # .hydra keeps what the run was first called with
    ]


def _offer(run: RunDirectory, given: str) -> None:
    """Let Hydra find the run's configuration, and nothing else that lies in its directory."""
    config = read_config_file(run.config)
    refuse_config(config, f"resume={given}")
    config.trust = False  # is for the command line to say
    ConfigStore.instance().store(name=RESUMED, node=config)


def _given(option: str, arguments: Sequence[str]) -> str:
    return next((a.partition("=")[2].strip("'\"") for a in reversed(arguments) if a.startswith(option)), "null")

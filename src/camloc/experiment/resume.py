"""Continuing what was stopped: ``camloc train resume=RUN``, ``camloc predict resume=RUN``. Imports no torch."""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from camloc.experiment.arguments import flags, quoted
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.trusted import read_config_file
from camloc.experiment.version_0_1 import refuse_config

RESUMED = "resumed"
"""Name under which Hydra finds the configuration of the run."""

_BESIDE_PREDICTION = ("device", "devices", "batch_size", "num_workers", "trust")
"""Options that a prediction may go on with another value of: they decide nothing of what is found."""


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Turn ``resume=RUN`` into the arguments that run its own configuration in its own directory.

    Args:
        arguments: The command line without the program's name; further overrides stay, such as
            ``trainer.max_epochs=20`` to train on.

    Returns:
        The arguments, unchanged without ``resume=``.

    Raises:
        FileNotFoundError: If the directory has no configuration or no checkpoint.
        ValueError: If the run has completed and no further epochs are asked for, is of version 0.1, has a
            configuration that no run saves, holds a link to a file, a FIFO or a device, or is to go on with another
            part or in another directory.
    """
    given = _given("resume=", arguments)
    if given == "null":
        if (resumed := _given("++resume=", arguments)) != "null":  # in a process that a resumed run has started
            _offer(RunDirectory(Path(resumed)), resumed)
        return list(arguments)
    run, others = _stopped_run(given, arguments, "last_checkpoint", "run that has trained an epoch")
    trains_on = any(argument.lstrip("+").startswith("trainer.max_epochs=") for argument in others)
    if run.read_status().status == "completed" and not trains_on:
        raise ValueError(f"resume={given}: the run has completed; trainer.max_epochs=N trains on, up to N epochs")
    return _in_its_directory(run, others)


def resume_prediction(arguments: Sequence[str]) -> list[str] | None:
    """Turn ``resume=RUN`` into the arguments that go on with a prediction; None without ``resume=``.

    Raises:
        FileNotFoundError: If the directory has no configuration or no prediction.
        ValueError: If it has completed, if an option would predict the images that are left otherwise than those that
            are done, or as :func:`resume_arguments`.
    """
    given = _given("resume=", arguments)
    if given == "null":
        return None
    _refuse_other_results(given, arguments)
    run, others = _stopped_run(given, arguments, "found", "prediction that was stopped")
    if run.read_status().status == "completed":
        raise ValueError(f"resume={given}: the prediction has completed; nothing is left to do")
    return _in_its_directory(run, others)


def _stopped_run(given: str, arguments: Sequence[str], state: str, wanted: str) -> tuple[RunDirectory, list[str]]:
    """Return the run with the other arguments; ``state`` is the file of it that says where it stands."""
    run = RunDirectory(Path(given).absolute())
    others = [argument for argument in arguments if not argument.startswith("resume=")]
    needed: Path
    for needed in (run.config, getattr(run, state)):
        if not needed.is_file():
            raise FileNotFoundError(f"resume={given}: there is no {needed}; give the directory of a {wanted}")
    _refuse_irregular(run)
    _refuse_other_parts(_offer(run, given), given, others)
    return run, others


def _in_its_directory(run: RunDirectory, others: Sequence[str]) -> list[str]:
    return [
        *("--config-name", RESUMED),
        *others,
        f"++resume={quoted(str(run.path))}",
        f"hydra.run.dir={quoted(str(run.path))}",
        "hydra.output_subdir=null",  # .hydra keeps what the run was first called with
    ]


def _refuse_irregular(run: RunDirectory) -> None:
    """Refuse what a run never holds: Hydra and we would write through a link, and wait for a FIFO for ever.

    A link to a folder stays one: checkpoints may lie on another disk.
    """
    for entry in run.path.iterdir():
        if not entry.is_dir() and (entry.is_symlink() or not entry.is_file()):
            raise ValueError(f"{entry} is a link or no regular file, which no run writes; replace it by the file")


def _refuse_other_parts(config: DictConfig, given: str, others: Sequence[str]) -> None:
    """Refuse what Hydra would refuse with another reason, or what would have no effect."""
    for argument in others:
        key, _, value = argument.lstrip("+").partition("=")
        if key in ("hydra.run.dir", "--config-name", "-cn"):
            raise ValueError(f"resume={given} goes on in that directory with its own configuration; leave out {key}")
        if isinstance(config.get(key), DictConfig) and not value.startswith("{"):
            raise ValueError(
                f"resume={given}: {argument} would exchange a part of the run, which goes on with its own; leave it "
                f"out, or change single options of it, as {key}.NAME=VALUE"
            )


def _refuse_other_results(given: str, arguments: Sequence[str]) -> None:
    """Refuse what decides results: one file would mix two settings, and say one."""
    keys = [re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0] for override in flags(arguments).overrides]
    refused = [
        key for key in keys if key not in ("resume", *_BESIDE_PREDICTION) and not key.startswith(("hydra.", "hydra/"))
    ]
    if refused:
        raise ValueError(
            f"resume={given} predicts what is left as what is done, and only {', '.join(_BESIDE_PREDICTION)} may "
            f"change; leave out {', '.join(refused)}, or predict all again in another directory"
        )


def _offer(run: RunDirectory, given: str) -> DictConfig:
    """Let Hydra find the run's configuration, and nothing else that lies in its directory."""
    config = read_config_file(run.config)
    refuse_config(config, f"resume={given}")
    config.trust = False  # is for the command line to say
    ConfigStore.instance().store(name=RESUMED, node=config)
    return config


def _given(option: str, arguments: Sequence[str]) -> str:
    given = next((argument for argument in reversed(arguments) if argument.startswith(option)), None)
    if given is None:
        return "null"
    text = given.partition("=")[2]
    try:
        value = OverridesParser.create().parse_override(given).value()
    except HydraException:
        return text
    return "null" if value is None else value if isinstance(value, str) else text

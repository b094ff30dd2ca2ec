"""Which run a checkpoint or a file of score maps comes from. Imports torch only to look into such a file."""

from pathlib import Path

from omegaconf import DictConfig

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.trusted import read_config, read_config_file
from camloc.experiment.version_0_1 import refuse_config


def checkpoint_file(checkpoint: Path) -> Path:
    """Return the file that ``checkpoint=`` means: itself, or a run directory's best.

    Raises:
        FileNotFoundError: If there is none.
    """
    file = RunDirectory(checkpoint).best_checkpoint if checkpoint.is_dir() else checkpoint
    if not file.is_file():
        raise FileNotFoundError(
            f"checkpoint={checkpoint}: there is no {file}; give a run directory or a checkpoint file"
        )
    return file


def saved_config(checkpoint: Path) -> DictConfig:
    """Return the configuration of the run that a checkpoint or a file of saved score maps comes from.

    Args:
        checkpoint: A run directory, a checkpoint file or a ``.npz`` of saved score maps.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a checkpoint of ours, was written by version 0.1, or has a configuration that no run
            saves.
    """
    file = checkpoint if checkpoint.suffix == ".npz" else checkpoint_file(checkpoint)
    run = RunDirectory(file.parent.parent)
    if file.suffix == ".npz":
        from camloc.predictors.saved_maps import SavedMaps  # noqa: PLC0415 - imports torch

        config = read_config(SavedMaps(file).config_yaml, f"{file}: config")  # says itself where there is none
    elif file.parent.name == run.checkpoints.name and run.config.is_file():
        config = read_config_file(run.config)
    else:
        from camloc.experiment.checkpoint import CONFIG_KEY, load_checkpoint  # noqa: PLC0415 - imports torch

        config = read_config(load_checkpoint(file).get(CONFIG_KEY, {}), f"{file}: {CONFIG_KEY}")
    if "backbone" not in config:
        raise ValueError(f"{file} does not say which run it comes from; give a checkpoint that camloc train wrote")
    refuse_config(config, str(checkpoint))
    return config

"""Going on with a training that was stopped: ``python train.py resume=RUN``. Imports neither torch nor Lightning."""

import json
from collections.abc import Sequence
from pathlib import Path


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Turn ``resume=RUN`` into the arguments that run its own configuration in its own directory.

    Args:
        arguments: The command line without the program's name; further overrides stay, such as
            ``trainer.max_epochs=20`` to train on.

    Returns:
        The arguments, unchanged without ``resume=``.

    Raises:
        FileNotFoundError: If the directory has no configuration or no checkpoint.
        ValueError: If the run has completed, and is not told to train more epochs.
    """
    run = next((a.partition("=")[2].strip("'\"") for a in reversed(arguments) if a.startswith("resume=")), "null")
    if run == "null":
        return list(arguments)
    directory = Path(run).absolute()
    others = [argument for argument in arguments if not argument.startswith("resume=")]
    for needed in ("config.yaml", "checkpoints/last.ckpt"):
        if not (directory / needed).is_file():
            raise FileNotFoundError(
                f"resume={run}: there is no {directory / needed}; give the directory of a run that has trained an epoch"
            )
    status = json.loads((directory / "status.json").read_text(encoding="utf-8")).get("status")
    if status == "completed" and not any(argument.startswith("trainer.max_epochs=") for argument in others):
        raise ValueError(f"resume={run}: the run has completed; trainer.max_epochs=N trains on, up to N epochs")
    return [
        *("--config-dir", str(directory), "--config-name", "config"),
        *others,
        f"++resume='{directory}'",
        f"hydra.run.dir='{directory}'",
        "hydra.output_subdir=null",  # .hydra keeps what the run was first called with
    ]

"""Options and runs of version 0.1, which are refused in one line. Imports neither torch nor Lightning."""

import re
from collections.abc import Sequence

from omegaconf import DictConfig

from camloc.experiment.configuration import configuration_directory

# What an argument of version 0.1 looks like, and what it is now.
_RENAMED = {
    r"[+~]*cam(@[\w.]+)?(=|$)": "cam= is attribution= since 0.2 (attribution=cam, grad_cam, saliency)",
    r"\+*datamodule\.picture_size=": "datamodule.picture_size= is datamodule.image_size= since 0.2",
    r"\+*datamodule\.annotations=(voc|coco|csv|masks)$": (
        "datamodule.annotations=NAME is datamodule/annotations=NAME since 0.2 (voc, coco, csv, masks)"
    ),
}
_INPUT_SIZE = "datamodule.image_size= is datamodule.input_size= since 0.2"


def refuse_options(arguments: Sequence[str]) -> None:
    """Refuse options that have another name now.

    Args:
        arguments: The command line without the program's name.

    Raises:
        ValueError: With the new name.

    Example:
        >>> refuse_options(["cam=cam"])
        Traceback (most recent call last):
        ...
        ValueError: cam= is attribution= since 0.2 (attribution=cam, grad_cam, saliency)
    """
    for argument in arguments:
        for pattern, renamed in _RENAMED.items():
            if re.match(pattern, argument):
                raise ValueError(renamed)
    if any(argument.startswith("datamodule.image_size=") for argument in arguments) and not _draws_images(arguments):
        raise ValueError(_INPUT_SIZE)


def refuse_config(config: DictConfig, source: str) -> None:
    """Refuse the configuration of a run of version 0.1.

    Args:
        config: Of the run.
        source: Where it was found, for the message.

    Raises:
        ValueError: If version 0.1 wrote it.
    """
    if "cam" in config:  # the config group that attribution/ replaced; every run of version 0.1 had it
        raise ValueError(f"{source} was written by camloc 0.1; only that version reads it")


def _draws_images(arguments: Sequence[str]) -> bool:
    # `image_size` is still an option of data modules that draw their images, and may be one of a user's own.
    chosen = [argument.partition("=")[2] for argument in arguments if argument.startswith("datamodule=")]
    file = configuration_directory() / "datamodule" / f"{chosen[-1] if chosen else 'textures'}.yaml"
    return not file.is_file() or "\nimage_size:" in file.read_text(encoding="utf-8")

"""What ``--help`` prints. Hydra's own help composes first and walks every config group: three seconds."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

_COLUMNS, _INDENT = 112, 19
NO_OPTIONS = ("base", "loader")
"""Files of a group that its options include."""


def help_text(command: str, configurations: Sequence[Path]) -> str:
    r"""Return a command's help: ``COMMAND_help.txt`` with the options of each config group.

    A line ``{GROUP: MEANING}`` of that file becomes the group's name, its meaning and the options it has.

    Args:
        command: Name of the command.
        configurations: Directories of configuration files; the first holds the text.

    >>> from camloc.experiment.configuration import configuration_directory
    >>> text = help_text("train", [configuration_directory()])
    >>> next(line for line in text.splitlines() if "optimizer=" in line)
    '  optimizer=       how weights are updated: adamw, sgd'
    """
    text = (configurations[0] / f"{command}_help.txt").read_text(encoding="utf-8")
    return re.sub(r"\{([\w/]+): (.*)\}", lambda found: _group(found[1], found[2], configurations), text)


def options(group: str, configurations: Sequence[Path]) -> list[str]:
    """Return the names that a config group offers, sorted.

    Args:
        group: Its folder, such as ``datamodule/annotations``.
        configurations: Directories of configuration files.
    """
    found = {path.stem for directory in configurations for path in (directory / group).glob("*.yaml")}
    return sorted(found.difference(NO_OPTIONS))


def _group(name: str, meaning: str, configurations: Sequence[Path]) -> str:
    lines = textwrap.wrap(
        f"{meaning}: {', '.join(options(name, configurations))}", _COLUMNS - _INDENT, break_on_hyphens=False
    )
    head, margin = f"{name}=", _INDENT - len("  ")
    lines = [head.ljust(margin) + lines[0], *lines[1:]] if len(head) < margin else [head, *lines]
    return ("\n" + " " * _INDENT).join(lines)

"""The command line before Hydra reads it. Imports neither torch nor Lightning."""

import re
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from camloc.experiment.help import options

# How a value begins that is a list, a mapping, quoted text, or one of the functions of Hydra's grammar.
_STRUCTURED = re.compile(
    r"[\[{'\"]|(choice|range|interval|glob|shuffle|sort|tag|extend_list|int|float|str|bool|json_str)\("
)


def quoted(text: str) -> str:
    """Return text as a value of Hydra's grammar.

    Example:
        >>> print(quoted("/data/my images (1)"))
        '/data/my images (1)'
    """
    return QuotedString(text, Quote.single).with_quotes()


def flags(arguments: Sequence[str]) -> Namespace:
    """Return what the flags among the arguments say, and the others as ``overrides``, in any order.

    Raises:
        ValueError: If a flag is unknown or lacks its value.

    Example:
        >>> flags(["-m", "seed=1,2"]).multirun, flags(["-m", "seed=1,2"]).overrides
        (True, ['seed=1,2'])
    """
    parser = _Parser(parents=[get_args_parser()], add_help=False)
    # Of `-monitor=x`, argparse would make the flag `-m`.
    unknown = [argument for argument in arguments if re.match(r"-[^-].*=", argument)]
    given, others = parser.parse_known_args([argument for argument in arguments if argument not in unknown])
    given.overrides += [other for other in others if not other.startswith("-")]
    if unknown := [*unknown, *(other for other in others if other.startswith("-"))]:
        raise ValueError(f"{unknown[0]} is no flag of this command; options are given as key=value, without dashes")
    return given


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def hydra_arguments(arguments: Sequence[str], configurations: Sequence[Path] = ()) -> list[str]:
    """Quote the values that Hydra's grammar cannot take: paths with parentheses, letters beyond ASCII or commas.

    Args:
        arguments: The command line without the program's name.
        configurations: Directories of configuration files, whose folders are the config groups.

    Returns:
        The same, flags first, as Hydra wants them; what can be read is as it was given.

    Raises:
        ValueError: If an argument is neither an option of Hydra's nor ``key=value``, if its value cannot be read, or if
            it names nothing, or something twice, for a config group.

    Example:
        >>> hydra_arguments(["seed=1", "datamodule.root=/data/my images (1)"])
        ['seed=1', "datamodule.root='/data/my images (1)'"]
    """
    given = flags(arguments)
    parser = OverridesParser.create()
    read = [argument for argument in arguments if argument not in given.overrides]
    for argument in given.overrides:
        override = _parsed(parser, argument)
        if override is None or not override.key_or_group:
            read.append(_readable(parser, argument, multirun=given.multirun))
        else:
            _refuse_choice(override, argument, configurations)
            key, _, value = argument.partition("=")
            # Commas sweep; without a sweep they can only belong to the name of what lies there.
            is_path = override.is_sweep_override() and not given.multirun and _exists(value)
            read.append(f"{key}={quoted(value)}" if is_path else argument)
    return read


def _readable(parser: OverridesParser, argument: str, *, multirun: bool) -> str:
    key, equals, value = argument.partition("=")
    if not (key and equals) or _parsed(parser, f"{key}=1") is None:
        raise ValueError(f"{argument} is no option; options are given as key=value, without spaces around the =")
    as_text = f"{key}={quoted(value)}"
    if _exists(value) or not (_STRUCTURED.match(value) or (multirun and "," in value)):
        return as_text
    if _STRUCTURED.match(value):
        in_shell = shlex.quote(as_text) if re.search(r'["$`\\!]', as_text) else f'"{as_text}"'
        raise ValueError(f"{argument} cannot be read: a bracket or a quote is missing; text is quoted: {in_shell}")
    return f"{key}={','.join(quoted(part) for part in value.split(','))}"


def _refuse_choice(override: Override, argument: str, configurations: Sequence[Path]) -> None:
    group = override.key_or_group
    if override.is_delete() or override.is_sweep_override() or not any((c / group).is_dir() for c in configurations):
        return
    value = override.value()
    names = value if isinstance(value, list) else [value]
    if not isinstance(value, str | list | QuotedString | dict):
        raise ValueError(  # noqa: TRY004 - of a value that was given, as all of them
            f"{argument}: {group} is chosen by name, {group}={'|'.join(options(group, configurations))}"
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{argument} names {twice[0]} twice")


def _parsed(parser: OverridesParser, argument: str) -> Override | None:
    try:
        return parser.parse_override(argument)
    except HydraException:
        return None


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False

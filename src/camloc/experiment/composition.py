"""Why a configuration cannot be composed, in one line with the nearest option. Imports neither torch nor Lightning."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from hydra._internal import utils
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import KeyValidationError, OmegaConfBaseException

from camloc.experiment.help import NO_OPTIONS

_AMBIGUOUS = re.compile(r"Ambiguous value for argument '(.*?)' 1\. ")
_PRESENT = re.compile(r"Could not append to config\. An item is already at '(.*?)'\.")
_NEAR = 0.65
"""From which likeness on, of 1, one name is taken for another's misspelling."""
_NEAR_AS_A_WHOLE = 0.85
"""The same of keys with all their parts, which are alike already where they begin alike."""
_OF_TRAINING = ("objective", "optimizer", "scheduler")
_NO_GROUP = re.compile(r"Could not override '(.*?)'\. No match in the defaults list")


@contextmanager
def hydra_raises() -> Iterator[None]:
    """Let Hydra raise what stops it; by itself it prints several lines, or a traceback, and exits."""
    usual = utils.run_and_report

    def raising(func: Any) -> Any:  # noqa: ANN401 - as Hydra's own
        return func()

    utils.run_and_report = raising
    try:
        yield
    finally:
        utils.run_and_report = usual


def explained(error: BaseException) -> str:
    """Return an error's text in one line, that of a configuration which cannot be composed with the nearest option.

    Args:
        error: What was raised.

    Example:
        >>> explained(MissingConfigException("...", "backbone/vgg_gapp", ["alexnet_gap", "vgg_gap"]))
        'backbone has no option vgg_gapp; did you mean vgg_gap? It has alexnet_gap, vgg_gap'
    """
    text = one_line(error).partition(" Config search path:")[0]
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _missing_option(error)
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        return _unknown_key(text, error.__cause__)
    if found := _AMBIGUOUS.search(text):
        key, _, value = found[1].partition("=")
        return f"{found[1]} has several values: add -m to run each, or give one list, {key}=[{value}]"
    if found := _PRESENT.search(text):
        return f"{found[1]} is an option already; give it without the +"
    if found := _NO_GROUP.search(text):
        other = "; an experiment that sets it is for train" if found[1] in _OF_TRAINING else ""
        return f"{found[1]} has no effect: nothing that is chosen here is made of such a part{other}"
    return text


def near(wanted: str, known: Iterable[str]) -> str:
    """Return a question that names the known key nearest to a wanted one, or nothing where none is near.

    Example:
        >>> near("optimizer.lrr", ["optimizer.lr", "seed"]), near("lr", ["optimizer.lr"]), near("x", ["seed"])
        ('; did you mean optimizer.lr?', '; did you mean optimizer.lr?', '')
    """
    parent, _, last = wanted.rpartition(".")
    names = {str(key): str(key).rpartition(".") for key in known}
    siblings = {name[2]: key for key, name in names.items() if name[0] == parent}
    found = [siblings[name] for name in get_close_matches(last, siblings, 1, _NEAR)]
    found += [key for key, name in names.items() if name[2] == last]
    found += get_close_matches(
        wanted, [key for key in names if key.count(".") == wanted.count(".")], 1, _NEAR_AS_A_WHOLE
    )
    return f"; did you mean {found[0]}?" if found else ""


def one_line(error: BaseException) -> str:
    """Return an error's text without line breaks and without what OmegaConf says of its own types."""
    own = isinstance(error, OmegaConfBaseException)
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not (own and re.match(r"(full_key: |(object|reference)_type=)", line))]
    text = " ".join(kept) or type(error).__name__
    return f"{error.full_key}: {text}" if isinstance(error, OmegaConfBaseException) and error.full_key else text


def _missing_option(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = sorted(option for option in error.options or () if option not in NO_OPTIONS)
    suggestion = near(name, options)
    it = f"{suggestion} It" if suggestion else "; it"
    return f"{group} has no option {name}{it} has {', '.join(options) or 'none'}"


def _unknown_key(text: str, cause: OmegaConfBaseException) -> str:
    key = str(cause.full_key or cause.key)
    if isinstance(cause, KeyValidationError) or cause.parent_node is None or "Could not override" not in text:
        given = re.search(r"Error merging override (.*)", text)
        return f"{given[1] if given else text}: {one_line(cause)}"
    whole = OmegaConf.to_container(cause.parent_node._get_root(), resolve=False)  # noqa: SLF001 - OmegaConf's public API knows no parents
    known = [name for name in _keys(whole) if key.startswith("hydra.") or not name.startswith("hydra.")]
    adds = isinstance(cause.parent_node, DictConfig) and "_target_" in cause.parent_node
    how = f" An argument of {cause.parent_node.get('_target_')} that is not listed is added with +" if adds else ""
    suggestion = near(key, known)
    return f"{key} is not an option of this configuration{suggestion or ('.' if how else '')}{how}"


def _keys(node: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401 - any part of a configuration
    if isinstance(node, dict):
        for name, part in node.items():
            yield f"{prefix}{name}"
            yield from _keys(part, f"{prefix}{name}.")

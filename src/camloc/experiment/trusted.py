"""What a configuration that came with a file may do. Imports torch only to look up a class of an optimizer or a metric.

A run directory, a checkpoint and a file of saved score maps hold the configuration of the run that wrote them, and may
have been made by anyone. Whatever reads one reads it here, where it is data of a limited size; and before a run builds
anything, :func:`refuse_calls` compares every ``_target_`` with a list of what may be called.
"""

import sys
from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path
from re import findall, fullmatch
from typing import Any

import yaml  # type: ignore[import-untyped] # no types published
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from camloc.experiment.configuration import configuration_directory
from camloc.experiment.run_directory import is_first_process

FROM_FILES = ("resume", "checkpoint", "score_maps")
"""Options that name a file or a run directory with a configuration."""
MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 32
TOO_MUCH = f"more than {MAX_BYTES} bytes, {MAX_VALUES} values or {MAX_DEPTH} levels, so no run saved it"
MAX_SHOWN = 100  # characters

_WANDB = "camloc.experiment.loggers.wandb_logger"
_UNNAMED_PARTS = frozenset({"camloc.metrics.stock.StockMetric"})  # of camloc, though no file of conf/ has it
_OPTIMIZATION = ("torch.optim", "torch.optim.lr_scheduler")
# Not all of torchmetrics: what judges text, speech or drawn images loads a model from wherever its arguments say.
_METRICS = ("torchmetrics.classification", "torchmetrics.regression", "torchmetrics.aggregation")
_TARGET = r"""_target_["']?\s*[=:]\s*["']?([\w.]+)"""  # in an override, also in one that is a whole mapping
# An option of localization that a protocol follows, which an evaluation may change for all of them.
_OWN_REFERENCE = r"\$\{localization\.\w+\}|\$\{either:\$\{localization\.\w+\},[\d.]+\}"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is not built everywhere


def read_config_file(file: Path) -> DictConfig:
    """Read ``config.yaml`` of a run directory, see :func:`read_config`.

    Raises:
        ValueError: If it is no configuration that a run saves.
    """
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"{file} has {TOO_MUCH}")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no UTF-8 text: {error}") from error
    return read_config(text, str(file))


def read_config(content: object, source: str) -> DictConfig:
    """Read a configuration that a run saved: resolved but for references to ``localization``, without ``hydra``.

    Args:
        content: YAML, or the mapping itself.
        source: Where it was found, for messages.

    Raises:
        ValueError: If it has what no run saves: other interpolations, aliases, Hydra's own nodes, more than
            ``MAX_VALUES`` values, or values nested more than ``MAX_DEPTH`` deep.

    Example:
        >>> read_config("optimizer: {lr: 0.1}", "config.yaml")
        {'optimizer': {'lr': 0.1}}
        >>> read_config("root: ${oc.env:HOME}", "config.yaml")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: config.yaml: root is ${oc.env:HOME}, and nothing is looked up for a saved configuration; write ...
    """
    plain = _parsed(content, source) if isinstance(content, str) else content
    if not isinstance(plain, dict):
        raise ValueError(f"{source} holds no configuration: a mapping is needed, got {type(plain).__name__}")  # noqa: TRY004 - a file's content
    if "hydra" in plain:
        raise ValueError(f"{source} has a node hydra, which no run saves; remove it")
    for number, (key, depth, value) in enumerate(_values(plain)):
        if number == MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError(f"{source} has {TOO_MUCH}")
        _check_value(key, value, source)
    _check_references(plain.get("localization"), source)
    try:
        return OmegaConf.create(plain)
    except OmegaConfBaseException as error:
        raise ValueError(f"{source} is no configuration: {_one_line(error)}") from error


def refuse_calls(config: DictConfig) -> None:
    """Refuse a composed configuration with a ``_target_`` from a file that neither camloc nor the user has named.

    What may be called: what a file of camloc's ``conf/`` names, the optimizers and schedulers of ``torch.optim``,
    torchmetrics' metrics, and what the command line or the user's own configuration files name. ``trust=true`` allows
    everything and says what.

    Args:
        config: As Hydra composed it.

    Raises:
        ValueError: Naming the first of them.
    """
    _refuse_settings(config)
    source = next((f"{name}={config[name]}" for name in FROM_FILES if OmegaConf.select(config, name) is not None), None)
    plain: Any = OmegaConf.to_container(config, resolve=False)
    if source is None or next(_calls(plain), None) is None:
        return
    if not (foreign := foreign_calls(plain, named_by_user())):
        return
    if OmegaConf.select(config, "trust") is not True:
        key, target = next(iter(foreign.items()))
        raise ValueError(
            f"{source}: {safe(key)}._target_={safe(target)} is not called: it is not part of camloc, and neither "
            "the command line nor --config-dir names it; give the --config-dir that does, or trust=true if you trust "
            "who made the file"
        )
    if is_first_process():
        names = ", ".join(sorted({safe(target) for target in foreign.values()}))
        sys.stderr.write(f"warning: trust=true: the configuration of {source} calls {names}\n")


def foreign_calls(plain: object, named: Collection[object] = ()) -> dict[str, object]:
    """Return each ``_target_`` by its key that neither camloc nor the user has named.

    Args:
        plain: A configuration as plain containers.
        named: What the user has named.
    """
    calls = list(_calls(plain))
    own = set(_calls_of(configuration_directory())) if calls else set()
    return {
        key: target
        for key, target, partial in calls
        if not (isinstance(target, str) and (target in named or (target, partial is True) in own or _is_listed(target)))
    }


def _refuse_settings(config: DictConfig) -> None:
    """Refuse settings of wandb that come with a run: one of them is the address that gets ``WANDB_API_KEY``."""
    run = OmegaConf.select(config, "resume")
    if run is None or OmegaConf.select(config, "trust") is True:
        return
    given = {override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task}
    for key, _, value in _values(OmegaConf.to_container(config, resolve=False)):
        if not isinstance(value, dict) or value.get("_target_") != _WANDB or not value.get("settings"):
            continue
        settings = value["settings"]
        if not isinstance(settings, dict) or any(f"{key}.settings.{name}" not in given for name in settings):
            raise ValueError(
                f"resume={run}: {safe(key)}.settings is not taken from a run: wandb's settings can name a server, "
                f"which would get your key; give ~{safe(key)}.settings, or trust=true if you trust who made the file"
            )


def _parsed(text: str, source: str) -> object:
    """Parse YAML as OmegaConf does, once it is known that this ends soon."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"{source} has {TOO_MUCH}")
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"{source}: *{safe(event.anchor)} is an alias, which no run saves; write the value")  # noqa: TRY004 - a file's content
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if number > 2 * MAX_VALUES or depth > MAX_DEPTH:
                raise ValueError(f"{source} has {TOO_MUCH}")
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{source} is no YAML that a run saved: {_one_line(error)}") from error


def _values(value: object, key: str = "", depth: int = 0) -> Iterator[tuple[str, int, object]]:
    """Yield every value with its key and depth, down to one level more than is allowed."""
    yield key, depth, value
    if depth > MAX_DEPTH:
        return
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        yield from _values(part, f"{key}.{name}" if key else str(name), depth + 1)


def _check_value(key: str, value: object, source: str) -> None:
    wrong = None
    if isinstance(value, str):
        if "${" in value and not (key.startswith("localization.") and fullmatch(_OWN_REFERENCE, value)):
            wrong = f"{safe(key)} is {safe(value)}, and nothing is looked up for a saved configuration"
    elif isinstance(value, dict):
        if isinstance(value.get("defaults"), list):  # of Hydra: which other files to compose
            wrong = f"{safe(f'{key}.defaults')} is a list of other files, and none are composed for it"
    elif not isinstance(value, bool | int | float | list | None):
        wrong = f"{safe(key)} is a {type(value).__name__}, which no run saves"
    if wrong is not None:
        raise ValueError(f"{source}: {wrong}; write the value itself")


def _check_references(localization: object, source: str) -> None:
    """Refuse references to references: ten to each of ten grow as aliases do, and one to itself has no end."""
    if not isinstance(localization, dict):
        return
    number = 0
    for key, _, value in _values(localization, "localization"):
        for name in findall(r"\$\{localization\.(\w+)\}", value) if isinstance(value, str) else ():
            for _, _, inside in _values(localization.get(name)):
                number += 1
                if isinstance(inside, str) and "${" in inside:
                    raise ValueError(
                        f"{source}: {safe(key)} is {safe(value)}, which refers to another; write the value itself"
                    )
                if number > MAX_VALUES:
                    raise ValueError(f"{source} has {TOO_MUCH}")


def _calls(config: object) -> Iterator[tuple[str, object, object]]:
    """Yield the key of every mapping with a ``_target_``, the target, and whether it is partial."""
    for key, _, value in _values(config):
        if isinstance(value, dict) and "_target_" in value:
            yield key, value["_target_"], value.get("_partial_", False)


def _calls_of(directory: Path) -> Iterator[tuple[object, object]]:
    """Yield what the configuration files of a directory name, those that Hydra's and camloc's groups can compose."""
    groups = [path.name for path in configuration_directory().iterdir() if path.is_dir() and path.name != "hydra"]
    # Not every file below it: `--config-dir .` must not name what some run below runs/ does.
    files = [*directory.glob("*.yaml"), *(file for group in groups for file in (directory / group).rglob("*.yaml"))]
    for file in files:
        try:
            content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
        except (OSError, ValueError, yaml.YAMLError):  # Hydra says so if it composes the file
            continue
        for _, target, partial in _calls(content):
            yield target, partial


def named_by_user() -> set[object]:
    """Return each ``_target_`` that the command line, or a configuration file of the user's own, names."""
    if not HydraConfig.initialized():
        return set(_UNNAMED_PARTS)
    hydra = HydraConfig.get()
    directories = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    in_files = {
        target
        for directory in directories
        if directory.resolve() != configuration_directory().resolve()
        for target, _ in _calls_of(directory)
    }
    on_command_line = [found for override in hydra.overrides.task for found in findall(_TARGET, override)]
    return {*in_files, *on_command_line, *_UNNAMED_PARTS}


def _is_listed(target: str) -> bool:
    """Return whether a name is that of an optimizer, a learning rate scheduler or a metric."""
    module, _, name = target.rpartition(".")
    if module not in (*_OPTIMIZATION, *_METRICS, "torchmetrics"):
        return False
    from torch.optim import Optimizer  # noqa: PLC0415 - torch, when such a name is found
    from torch.optim.lr_scheduler import LRScheduler  # noqa: PLC0415 - the same
    from torchmetrics import Metric  # noqa: PLC0415 - the same

    found = getattr(import_module(module), name, None)
    if not isinstance(found, type):
        return False
    if module in _OPTIMIZATION:
        return issubclass(found, Optimizer | LRScheduler)
    return issubclass(found, Metric) and found.__module__.startswith(_METRICS)


def safe(text: object) -> str:
    """Return a stranger's text as a message can show it: short, one line, no control characters."""
    start = str(text)[: MAX_SHOWN + 1]
    start = start if start.isprintable() else ascii(start)
    return start if len(start) <= MAX_SHOWN else f"{start[:MAX_SHOWN]}..."


def printable(line: str) -> str:
    r"""Return a line that may hold a stranger's names without control characters, which a terminal would obey.

    Example:
        >>> printable("runs/a: \x1b[31mred")
        'runs/a: \\x1b[31mred'
    """
    return line if line.isprintable() else ascii(line)[1:-1]


def _one_line(error: Exception) -> str:
    return safe(" ".join(str(error).split()))

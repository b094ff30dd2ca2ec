"""Directories of finished runs, for commands that read several: those that cannot be read are named and left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from re import split
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from camloc.experiment.run_directory import RunDirectory, read_json
from camloc.experiment.saved_config import saved_config
from camloc.experiment.trusted import safe

MOST_SOURCES = 3
"""Saved maps are of an evaluation, and that is of a checkpoint, which a training wrote."""


class LeftOut(NamedTuple):
    """A run directory that is in no table."""

    path: Path
    reason: str


def run_directories(path: Path) -> list[Path]:
    """Return a run directory itself, or the run directories below another one, in the order of their numbers.

    Raises:
        FileNotFoundError: If there is no such directory, or none in it.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no directory; give run directories, or one that holds them")
    if _is_run(path):
        return [path]
    found = {file.parent for name in ("config.yaml", "status.json") for file in path.rglob(name)}
    runs = sorted((run for run in found if _is_run(run)), key=_natural)
    if not runs:
        raise FileNotFoundError(f"{path} holds no run directory; give run directories, or one that holds them")
    return runs


def all_run_directories(paths: Sequence[Path]) -> tuple[list[Path], list[LeftOut]]:
    """Return the run directories of several paths, and the paths that hold none.

    One that is given twice is listed once, as it was given first.

    Raises:
        FileNotFoundError: If all paths hold none, see :func:`run_directories`.
    """
    directories: dict[Path, Path] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        try:
            for found in run_directories(path):
                directories.setdefault(found.resolve(), found)
        except FileNotFoundError as error:
            if len(left_out) + 1 == len(paths):
                raise
            left_out.append(LeftOut(path, str(error).removeprefix(f"{path} ")))
    return list(directories.values()), left_out


def completed_metrics(run: RunDirectory) -> dict[str, Any]:
    """Return the numbers of a run that has completed.

    Raises:
        ValueError: If it has not, or its numbers cannot be read.
    """
    status = run.read_status()
    if status.status != "completed":
        said = "not known, its status.json is missing or damaged" if status.status is None else safe(status.status)
        raise ValueError(f"its status is {said}{f': {safe(status.error)}' if status.error else ''}")
    metrics: dict[str, Any] = read_json(run.metrics)
    if not metrics:
        raise ValueError("its metrics.json is missing or cannot be read")
    return metrics


def training_of(config: DictConfig, directory: Path) -> tuple[Path | None, DictConfig]:
    """Return the checkpoint that a run's weights come from, with the configuration of the training that wrote it.

    Args:
        config: Of a run; of a training, or of a network with weights of its own, it is returned, with no checkpoint.
        directory: Of the run. A relative path was meant from where the command was given, so it is looked for upwards
            from here, where runs that were moved together still find each other, and then in the current directory.

    Raises:
        ValueError: If a checkpoint, or saved maps, cannot be read.
    """
    weights = None
    for _ in range(MOST_SOURCES):
        saved = [config.get("checkpoint"), config.get("score_maps")]
        source = next((Path(str(path)) for path in saved if path is not None), None)
        if source is None:
            return weights, config
        weights = directory = next((p / source for p in directory.resolve().parents if (p / source).exists()), source)
        try:
            config = saved_config(weights)
        except (OSError, ValueError):
            break
    raise ValueError(f"{safe(str(weights))} cannot be read")


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain containers, references to other options as they stand."""
    values: Any = OmegaConf.to_container(config, resolve=False)
    found: dict[str, Any] = values
    return found


def left_out_lines(runs: Sequence[LeftOut]) -> list[str]:
    """Say which runs are in no table, those with the same reason together.

    Example:
        >>> left_out_lines([LeftOut(Path("a"), "it failed"), LeftOut(Path("b"), "it failed")])
        ['a and 1 more: it failed']
    """
    counts = Counter(run.reason for run in runs)
    found = []
    for reason, count in counts.items():
        first = next(run.path for run in runs if run.reason == reason)
        found.append(f"{first}{f' and {count - 1} more' if count > 1 else ''}: {reason}")
    return found


def value_of(config: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - a configured value
    """Return an option by its dotted name; null where there is none.

    Example:
        >>> value_of({"a": {"b": 1}}, "a.b"), value_of({"a": None}, "a.b")
        (1, None)
    """
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_run(path: Path) -> bool:
    # Hydra's .hydra/ holds a config.yaml too.
    return not path.name.startswith(".") and any((path / name).is_file() for name in ("config.yaml", "status.json"))


def _natural(path: Path) -> list[list[str | int]]:
    """Sort job 10 behind job 9."""
    return [[int(word) if word.isdecimal() else word for word in split(r"(\d+)", part)] for part in path.parts]

"""What run directories say of the paper's rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import split
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from camloc.experiment.paper.protocol import classification_deviations, localization_deviations, training_changes
from camloc.experiment.paper.rows import recipe, recipe_files
from camloc.experiment.run_directory import RunDirectory, read_json
from camloc.experiment.saved_config import saved_config
from camloc.experiment.trusted import read_config_file, safe

NOT_THE_TEST_IMAGES = "validation in place of test images, whose labels are not public"
_MOST_SOURCES = 3
"""Saved maps are of an evaluation, and that is of a checkpoint, which a training wrote."""


class LeftOut(NamedTuple):
    """A run directory that is in no table."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PaperRun:
    """A run of a row of the paper."""

    path: Path
    row: str
    recipe: str
    tolerance: float
    """Percentage points."""
    metrics: Mapping[str, Any]
    deviations: Mapping[int, Sequence[str]]
    """By table: in what it was measured otherwise than the paper."""
    changes: Sequence[str]
    """In what it was trained otherwise than its recipe."""

    def error(self, key: str) -> float | None:
        """Return an error in percent; None where the run has none."""
        value = self.metrics.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            return None
        return 100 * value

    def interval(self, key: str) -> tuple[float, float] | None:
        """Return its 95% interval in percent; None where there is none."""
        low, high = self.error(f"{key}_low"), self.error(f"{key}_high")
        return None if low is None or high is None else (low, high)


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


def read_runs(directories: Sequence[Path]) -> Iterator[PaperRun | LeftOut]:
    """Read run directories; one that cannot be read is left out, and says why."""
    for path in directories:
        try:
            yield _read(RunDirectory(path))
        except (OSError, ValueError) as error:
            yield LeftOut(path, " ".join(str(error).split()))


def _read(run: RunDirectory) -> PaperRun:
    """Read a run.

    Raises:
        FileNotFoundError: If its configuration is missing.
        ValueError: If it is no completed run of a row, or its configuration cannot be read.
    """
    if not run.config.is_file():
        raise FileNotFoundError("it has no config.yaml")
    config = read_config_file(run.config)
    paper = config.get("paper")
    name = paper.get("recipe") if isinstance(paper, DictConfig) else None
    if name is None:
        raise ValueError("it is no row of the paper")
    if not isinstance(name, str) or name not in recipe_files():
        raise ValueError(f"its paper.recipe is {str(name)!r:.60}, and there is no experiment=paper/ of that name")
    status = run.read_status()
    if status.status != "completed":
        raise ValueError(f"its status is {status.status}{f': {safe(status.error)}' if status.error else ''}")
    metrics = read_json(run.metrics)
    if not metrics:
        raise ValueError("its metrics.json is missing or cannot be read")
    as_recipe, values = recipe(name), _plain(config)
    localization = localization_deviations(values, as_recipe, metrics)
    return PaperRun(
        path=run.path,
        row=as_recipe["paper"]["row"],
        recipe=name,
        tolerance=as_recipe["paper"]["tolerance"],
        metrics=metrics,
        deviations={
            1: classification_deviations(values, as_recipe, metrics),
            2: localization,
            3: [*localization, NOT_THE_TEST_IMAGES],
        },
        changes=[*_training(config, as_recipe)],
    )


def _training(config: DictConfig, as_recipe: Mapping[str, Any]) -> Iterator[str]:
    """Yield in what the weights that a run measured were trained otherwise than its recipe's."""
    for _ in range(_MOST_SOURCES):
        saved = [config.get("checkpoint"), config.get("score_maps")]
        source = next((str(path) for path in saved if path is not None), None)
        if source is None:
            yield from training_changes(_plain(config), as_recipe)
            return
        try:
            config = saved_config(Path(source))
        except (OSError, ValueError):
            break
    yield f"how is not known, for {safe(source)} cannot be read"


def _plain(config: DictConfig) -> dict[str, Any]:
    values: Any = OmegaConf.to_container(config, resolve=False)
    found: dict[str, Any] = values
    return found


def _is_run(path: Path) -> bool:
    # Hydra's .hydra/ holds a config.yaml too.
    return not path.name.startswith(".") and any((path / name).is_file() for name in ("config.yaml", "status.json"))


def _natural(path: Path) -> list[list[str | int]]:
    """Sort job 10 behind job 9."""
    return [[int(word) if word.isdecimal() else word for word in split(r"(\d+)", part)] for part in path.parts]

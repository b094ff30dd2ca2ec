"""What run directories say of the paper's rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from camloc.experiment.finished_runs import LeftOut, completed_metrics, plain, training_of
from camloc.experiment.paper.protocol import classification_deviations, localization_deviations, training_changes
from camloc.experiment.paper.rows import recipe, recipe_files
from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.trusted import read_config_file

NOT_THE_TEST_IMAGES = "validation in place of test images, whose labels are not public"


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
    metrics = completed_metrics(run)
    as_recipe, values = recipe(name), plain(config)
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
        changes=[*_training(config, run.path, as_recipe)],
    )


def _training(config: DictConfig, directory: Path, as_recipe: Mapping[str, Any]) -> Iterator[str]:
    """Yield in what the weights that a run measured were trained otherwise than its recipe's."""
    try:
        _, training = training_of(config, directory)
    except ValueError as error:
        yield f"how is not known, for {error}"
        return
    yield from training_changes(plain(training), as_recipe)

"""The rows of the paper's tables, read from the recipes in ``conf/experiment/paper/``: its numbers are there alone."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # no types published
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import prepare
from camloc.experiment.saved_values import saved_values
from camloc.report.paper_tables import Measure

CLASSIFICATION = {f"top{k}": f"test/classification/top{k}_error" for k in (1, 5)}
LOCALIZATION = {f"top{k}": f"test/localization/ilsvrc_top{k}_error" for k in (1, 5)}
HEURISTIC = {"top5": "test/localization/heuristic_top5_error"}
TABLES = {
    "table1": (1, CLASSIFICATION),
    "table2": (2, LOCALIZATION),
    "table3": (3, LOCALIZATION),
    "table3_heuristic": (3, HEURISTIC),
}
"""The table of what a recipe has under ``paper``, and by measure the keys of ``metrics.json``."""


@dataclass(frozen=True)
class PaperNumber:
    """A number of the paper.

    Example:
        >>> PaperNumber(2, 1, "googlenet_gap", "GoogLeNet-GAP", False, "top1", 56.4, "test/...").value
        56.4
    """

    table: int
    line: int
    """From top to bottom of its table."""
    row: str
    """Name of the recipe that holds it."""
    name: str
    """As the table has it."""
    boxes: bool
    """Whether the network was trained with boxes."""
    measure: Measure
    value: float
    """Error, %."""
    key: str
    """Of ``metrics.json``."""


TRAINING = "paper/base/training"
"""What recipes that train a network begin with."""
OVERFEAT = PaperNumber(3, 5, "", "OverFeat", boxes=True, measure="top5", value=29.9, key="")
"""The only number without a recipe: camloc has no OverFeat."""


def recipe_files() -> dict[str, Path]:
    """Return the recipes by name, those of the paper's rows and those that measure a row in another way."""
    return {path.stem: path for path in sorted((configuration_directory() / "experiment" / "paper").glob("*.yaml"))}


def paper_numbers() -> list[PaperNumber]:
    """Return all numbers of Tables 1 to 3, in the paper's order.

    Example:
        >>> [(number.name, number.value) for number in paper_numbers() if number.table == 3][:2]
        [('GoogLeNet-GAP (heuristics)', 37.1), ('GoogLeNet-GAP', 42.9)]
    """
    found = [OVERFEAT]
    for file in recipe_files().values():
        paper: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["paper"]
        for name, (table, keys) in TABLES.items():
            line = paper.get(name, {})
            found += [
                PaperNumber(
                    table,
                    line["line"],
                    paper["row"],
                    line["name"],
                    paper.get("boxes", False),
                    measure,
                    line[measure],
                    keys[measure],
                )
                for measure in ("top1", "top5")
                if measure in line
            ]
    return sorted(found, key=lambda number: (number.table, number.line, number.measure))


@functools.cache  # several runs may be of one, and composing takes a third of a second
def recipe(name: str) -> Mapping[str, Any]:
    """Return what a recipe composes to, as a run would save it; what it leaves to its user to give is empty.

    Args:
        name: One of :func:`recipe_files`.

    Returns:
        By option; one that takes published weights as they are has no ``optimizer``, as an evaluation has none.
    """
    prepare()
    with initialize_config_dir(str(configuration_directory()), version_base="1.3"):
        config = compose("train", overrides=[f"experiment=paper/{name}"])
    for key in OmegaConf.missing_keys(config):
        OmegaConf.update(config, key, "")
    values = saved_values(config)
    if TRAINING not in yaml.safe_load(recipe_files()[name].read_text(encoding="utf-8"))["defaults"]:
        del values["optimizer"]
    return values

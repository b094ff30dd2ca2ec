"""What a run's network, method and data set are called, read off its configuration."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from camloc.experiment.configuration import configuration_directory
from camloc.experiment.finished_runs import value_of
from camloc.experiment.signatures import shown
from camloc.experiment.trusted import safe

Config = Mapping[str, Any]
PLAIN: Mapping[str, str] = {"views": "one_view", "box_rule": "largest_component_boxes"}
"""Parts that go without saying."""
_OWN_FOLDERS = ("folder", "annotated")
"""Data sets of a user's own, which are told apart by their folders."""
_NO_OPTIONS = ("_target_", "_partial_", "name", "batch_norm_momentum")
_NETWORK_OPTIONS = ("datamodule.input_size", "classifier.frozen", "classifier.cached_views")


class Named(NamedTuple):
    """A part's name, and the options by which two of the name differ."""

    name: str
    options: Mapping[str, Any]
    """By dotted name."""


def part_name(target: object) -> str:
    """Return the last part of a dotted name as configuration files are named.

    Example:
        >>> part_name("camloc.objectives.classification.CrossEntropy"), part_name("camloc.attribution.cam.cam")
        ('cross_entropy', 'cam')
    """
    last = str(target).rpartition(".")[2]
    return safe(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).lower())


def objective_name(target: object) -> str:
    """Return what ``objective=`` calls an objective of camloc, and the name of another one's class.

    Example:
        >>> objective_name("camloc.objectives.adl.AttentionDropout"), objective_name("mine.MyLoss")
        ('adl', 'my_loss')
    """
    return _objectives().get(str(target)) or part_name(target)


@cache
def _objectives() -> dict[str, str]:
    """Return the objectives of camloc's configuration by what they are built from."""
    files = sorted((configuration_directory() / "objective").glob("*.yaml"))
    configs: dict[str, Any] = {file.stem: OmegaConf.load(file) for file in files}
    return {str(config.get("objective", config)["_target_"]): name for name, config in configs.items()}


def network_of(config: Config) -> Named:
    """Name the network that a run measured.

    Raises:
        ValueError: If it names none: its predictions come from files of unknown origin.
    """
    backbone = config.get("backbone")
    if not isinstance(backbone, Mapping) or "_target_" not in backbone:
        raise ValueError("its predictions come from files, and no network is known of them")
    name = safe(str(backbone["name"])) if "name" in backbone else part_name(backbone["_target_"])
    options = {key: value for key, value in backbone.items() if key not in _NO_OPTIONS}
    return Named(name, options | {key.rpartition(".")[2]: value_of(config, key) for key in _NETWORK_OPTIONS})


def method_of(config: Config, training: Config | None, *, is_known: bool = True) -> Named:
    """Name the method: the objective that trained the network, unless it is plain cross entropy, and the attribution.

    Args:
        config: Of the run.
        training: Of the training that its weights come from; null of published weights.
        is_known: Whether it is known how the weights were trained.
    """
    objective = None if training is None else training.get("objective")
    if objective is not None and not isinstance(objective, Mapping):
        raise ValueError(f"the config.yaml of its training has {safe(repr(objective))} under objective")
    trained_by = [] if objective is None else [objective_name(value_of(objective, "_target_"))]
    if not is_known:
        trained_by = ["unknown training"]
    name = part_name(value_of(config, "attribution._target_"))
    if trained_by not in ([], ["cross_entropy"], [name]):
        name = f"{trained_by[0]} + {name}"
    for part, plain in PLAIN.items():
        target = value_of(config, f"{part}._target_")
        if target is not None and part_name(target) != plain:
            name += f", {part_name(target)}"
    options = {f"objective.{key}": value for key, value in (objective or {}).items() if key not in _NO_OPTIONS}
    for part in ("attribution", "views", "score_map", "box_rule"):
        own = config.get(part) or {}
        if not isinstance(own, Mapping):
            raise ValueError(f"its config.yaml has {safe(repr(own))} under {part}, which is no part")  # noqa: TRY004 - a file
        options |= {f"{part}.{key}": value for key, value in own.items() if key not in _NO_OPTIONS}
    return Named(name, options)


def data_of(config: Config) -> str:
    """Name the data set."""
    name = part_name(value_of(config, "datamodule._target_"))
    root = value_of(config, "datamodule.root")
    named = {"cub": "cub", "image_net": "imagenet", "open_images": "openimages", "tiny_image_net": "tiny_imagenet"}
    return f"{name} {safe(Path(str(root)).name)}" if name in _OWN_FOLDERS and root else named.get(name, name)


def told_apart(parts: Sequence[Named]) -> list[str]:
    """Return a label for each part: its name, with the options by which those of the same name differ.

    Example:
        >>> told_apart([Named("vgg", {"weights": None}), Named("vgg", {"weights": "imagenet"}), Named("nin", {})])
        ['vgg, weights=null', 'vgg, weights=imagenet', 'nin']
    """
    differing: dict[str, list[str]] = {}
    for name in {part.name for part in parts}:
        of_name = [part.options for part in parts if part.name == name]
        keys = dict.fromkeys(key for options in of_name for key in options)
        differing[name] = [key for key in keys if len({shown(options.get(key)) for options in of_name}) > 1]
    return [
        ", ".join([part.name, *(f"{_short(key)}={safe(shown(part.options.get(key)))}" for key in differing[part.name])])
        for part in parts
    ]


def _short(key: str) -> str:
    return key.rpartition(".")[2]

"""In what a run differs from its recipe: what makes its numbers other numbers, and what only makes another training."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from camloc.experiment.signatures import shown
from camloc.experiment.trusted import safe
from camloc.report.table import TRAINED_WITH_BOXES

NUM_IMAGES, NUM_BLACKLISTED = 50_000, 1_762
"""Of the validation images of ILSVRC, as the devkit counts them."""

Config = Mapping[str, Any]

_NETWORK_AND_IMAGES = (
    *("backbone", "views", "datamodule._target_", "datamodule.input_size", "datamodule.eval_transform"),
    "datamodule.classes",
)
_MAPS_AND_BOXES = (
    *("attribution", "score_map", "box_rule", "datamodule.metadata", "localization.score_maps"),
    *(f"localization.protocols.ilsvrc.{name}" for name in ("_target_", "cam_threshold", "iou_threshold")),
)
_TRAINING = (
    *("backbone.weights", "backbone.dropout", "objective", "optimizer", "scheduler", "classifier.head_lr_multiplier"),
    *("trainer.max_epochs", "trainer.accumulate_grad_batches", "trainer.gradient_clip_val"),
    *("datamodule.train_transform", "datamodule.val_per_class"),
)
_NO_MATTER = ("_partial_", "backbone.weights", "backbone.dropout", "optimizer.fused")
_ABSENT = object()
MOST_LETTERS = 60
"""Of a value that is shown."""


def classification_deviations(run: Config, recipe: Config, metrics: Config) -> list[str]:
    """Say in what a run's classification errors are measured otherwise than the paper's.

    Args:
        run: Its configuration.
        recipe: As composed.
        metrics: The run's.
    """
    return [
        *_other_predictions(run),
        *_differences(run, recipe, _NETWORK_AND_IMAGES),
        *_other_supervision(recipe, metrics),
        *_other_images(metrics),
    ]


def localization_deviations(run: Config, recipe: Config, metrics: Config) -> list[str]:
    """Say in what a run's localization errors are measured otherwise than the paper's; arguments as above."""
    found = [*classification_deviations(run, recipe, metrics), *_differences(run, recipe, _MAPS_AND_BOXES)]
    blacklisted = metrics.get("test/localization/ilsvrc_num_blacklisted", 0)
    if blacklisted != NUM_BLACKLISTED:
        found.append(f"{_text(blacklisted)} instead of {NUM_BLACKLISTED:,} images blacklisted")
    return found


def training_changes(run: Config, recipe: Config) -> list[str]:
    """Say in what a training differs from its recipe; of an evaluation, in what the weights that it names do."""
    if "optimizer" not in run:
        named = _value(recipe, "backbone.weights")
        return list(_differences(run, recipe, ("backbone.weights",), ignored=())) if named else []
    if "optimizer" not in recipe:
        return ["a training (recipe: published weights as they are)"]
    found = list(_differences(run, recipe, _TRAINING, ignored=("_partial_", "optimizer.fused")))
    ours, theirs = _images_per_step(run), _images_per_step(recipe)
    return found if ours == theirs else [*found, f"{ours} images per step (recipe: {theirs})"]


def _other_predictions(run: Config) -> Iterator[str]:
    """Yield what the predictions were read from, where that is not known to be of the network that is configured."""
    for name in ("submission", "score_maps"):
        source = run.get(name)
        # A file of saved maps brings the configuration of its network.
        if source is not None and not (name == "score_maps" and str(source).endswith(".npz")):
            yield f"{name}={_text(source)} (recipe: a network)"


def _other_supervision(recipe: Config, metrics: Config) -> Iterator[str]:
    boxes, expected = metrics.get("test/supervision") == TRAINED_WITH_BOXES, _value(recipe, "paper.boxes") is True
    if boxes != expected:
        yield f"trained {'with' if boxes else 'without'} boxes (recipe: {'with' if expected else 'without'})"


def _other_images(metrics: Config) -> Iterator[str]:
    count, in_split = metrics.get("test/num_images"), metrics.get("test/num_images_in_split")
    if count != in_split:
        yield f"{_text(count)} of {_text(in_split)} images"
    elif count != NUM_IMAGES:
        yield f"{_text(count)} instead of {NUM_IMAGES:,} images"


def _differences(
    run: Config, recipe: Config, keys: Sequence[str], ignored: Sequence[str] = _NO_MATTER
) -> Iterator[str]:
    """Yield what differs below some keys; where another part was chosen, not also the options of both."""
    for key in keys:
        yield from _compared(key, _value(run, key), _value(recipe, key), ignored)


def _compared(key: str, ours: Any, theirs: Any, ignored: Sequence[str]) -> Iterator[str]:  # noqa: ANN401 - configured values
    if ours == theirs or key in ignored or key.rpartition(".")[2] in ignored or (ours is _ABSENT and theirs is None):
        return
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        if ours.get("_target_") != theirs.get("_target_"):
            yield from _compared(f"{key}._target_", ours.get("_target_"), theirs.get("_target_"), ignored)
            return
        for name in dict.fromkeys((*theirs, *ours)):
            yield from _compared(f"{key}.{name}", ours.get(name, _ABSENT), theirs.get(name, _ABSENT), ignored)
        return
    yield f"{key.removesuffix('._target_')}={_text(ours)} (recipe: {_text(theirs)})"


def _value(config: Config, key: str) -> Any:  # noqa: ANN401 - a configured value
    """Return what an option is, that which it refers to where it is a reference such as ``${localization.x}``."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    refers = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return value if refers is None or refers[1] == key else _value(config, refers[1])


def _text(value: Any) -> str:  # noqa: ANN401 - a configured value
    if value is _ABSENT:
        return "none"
    # The last part of a dotted name is what people know a part by.
    text = value.rpartition(".")[2] if isinstance(value, str) and value.startswith("camloc.") else shown(value)
    return safe(text) if len(text) <= MOST_LETTERS else f"{safe(text[:MOST_LETTERS])}..."


def _images_per_step(config: Config) -> object:
    counts = [_value(config, key) for key in ("datamodule.batch_size", "trainer.devices", "trainer.num_nodes")]
    if not all(isinstance(count, int) for count in counts):
        return _value(config, "datamodule.batch_size")
    batch, devices, nodes = counts
    return batch * devices * nodes

"""Options that would change nothing in a call, which are refused. Imports neither torch nor Lightning."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

Source = Literal["checkpoint", "onnx", "network", "saved maps", "map folder", "submission"]

_AS_GIVEN: Mapping[Source, str] = {
    "checkpoint": "checkpoint=",
    "onnx": "onnx=",
    "network": "backbone= and no checkpoint=",
    "saved maps": "score_maps=FILE",
    "map folder": "score_maps=FOLDER",
    "submission": "submission=",
}
_NETWORK: tuple[Source, ...] = ("checkpoint", "network")
_IMAGES: tuple[Source, ...] = (*_NETWORK, "onnx")
_MAPS: tuple[Source, ...] = (*_IMAGES, "saved maps", "map folder")
_READ_BY: Mapping[str, tuple[Source, ...]] = {
    **dict.fromkeys(("backbone", "attribution", "views", "classifier"), _NETWORK),
    **dict.fromkeys(("callbacks.gallery", "callbacks.explorer", "report"), _IMAGES),
    **dict.fromkeys(("save_score_maps", "on_unreadable"), _IMAGES),
    "threshold_from": ("checkpoint", "onnx"),
    "onnx": ("onnx",),
    "datamodule": (*_IMAGES, "map folder", "submission"),
    **{f"datamodule.{name}": _IMAGES for name in ("input_size", "batch_size", "num_workers", "eval_transform")},
    **dict.fromkeys(("score_map", "box_rule", "export_score_maps"), _MAPS),
    "localization.submission": (*_IMAGES, "saved maps"),
    "map_loader": ("saved maps", "map folder", "submission"),
    **dict.fromkeys(("on_missing", "map_loader.num_workers"), ("map folder",)),
}
"""Which sources of predictions read an option of an evaluation; all read what is not listed."""

_OF_TRAINING = (
    *("backbone.weights", "classifier.head_lr_multiplier", "datamodule.crop_area", "datamodule.train_transform"),
    *("classifier.frozen", "classifier.cached_views"),
    *("trainer.max_epochs", "trainer.gradient_clip_val"),
)
_OF_CHECKPOINT = ("datamodule.input_size", "datamodule.eval_transform")
_OF_LOADING = ("datamodule.batch_size", "datamodule.num_workers")
_OF_PROTOCOLS = ("cam_threshold", "num_thresholds", "more_thresholds", "iou_thresholds", "threshold_interval")
"""Options of ``localization`` that are read where a protocol refers to them, and nowhere else."""

_HEURISTIC = "camloc.metrics.heuristic_error.HeuristicError"
_OF_MAPS = (
    *("attribution", "views", "score_map", "box_rule"),
    *("localization.cam_threshold", "localization.num_thresholds", "localization.more_thresholds"),
)


def unused_in_training(config: DictConfig, given: Sequence[str]) -> Iterator[str]:
    """Yield what has no effect on a training.

    Args:
        config: Checked by name and type.
        given: The keys that the command line sets.
    """
    yield from _in_any_call(config, given)
    if "check_only" in given and config.check_only and config.resume is not None:
        yield "check_only=true trains nothing, so there is nothing to resume; leave out one of both"
    if "localization.submission" in given and config.localization.submission:
        yield "localization.submission=true has no effect on a training; evaluate its checkpoint with it"
    yield from _of_frozen(config, given)
    if "datamodule.crop_area" in given and config.datamodule.get("train_transform") == "resize_crop":
        yield "datamodule.crop_area has no effect with datamodule.train_transform=resize_crop"


def unused_with_boxes(given: Sequence[str]) -> Iterator[str]:
    """Yield what has no effect on the training of a network that predicts boxes itself.

    Args:
        given: The keys that the command line sets.
    """
    for key in given:
        if any(key == name or key.startswith(f"{name}.") for name in _OF_MAPS):
            yield f"{key} has no effect on a training with boxes, which has no maps and no CAM threshold"
    if "compile" in given:
        yield "compile has no effect on a training with boxes, which runs the network's two halves"


def unused_in_evaluation(config: DictConfig, given: Sequence[str]) -> Iterator[str]:
    """Yield what has no effect on an evaluation; the same arguments as :func:`unused_in_training`."""
    yield from _in_any_call(config, given)
    if config.localization.submission and _HEURISTIC in OmegaConf.to_yaml(config.localization.protocols):
        yield (
            "localization.submission=true writes one box for each of five classes, not those of the heuristic; write "
            "it with localization=ilsvrc"
        )
    source = _source(config)
    of_training = [
        key for key in _OF_TRAINING if key in given and not (key == "backbone.weights" and source == "network")
    ]
    yield from (f"{key} has no effect on an evaluation: nothing is trained" for key in of_training)
    pseudo_boxes = OmegaConf.select(config, "datamodule.pseudo_boxes")
    if "datamodule.pseudo_boxes" in given and pseudo_boxes is not None and config.threshold_from == "checkpoint":
        yield (
            "datamodule.pseudo_boxes has no effect with threshold_from=checkpoint, which does not read val; leave out "
            "one of both"
        )
    if source is None:
        return  # none or several are named, which is an error of its own
    for key in given:
        wider = [known for known in _READ_BY if key == known or key.startswith(f"{known}.")]
        if wider and key not in _OF_TRAINING and source not in _READ_BY[max(wider, key=len)]:
            value = OmegaConf.select(config, key)
            if not (value is None or value is False or value in ("error", "val")):  # which ask for nothing
                yield f"{key} has no effect with {_AS_GIVEN[source]}"


def unused_in_prediction(config: DictConfig, given: Sequence[str]) -> Iterator[str]:  # noqa: ARG001 - as the others
    """Yield what has no effect on a prediction; the same arguments as :func:`unused_in_training`."""
    for key in given:
        if key in _OF_CHECKPOINT:
            yield f"{key} has no effect on a prediction, whose images are seen as the checkpoint's; leave it out"
        elif key in _OF_TRAINING:
            yield f"{key} has no effect on a prediction: nothing is trained"
        elif key in _OF_LOADING:
            yield f"{key} has no effect on a prediction; give {key.removeprefix('datamodule.')}="


def names_network(config: DictConfig) -> bool:
    """Return whether an evaluation is of a network with weights of its own: nothing else is named to be measured."""
    others = (config.checkpoint, config.score_maps, config.submission)
    return bool(config.backbone) and all(other is None for other in others)


def _in_any_call(config: DictConfig, given: Sequence[str]) -> Iterator[str]:
    if HydraConfig.get().mode != RunMode.MULTIRUN:  # the launcher takes them off its jobs
        yield from (f"{key} has no effect without -m" for key in given if key.startswith("sweep."))
    references = re.findall(r"\$\{[^}]*", OmegaConf.to_yaml(config.localization, resolve=False))
    for name in _OF_PROTOCOLS:
        key = f"localization.{name}"
        is_read = any(re.search(rf"\b{re.escape(key)}\b", one) for one in references)
        if key in given and config.localization[name] is not None and not is_read:
            protocols = ", ".join(map(str, config.localization.protocols))
            yield f"{key} has no effect: none of the protocols {protocols} reads it; localization=NAME chooses others"


def _of_frozen(config: DictConfig, given: Sequence[str]) -> Iterator[str]:
    is_frozen, views = config.classifier.get("frozen", False), config.classifier.get("cached_views", 1)
    if "classifier.cached_views" in given and not is_frozen:
        yield "classifier.cached_views has no effect without classifier.frozen=true"
    if not is_frozen:
        return
    if "compile" in given and config.compile:
        yield "compile=true has no effect with classifier.frozen=true, which runs the network's two halves"
    if views == 1:
        for name in ("datamodule.crop_area", "datamodule.train_transform"):
            if name in given:
                yield (
                    f"{name} has no effect with classifier.frozen=true, which trains on whole images; give "
                    "classifier.cached_views=2 or more for augmented ones"
                )


def _source(config: DictConfig) -> Source | None:
    named = [name for name in ("checkpoint", "score_maps", "submission") if config[name] is not None]
    if names_network(config):
        return "network"
    if len(named) != 1:
        return None
    if named == ["score_maps"]:
        return "saved maps" if Path(config.score_maps).is_file() else "map folder"
    if named == ["submission"]:
        return "submission"
    return "checkpoint" if config.onnx is None else "onnx"

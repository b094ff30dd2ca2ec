"""A run's network for use: :func:`camloc.load`, and what ``camloc predict`` is built from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from camloc.attribution.contract import Attribution, Cropping
from camloc.backbones.box_head import BoxRegressor
from camloc.data.images.intensity import Intensity, given_intensity
from camloc.data.images.transforms import EvalKind, EvalTransform
from camloc.experiment.build import build_box_rule
from camloc.experiment.checkpoint import load_weights
from camloc.experiment.network import build_backbone, objective_of_run
from camloc.experiment.run_record import RunRecord, run_record
from camloc.experiment.saved_config import checkpoint_file, saved_config
from camloc.experiment.trusted import foreign_calls, safe
from camloc.predictors.box_network import BoxPredictor
from camloc.predictors.localizer import ASSUMED, Localizer, Precision
from camloc.predictors.network import NetworkPredictor
from camloc.predictors.placing import Threshold

PARTS = ("backbone", "attribution", "views", "score_map", "box_rule", "classifier")
"""Of a run's configuration, which its network is built from."""


def load(
    checkpoint: str | Path,
    *,
    device: str | torch.device | Sequence[str | torch.device] = "auto",
    cam_threshold: float | None = None,
    precision: Precision = "32-true",
    intensity: Literal["full"] | Sequence[float] | None = None,
    trust: bool = False,
) -> Localizer:
    """Load a trained network, ready for images of any size.

    Args:
        checkpoint: A run's directory, whose best checkpoint is taken, or a checkpoint file.
        device: Such as ``cpu`` or ``cuda:1``; ``auto`` takes a GPU where there is one; several share the work.
        cam_threshold: Where maps are cut, a fraction of their maximum; null takes the one of the checkpoint, and 0.2
            where its run had no boxes to choose one on.
        precision: Of the network; ``bf16-mixed`` and ``16-mixed`` are for GPUs.
        intensity: Range that becomes black to white of files with more than 8 bits, ``[low, high]`` or ``full`` for
            what a file's type can hold; null takes that of the training.
        trust: Whether the run's configuration may call what is not part of camloc.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it is damaged, of another version, or calls what is not part of camloc.

    Example:
        >>> localizer = load("runs/train/mine")  # doctest: +SKIP
        >>> for image in localizer.localize(["a.jpg", "b.jpg"]):  # doctest: +SKIP
        ...     print(image.name, [(found.name, found.boxes) for found in image.classes])
    """
    file = checkpoint_file(Path(checkpoint))
    of_run = saved_config(file)
    parts: Any = OmegaConf.to_container(OmegaConf.masked_copy(of_run, list(PARTS)), resolve=True)
    foreign = foreign_calls(parts)
    if foreign and not trust:
        key, target = next(iter(foreign.items()))
        raise ValueError(
            f"{checkpoint}: {safe(key)}._target_={safe(target)} is not called, for it is not part of camloc; "
            "trust=True allows it if you trust who made the file"
        )
    several = isinstance(device, Sequence) and not isinstance(device, str)
    return build_localizer(
        OmegaConf.create(parts),
        file,
        of_run=of_run,
        cam_threshold=cam_threshold,
        devices=list(device) if several else [one_device(device)],  # type: ignore[arg-type] # of one or several
        precision=precision,
        intensity=intensity,
        trust=trust,
    )


def one_device(device: str | torch.device) -> torch.device:
    """Return the device that is meant: ``auto`` is a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def eval_transform_of(of_run: DictConfig) -> EvalKind:
    """Return how the run's evaluation took images to the network's input."""
    kind: EvalKind = OmegaConf.select(of_run, "datamodule.eval_transform") or "warp"
    return kind


def intensity_of(of_run: DictConfig, record: RunRecord) -> Intensity | None:
    """Return what became black to white of the run's images with more than 8 bits; null for what a file's type holds.

    Example:
        >>> record = RunRecord(["a"], 8, None, None, None, intensity=(0, 4095))
        >>> intensity_of(OmegaConf.create({"datamodule": {"intensity": "auto"}}), record)
        Intensity(low=0, high=4095, is_given=False)
    """
    option = OmegaConf.select(of_run, "datamodule.intensity") or "full"
    if option != "auto" or record.intensity is None:
        return given_intensity(option)
    return Intensity(*record.intensity, is_given=False)


def build_localizer(
    config: DictConfig,
    file: Path,
    *,
    of_run: DictConfig,
    cam_threshold: float | None,
    devices: Sequence[str | torch.device],
    precision: Precision,
    intensity: Literal["full"] | Sequence[float] | None = None,
    trust: bool = False,
) -> Localizer:
    """Build a network with a checkpoint's weights, and what the checkpoint knows of its classes and its threshold.

    Args:
        config: With :data:`PARTS`, which may differ from those of the run.
        file: The checkpoint.
        of_run: The run's whole configuration, for how its data module shows images.
        cam_threshold: Null for the checkpoint's.
        devices: See :class:`~camloc.predictors.localizer.Localizer`.
        precision: Likewise.
        intensity: What becomes black to white of files with more than 8 bits; null for the run's.
        trust: Whether an objective that brought parts of the network may be called though it is not part of camloc.

    Raises:
        ValueError: If the checkpoint does not fit, or an option lies outside its range.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision={precision} must be one of {', '.join(get_args(Precision))}")
    record = run_record(file)
    transform = EvalTransform(record.input_size, eval_transform_of(of_run))
    config = config.copy()
    if "weights" in config.backbone:
        config.backbone.weights = None  # the checkpoint brings all weights; nothing is fetched for it
    objective = objective_of_run(file, record, trust=trust)
    backbone = build_backbone(config.backbone, len(record.class_names), objective)
    channels_last = OmegaConf.select(config, "classifier.channels_last", default=False)
    predictor: NetworkPredictor | BoxPredictor
    if record.trained_with_boxes:
        predictor = BoxPredictor(BoxRegressor(backbone), channels_last=channels_last)
    else:
        attribution: Attribution = instantiate(config.views)(instantiate(config.attribution))
        if isinstance(attribution, Cropping):
            transform.input_size = attribution.image_size(record.input_size)
        predictor = NetworkPredictor(backbone, attribution, channels_last=channels_last)
    load_weights(predictor, file, prefix="predictor.")
    return Localizer(
        predictor,
        record.class_names,
        transform,
        instantiate(config.score_map),
        build_box_rule(config),
        threshold_of(record, cam_threshold),
        several_labels=record.several_labels,
        objectless=record.objectless,
        intensity=intensity_of(of_run, record) if intensity is None else given_intensity(intensity),
        devices=devices,
        precision=precision,
    )


def configured_localizer(
    config: DictConfig, devices: Sequence[str | torch.device], precision: Precision = "32-true"
) -> tuple[Localizer, Path, DictConfig]:
    """Build the network that a command's configuration names by ``checkpoint``, with what else it says.

    Returns:
        The network, its checkpoint file, and its run's whole configuration.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: As :func:`build_localizer` does.
    """
    file = checkpoint_file(Path(config.checkpoint))
    of_run = saved_config(Path(config.checkpoint))
    localizer = build_localizer(
        config,
        file,
        of_run=of_run,
        cam_threshold=config.cam_threshold,
        devices=devices,
        precision=precision,
        intensity=config.get("intensity"),  # an export has none
        trust=bool(config.trust),
    )
    return localizer, file, of_run


def threshold_of(record: RunRecord, given: float | None) -> Threshold:
    """Return where maps are cut, and who said so.

    Raises:
        ValueError: If the given one is no fraction below 1.

    Example:
        >>> threshold_of(RunRecord(["a"], 8, None, None, None), None)
        Threshold(value=0.2, source='assumed')
    """
    if given is not None:
        if not 0 <= given < 1:
            raise ValueError(f"cam_threshold={given} is a fraction of a map's maximum and must lie in [0, 1)")
        return Threshold(given, "given")
    if record.cam_threshold is None or record.threshold_source is None:
        return ASSUMED
    return Threshold(record.cam_threshold, record.threshold_source)

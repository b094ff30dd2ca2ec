"""Images and a network so small that every number can be worked out by hand.

An image shows a 4x4 object in one channel, at full brightness, within a halo of 8x6 pixels: a CAM threshold below the
halo's brightness gives the halo's box, whose IoU with the object is 1/3, one above it gives the object's. The network's
two feature maps are the red and the green channel in [0, 1]; class 0 is red and class 1 is green.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn
from torchmetrics import Metric

from camloc.attribution.cam import cam
from camloc.attribution.score_map import score_map
from camloc.backbones.contract import Features, InputSpec
from camloc.backbones.gap import GapBackbone
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.sample import EvalBatch
from camloc.data.loading.split import Shrink, Split, SplitName
from camloc.experiment.checkpoint import CONFIG_KEY
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.measuring.module import EvaluationModule
from camloc.experiment.run_record import RUN_KEY, RunRecord
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.localization_error import LocalizationError
from camloc.objectives.classification import CrossEntropy
from camloc.predictors.network import NetworkPredictor
from camloc.records import Truth

OBJECT, HALO = (1.0, 2.0, 5.0, 6.0), (0.0, 1.0, 8.0, 7.0)
CLASS_NAMES = ("red", "green")


def image(channel: int, halo: float, size: tuple[int, int] = (8, 12)) -> Tensor:
    """(3,H,W) uint8 with an object in one channel, its halo at a fraction of its brightness."""
    pixels = torch.zeros(3, *size, dtype=torch.uint8)
    pixels[channel, 1:7, 0:8] = round(255 * halo)
    pixels[channel, 2:6, 1:5] = 255
    return pixels


def truth(target: Tensor, size: tuple[int, int] = (8, 12), first: int = 0, num_images: int = 1000) -> Truth:
    """Each pair has the object's box, and maps are as large as images; positions from ``num_images`` on repeat."""
    positions = list(range(first, first + len(target)))
    num_pairs = int(target.sum()) if target.ndim > 1 else len(target)
    boxes = [torch.tensor([OBJECT])] * num_pairs
    return Truth(
        target=target,
        gt_boxes=boxes,
        image_boxes=boxes,
        masks=None,
        map_size=size,
        image_sizes=[size] * len(target),
        windows=[(0, 0, size[1], size[0])] * len(target),
        image_ids=[f"{position % num_images}" for position in positions],
        positions=positions,
        is_padding=torch.tensor([position >= num_images for position in positions]),
    )


def batch(target: Sequence[int], halo: float, first: int = 0, num_images: int = 1000) -> EvalBatch:
    """An image of each class, which shows what its label says."""
    return EvalBatch(
        torch.stack([image(channel, halo) for channel in target]),
        truth(torch.tensor(target), (8, 12), first, num_images),
    )


def gap(num_classes: int = 2, weights: str | None = None) -> GapBackbone:
    """Return the network, whose weights are zeros where ``weights`` names any: nothing is fetched."""
    trunk = nn.Conv2d(3, 2, 1, bias=False)
    spec = InputSpec(size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=2, num_classes=num_classes, input_spec=spec)
    with torch.no_grad():
        trunk.weight.copy_(torch.eye(3)[:2].view(2, 3, 1, 1) * (weights is None))
        backbone.head.linear.weight.copy_(torch.eye(num_classes, 2))
        backbone.head.linear.bias.zero_()
    return backbone


class Gained(nn.Module):
    """The network with a factor on its feature maps, which starts at ``gain`` and is trained."""

    def __init__(self, backbone: GapBackbone, gain: float) -> None:
        super().__init__()
        self.backbone, self.gain = backbone, nn.Parameter(torch.tensor(gain))
        self.input_spec, self.num_classes = backbone.input_spec, backbone.num_classes

    def forward_features(self, images: Tensor) -> Features:
        return Features(self.backbone.forward_features(images).maps * self.gain)

    def forward_head(self, features: Features) -> Tensor:
        return self.backbone.forward_head(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    @property
    def class_weights(self) -> Tensor:
        return self.backbone.class_weights

    def new_layers(self) -> Iterator[nn.Parameter]:
        yield from self.backbone.new_layers()
        yield self.gain


class Gain(CrossEntropy):
    """An objective that brings a part of the network."""

    def __init__(self, class_counts: Sequence[int], gain: float = 1.0, label_smoothing: float = 0.0) -> None:  # noqa: ARG002 - gain is the network's
        super().__init__(class_counts, label_smoothing)

    @classmethod
    def extend(cls, backbone: GapBackbone, gain: float = 1.0) -> Gained:
        return Gained(backbone, gain)


def network() -> NetworkPredictor:
    """Read red for class 0 and green for class 1."""
    return NetworkPredictor(gap(), cam)


def measures(
    protocols: Mapping[str, Metric] | None = None, own_score_maps: Mapping[str, Any] | None = None
) -> Measures:
    """Classification and localization at the best of ten thresholds, unless protocols are given."""
    if protocols is None:
        protocols = {"classification": ClassificationError(), "val_threshold": LocalizationError(num_thresholds=10)}
    return Measures(
        protocols, partial(score_map, normalization="minmax"), own_score_maps or {}, largest_component_boxes, 0.5
    )


class Squares:
    """A split of 8x8 images made in memory, or written to a folder.

    Args:
        name: Starts the image ids.
        target: Class of each image.
        halo: Brightness of the halos.
        folder: Where image files are to be, null for none.
        has_boxes: Whether there are true boxes.
        has_masks: Whether there are masks.
    """

    def __init__(
        self,
        name: str,
        target: Sequence[int],
        halo: float,
        folder: Path | None = None,
        *,
        has_boxes: bool = True,
        has_masks: bool = False,
    ) -> None:
        self.name, self.targets, self.halo, self.folder = name, list(target), halo, folder
        self.has_boxes, self.has_masks = has_boxes, has_masks

    def __len__(self) -> int:
        return len(self.targets)

    def image_id(self, index: int) -> str:
        return f"{self.name}{index}.png"

    def target(self, index: int) -> int:
        return self.targets[index]

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:  # noqa: ARG002 - there is nothing to shrink
        return image(self.targets[index], self.halo, (8, 8))

    def file(self, index: int) -> Path | None:
        return None if self.folder is None else self.folder / self.image_id(index)

    def gt_boxes(self, index: int) -> list[Tensor]:  # noqa: ARG002 - all alike
        return [torch.tensor([OBJECT]) if self.has_boxes else torch.zeros(0, 4)]

    def masks(self, index: int) -> tuple[Tensor, Tensor] | None:
        if not self.has_masks:
            return None
        return (self.image(index).amax(dim=0) == 255)[None], torch.zeros(1, 8, 8, dtype=torch.bool)


class SquaresData(LocalizationDataModule):
    """Halos of 0.45 on ``val`` and 0.75 on ``test``: the best of ten thresholds are 0.5 to 0.9, and 0.8 and 0.9.

    In their middle are 0.7 and 0.8.
    """

    def __init__(
        self,
        val_boxes: bool = True,
        test_boxes: bool = True,
        masks: bool = False,
        class_names: Sequence[str] = CLASS_NAMES,
        train_folder: str | None = None,
        test_folder: str | None = None,
        **options: Unpack[LoaderOptions],
    ) -> None:
        small: LoaderOptions = {"num_workers": 0, "batch_size": 2, **options}
        super().__init__(class_names, **small)
        self.has_boxes = {"train": False, "val": val_boxes, "test": test_boxes}
        self.has_masks = masks
        self.folders = {"train": train_folder, "test": test_folder}

    def load_split(self, name: SplitName) -> Split:
        target, halo = {"train": ([0, 1], 0.0), "val": ([0, 1], 0.45), "test": ([0, 1, 0], 0.75)}[name]
        folder = self.folders.get(name)
        return Squares(
            name,
            target,
            halo,
            None if folder is None else Path(folder),
            has_boxes=self.has_boxes[name],
            has_masks=self.has_masks and name != "train",
        )


class WithDevkitIds(SquaresData):
    """The same with labels in the devkit."""

    devkit_ids = (900, 7)


def data(**options: Any) -> SquaresData:  # noqa: ANN401 - the data module's
    """Return a data module that knows the network's input size."""
    datamodule = SquaresData(**options)
    datamodule.use_input_size(8)
    return datamodule


def trainer(*callbacks: Callback, folder: Path | None = None) -> Trainer:
    """Return a trainer that neither logs nor prints."""
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=list(callbacks),
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def module(measured: Measures | None = None, **options: Any) -> EvaluationModule:  # noqa: ANN401 - the module's
    """Return the network with its measures."""
    return EvaluationModule(network(), measured or measures(), **options)


def config(**changed: Any) -> DictConfig:  # noqa: ANN401 - values of a configuration
    """Return what ``conf/`` composes, with these images and this network; ``squares`` must be on the path."""
    score_map_target = "camloc.attribution.score_map.score_map"
    composed = {
        "backbone": {"_target_": "squares.gap", "_partial_": True},
        "datamodule": {"_target_": "squares.SquaresData"},
        "attribution": {"_target_": "camloc.attribution.cam.cam", "_partial_": True},
        "views": {"_target_": "camloc.attribution.views.one_view", "_partial_": True},
        "score_map": {"_target_": score_map_target, "_partial_": True, "normalization": "minmax"},
        "box_rule": None,
        "localization": {
            "protocols": {
                "classification": {"_target_": "camloc.metrics.classification_error.ClassificationError"},
                "val_threshold": {
                    "_target_": "camloc.metrics.localization_error.LocalizationError",
                    "num_thresholds": 10,
                },
            },
            "score_maps": {},
            "iou_threshold": 0.5,
            "submission": False,
        },
        "objective": {"_target_": "camloc.objectives.classification.CrossEntropy", "_partial_": True},
        "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1},
        "scheduler": None,
        "trainer": {
            "_target_": "pytorch_lightning.Trainer",
            "accelerator": "cpu",
            "devices": 1,
            "precision": "32-true",
            "gradient_clip_val": None,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        "callbacks": {
            "epoch_csv": {"_target_": "camloc.callbacks.epoch_csv.EpochCsv", "_partial_": True},
            "gallery": {
                "_target_": "camloc.callbacks.gallery.Gallery",
                "_partial_": True,
                "iou_threshold": 0.5,
                "count": 2,
            },
        },
        "logger": {},
        "classifier": {"head_lr_multiplier": 1.0, "channels_last": False},
        "map_loader": {"batch_size": 2, "num_workers": 0},
        "seed": 0,
        "threshold_from": "val",
        "on_missing": "error",
        "on_unreadable": "error",
        **dict.fromkeys(("checkpoint", "onnx", "score_maps", "submission", "export_score_maps", "resume", "monitor")),
        **dict.fromkeys(("save_score_maps", "check_only", "compile"), False),
    }
    return OmegaConf.create({**composed, **changed})


def write_checkpoint(
    file: Path,
    threshold: tuple[float, Literal["val", "fixed"]] | None = (0.8, "val"),
    class_names: Sequence[str] = CLASS_NAMES,
    fingerprint: Tensor | None = None,
    *,
    trained_with_boxes: bool = False,
    **more: Any,  # noqa: ANN401 - of a checkpoint
) -> Path:
    """Write what a training of the network leaves behind."""
    cam_threshold, source = threshold or (None, None)
    record = RunRecord(list(class_names), 8, cam_threshold, source, fingerprint, trained_with_boxes)
    file.parent.mkdir(parents=True, exist_ok=True)
    of_run = OmegaConf.to_container(config())
    torch.save({"state_dict": module().state_dict(), RUN_KEY: record._asdict(), CONFIG_KEY: of_run, **more}, file)
    return file

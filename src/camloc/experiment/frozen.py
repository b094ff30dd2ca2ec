"""Training the new layers on a frozen trunk: its features are made once and kept, see ``docs/frozen.md``."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from hydra.utils import get_object
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

import camloc
from camloc.attribution.contract import Attribution
from camloc.backbones.contract import Backbone, Features
from camloc.backbones.frozen import FrozenBackbone, Shapes, freeze, trunk_features, trunk_state
from camloc.data.features import FeatureFile, check_room, feature_file
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.split import SplitName
from camloc.data.loading.views import ViewDataset, Views
from camloc.experiment.run_directory import is_first_process
from camloc.experiment.training import TrainingModule
from camloc.predictors.network import Network, NetworkPredictor
from camloc.records import Pairs

OTHER_IMAGES = "changes_images"
"""Class attribute of an objective that trains on images of its own making, or on a trunk that it changes."""


class Kept(NamedTuple):
    """Features of one split."""

    name: SplitName
    views: Views
    file: FeatureFile


def is_frozen(config: DictConfig) -> bool:
    """Return whether only the new layers are to be trained; a configuration of an earlier version does not say."""
    return bool(config.classifier.get("frozen", False))


def check_frozen(config: DictConfig) -> None:
    """Refuse what cannot be trained on features that were made once.

    Raises:
        ValueError: If the objective changes images or needs boxes.
    """
    objective = get_object(config.objective._target_)
    if getattr(objective, "trains_with_boxes", False):
        raise ValueError("classifier.frozen=true has no effect on boxes; choose an objective that trains without them")
    if getattr(objective, OTHER_IMAGES, False):
        raise ValueError(
            f"classifier.frozen=true keeps what the trunk makes of each image, and the objective {objective.__name__} "
            "changes images or the trunk in every step; choose another objective=, or classifier.frozen=false"
        )


def build_frozen(config: DictConfig, module: TrainingModule, datamodule: LocalizationDataModule) -> list[Callback]:
    """Freeze a network's trunk, and say where its features will be read from.

    Args:
        config: With ``classifier.frozen=true``.
        module: Trains the network.
        datamodule: Its images; it is told to train on features.

    Returns:
        What makes the features that are missing when training begins; nothing where none are kept.

    Raises:
        ValueError: If the network has nothing to train, or the disk has no room.
    """
    predictor = cast(NetworkPredictor, module.predictor)  # no boxes here
    backbone, size = predictor.backbone, cast(int, datamodule.input_size)
    shapes = freeze(backbone, size)
    module.frozen = FrozenBackbone(backbone)
    count = config.classifier.get("cached_views", 1)
    if not count:
        return []
    made_by = list(_made_by(config, backbone, datamodule))
    kept = [_kept("train", datamodule, count, shapes.width, made_by)]
    if datamodule.eval_transform.input_size == size and reads_features(predictor.attribution, backbone, size):
        kept.append(_kept("val", datamodule, 1, shapes.width, made_by))
    if is_first_process():
        if config.backbone.get("weights", "its own") is None:
            print("frozen trunk: its weights are random and stay so; backbone.weights= names others", flush=True)  # noqa: T201 - to the user
        _say(kept)
        check_room(one.file for one in kept)
    module.frozen = FrozenBackbone(backbone, shapes)
    module.val_features = next((one.file for one in kept if one.name == "val"), None)
    datamodule.train_on_features(kept[0].views, kept[0].file)
    return [KeepFeatures(kept, shapes, datamodule.batch_size, datamodule.workers_per_loader())]


class KeepFeatures(Callback):
    """Make the features that are missing before a training begins, each process its share.

    Args:
        kept: Of each split.
        shapes: Of one image's features.
        batch_size: Images per process and step.
        num_workers: Processes that load images.
    """

    def __init__(self, kept: list[Kept], shapes: Shapes, batch_size: int, num_workers: int) -> None:
        self.kept, self.shapes, self.batch_size, self.num_workers = kept, shapes, batch_size, num_workers

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the trunk over all images of a split whose features are not there."""
        predictor = cast(TrainingModule, pl_module).predictor
        for one in self.kept:
            # The first process says which are missing: files must not appear between two answers.
            partial = one.file.begin() if trainer.is_global_zero and not one.file.exists else None
            partial = trainer.strategy.broadcast(partial)
            if partial is not None:
                self._make(one, partial, trainer, predictor)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """From here on the network is measured on images, as any."""
        cast(TrainingModule, pl_module).val_features = None

    def _make(self, one: Kept, partial: Path, trainer: Trainer, predictor: Network) -> None:
        try:
            rows = torch.from_numpy(_open(partial))
            device = predictor.pixel_mean.device
            for places, images in self._batches(one, trainer):
                with torch.no_grad(), trainer.precision_plugin.forward_context():
                    features = trunk_features(predictor.backbone, predictor.normalize(images.to(device)))
                rows[places] = self.shapes.rows(features).cpu()
            trainer.strategy.barrier()
            if trainer.is_global_zero:
                one.file.end(partial)
        except BaseException:
            if trainer.is_global_zero:
                partial.unlink(missing_ok=True)
            raise
        trainer.strategy.barrier()

    def _batches(self, one: Kept, trainer: Trainer) -> Iterable[tuple[Tensor, Tensor]]:
        mine = range(trainer.global_rank, len(one.views), trainer.world_size)
        loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
            ViewDataset(one.views),  # type: ignore[arg-type] # collated
            batch_size=self.batch_size,
            sampler=mine,
            num_workers=self.num_workers,
        )
        if not trainer.is_global_zero:
            return loader
        return track(loader, f"features of {one.name}", console=Console(stderr=True), transient=True)


def reads_features(attribution: Attribution, backbone: Backbone, size: int) -> bool:
    """Return whether an attribution asks for features of the images as they are, once: it can be handed kept ones.

    One that mirrors, crops or masks images, or takes gradients in them, needs the images. It is tried on one.

    Args:
        attribution: With its views.
        backbone: Put back as it was.
        size: Side of the image, pixels.
    """
    seen: list[Tensor] = []
    module: Any = backbone
    forward, was_training = backbone.forward_features, module.training

    def spy(images: Tensor) -> Features:
        seen.append(images)
        return forward(images)

    images = torch.zeros(1, backbone.input_spec.channels, size, size)
    module.eval()
    module.forward_features = spy  # on this object alone
    try:
        with torch.inference_mode():
            attribution(backbone, images, lambda logits: Pairs.most_likely(logits, 1))
    finally:
        del module.forward_features
        module.train(was_training)
    return len(seen) == 1 and seen[0] is images


def _kept(
    name: SplitName, datamodule: LocalizationDataModule, count: int, width: int, made_by: Iterable[bytes]
) -> Kept:
    views = datamodule.views(name, count)
    drawn = [] if count == 1 else [repr((views.training.crop_area, views.training.kind, datamodule.seed)).encode()]
    made = [*made_by, repr((count, views.evaluation.kind)).encode(), *drawn]
    return Kept(name, views, feature_file(views.split, len(views), width, made))


def _made_by(config: DictConfig, backbone: Backbone, datamodule: LocalizationDataModule) -> Iterator[bytes]:
    """Yield what decides the trunk's features of an image: the network, its weights, and how images are shown."""
    # The same weights may stand in another network, such as one of a finer output stride.
    network: Any = OmegaConf.to_container(config.backbone, resolve=True)
    network.pop("weights", None)
    yield json.dumps([network, camloc.__version__, str(config.trainer.precision)], default=str).encode()
    yield repr((datamodule.input_size, backbone.input_spec, datamodule.chosen_intensity)).encode()
    yield str(config.datamodule.get("intensity")).encode()
    for name, tensor in trunk_state(backbone):
        yield name.encode()
        yield tensor.detach().cpu().contiguous().numpy().tobytes()


def _say(kept: list[Kept]) -> None:
    for one in kept:
        images = f"{len(one.views.split):,} {one.name} images"
        what = images if one.views.count == 1 else f"{one.views.count} views of {images}"
        num_bytes = one.file.num_bytes
        size = f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"  # noqa: PLR2004 - 0.1 GB
        verb = "are read from" if one.file.exists else f"({size}) are made once and kept in"
        print(f"frozen trunk: features of {what} {verb} {one.file.path}", flush=True)  # noqa: T201 - to the user


def _open(partial: Path) -> NDArray[np.float32]:
    try:
        rows: NDArray[np.float32] = np.load(partial, mmap_mode="r+")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{partial} is not seen by this process: all machines of a training must share the folder of kept "
            "features; set XDG_CACHE_HOME to one that they do"
        ) from error
    return rows

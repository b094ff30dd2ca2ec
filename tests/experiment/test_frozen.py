"""Training on kept features is training through the frozen trunk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any, cast

import pytest
import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.saliency import saliency
from camloc.attribution.ten_crop import TenCrop
from camloc.attribution.views import Flip
from camloc.backbones.contract import InputSpec
from camloc.backbones.frozen import FrozenBackbone, freeze
from camloc.backbones.gap import GapBackbone
from camloc.callbacks.repeatable import Repeatable
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.sample import TrainSample, collate_train
from camloc.data.loading.samplers import Draw, TrainSampler
from camloc.data.loading.split import Split, SplitName
from camloc.data.loading.views import FeatureBatch, Views
from camloc.experiment.frozen import KeepFeatures, build_frozen, check_frozen, reads_features
from camloc.experiment.training import TrainingModule
from camloc.objectives.classification import CrossEntropy
from camloc.optimization import step_decay
from camloc.predictors.network import NetworkPredictor

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))
config: Callable[..., DictConfig] = SQUARES["config"]
NUM_TRAIN = 10


Squares: Any = SQUARES["Squares"]


class Noise(Squares):  # type: ignore[misc] # a class of that file
    """Squares in noise, so that no image is like another."""

    def image(self, index: int, shrink: object = None) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        noise = torch.randint(0, 100, (3, 8, 8), generator=generator, dtype=torch.uint8)
        return torch.maximum(noise, super().image(index, shrink))


class ViewsAsImages(Dataset[TrainSample]):
    """The very views of which features are kept, as images."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def __getitem__(self, draw: Draw) -> TrainSample:
        return TrainSample(self.views.image(self.views.row(draw)), self.views.split.target(draw.sample))


class NoiseData(LocalizationDataModule):
    """Trains on images that are the views of :attr:`as_images`, where it is set."""

    as_images: int | None = None

    def __init__(self) -> None:
        super().__init__(("red", "green"), num_workers=0, batch_size=4, input_size=8, crop_area=(0.5, 1.0), seed=3)

    def load_split(self, name: SplitName) -> Split:
        count = {"train": NUM_TRAIN, "val": 5, "test": 3}[name]
        split: Split = Noise(name, [index % 2 for index in range(count)], 0.6)
        return split

    def train_dataloader(self) -> DataLoader[Any]:
        if self.as_images is None:
            return super().train_dataloader()
        dataset = ViewsAsImages(self.views("train", self.as_images))
        return self._loader(dataset, TrainSampler(NUM_TRAIN, self.seed), collate_train)


def network(attribution: Attribution = cam) -> NetworkPredictor:
    """A trunk with a batch norm, a new convolution, and dropout in the head."""
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3))
    extra = nn.Sequential(nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(inplace=True))
    spec = InputSpec(8, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return NetworkPredictor(GapBackbone(trunk, extra, 5, 2, dropout=0.5, input_spec=spec), attribution)


def module(attribution: Attribution = cam) -> TrainingModule:
    return TrainingModule(
        network(attribution),
        SQUARES["measures"](),
        CrossEntropy(class_counts=[5, 5]),
        optimizer=partial(torch.optim.SGD, lr=0.5, momentum=0.9),
        scheduler=partial(step_decay, drops=1),
    )


class Numbers(Callback):
    """What is logged of ``val`` in every epoch, and which batches are trained on."""

    def __init__(self) -> None:
        self.of_epochs: list[dict[str, float]] = []
        self.batches: list[type] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401, ARG002
        self.batches.append(type(batch))

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401, ARG002
        if not trainer.sanity_checking:
            self.of_epochs.append({k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("val/")})


def trained(datamodule: NoiseData, trained: TrainingModule, callbacks: list[Callback]) -> Numbers:
    numbers = Numbers()
    trainer = SQUARES["trainer"](Repeatable(3), numbers, *callbacks)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(trained, datamodule)
    return numbers


def frozen_config(views: int, **changed: Any) -> DictConfig:  # noqa: ANN401 - values of a configuration
    given = {"head_lr_multiplier": 1.0, "channels_last": False, "frozen": True, "cached_views": views}
    return config(classifier=given, **changed)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "camloc"


@pytest.mark.parametrize("weights", [None, "file.pth"])
def test_a_trunk_that_stays_random_is_said(
    weights: str | None, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, datamodule = module(), NoiseData()
    build_frozen(frozen_config(1, backbone={"_target_": "mine", "weights": weights}), one, datamodule)
    assert ("frozen trunk: its weights are random and stay so" in capsys.readouterr().out) is (weights is None)
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize("views", [1, 3])
def test_two_epochs_on_features_end_as_two_through_the_trunk(views: int, cache: Path) -> None:
    through, images = module(), NoiseData()
    freeze(through.predictor.backbone, 8)
    through.frozen = FrozenBackbone(through.predictor.backbone)
    images.as_images = views
    expected = trained(images, through, [])

    on_features, datamodule = module(), NoiseData()
    found = trained(datamodule, on_features, build_frozen(frozen_config(views), on_features, datamodule))
    assert len(list(cache.glob("features-*.npy"))) == 2
    assert list(cache.glob("*.partial")) == []
    assert set(found.batches) == {FeatureBatch}

    start = module().state_dict()
    for name, value in through.state_dict().items():
        torch.testing.assert_close(on_features.state_dict()[name], value, rtol=0, atol=1e-5, msg=name)
        is_new = name.startswith(("predictor.backbone.extra", "predictor.backbone.head"))
        assert torch.equal(value, start[name]) != is_new, name
    assert len(found.of_epochs) == len(expected.of_epochs) == 2
    for one, other in zip(found.of_epochs, expected.of_epochs, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_features_are_made_once(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, datamodule = module(), NoiseData()
    trained(datamodule, first, build_frozen(frozen_config(1), first, datamodule))
    printed = capsys.readouterr().out
    assert "features of 10 train images (0.0 MB) are made once and kept in" in printed
    assert "weights are random" not in printed  # the network has no such option
    monkeypatch.setattr(KeepFeatures, "_make", None)
    again, datamodule = module(), NoiseData()
    trained(datamodule, again, build_frozen(frozen_config(1), again, datamodule))
    assert "features of 10 train images are read from" in capsys.readouterr().out
    for name, value in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert len(list(cache.iterdir())) == 2


def test_other_weights_sizes_and_views_have_features_of_their_own() -> None:
    def names(views: int, change: Callable[[TrainingModule, NoiseData], None] = lambda *_: None) -> set[str]:
        built, datamodule = module(), NoiseData()
        change(built, datamodule)
        (made,) = build_frozen(frozen_config(views), built, datamodule)
        return {one.file.path.name for one in made.kept}  # type: ignore[attr-defined] # KeepFeatures

    def new_head(built: TrainingModule, _: NoiseData) -> None:
        nn.init.zeros_(cast(GapBackbone, built.predictor.backbone).head.linear.weight)

    def new_trunk(built: TrainingModule, _: NoiseData) -> None:
        cast(Any, built.predictor.backbone).trunk[1].running_mean += 1

    def larger(_: TrainingModule, datamodule: NoiseData) -> None:
        datamodule.input_size = datamodule.train_transform.input_size = datamodule.eval_transform.input_size = 16

    def other_seed(_: TrainingModule, datamodule: NoiseData) -> None:
        datamodule.seed = 4

    plain, several = names(1), names(2)
    assert len(plain) == 2
    assert len(plain & several) == 1  # of val
    assert names(1, new_head) == plain
    assert names(1, other_seed) == plain
    assert names(1, new_trunk).isdisjoint(plain)
    assert names(1, larger).isdisjoint(plain)
    assert len(names(2, other_seed) & several) == 1


def test_none_are_kept_where_none_are_wanted(cache: Path) -> None:
    built, datamodule = module(), NoiseData()
    assert build_frozen(frozen_config(0), built, datamodule) == []
    found = trained(datamodule, built, [])
    assert FeatureBatch not in found.batches
    assert not cache.exists()
    backbones: list[Any] = [built.predictor.backbone, network().backbone]
    assert torch.equal(*(backbone.trunk[0].weight for backbone in backbones))


def test_what_fails_while_features_are_made_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, datamodule = module(), NoiseData()
    callbacks = build_frozen(frozen_config(1), built, datamodule)
    monkeypatch.setattr(Noise, "image", lambda *_: torch.zeros(3, 0, 0, dtype=torch.uint8))
    with pytest.raises(RuntimeError):
        trained(datamodule, built, callbacks)
    assert list(cache.iterdir()) == []


def flipped(attribution: Attribution) -> Attribution:
    return Flip(attribution)


def in_crops(attribution: Attribution) -> Attribution:
    return TenCrop(attribution, crop_share=0.875)


@pytest.mark.parametrize(
    ("attribution", "reads"),
    [(cam, True), (grad_cam, True), (saliency, False), (flipped(cam), False), (in_crops(cam), False)],
)
def test_an_attribution_is_tried_for_what_it_reads(attribution: Attribution, reads: bool) -> None:
    backbone = network().backbone
    assert reads_features(attribution, backbone, 8) == reads
    assert "forward_features" not in vars(backbone)
    assert backbone.training  # type: ignore[attr-defined] # an nn.Module


def test_val_is_seen_through_the_trunk_where_maps_need_images() -> None:
    built, datamodule = module(flipped(cam)), NoiseData()
    (made,) = build_frozen(frozen_config(1), built, datamodule)
    assert [one.name for one in made.kept] == ["train"]  # type: ignore[attr-defined] # KeepFeatures
    assert built.val_features is None
    assert len(trained(datamodule, built, [made]).of_epochs) == 2


class Mixes(CrossEntropy):
    """Trains on images of its own making."""

    changes_images = True


def test_an_objective_that_changes_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camloc.experiment.frozen.get_object", lambda _: Mixes)
    with pytest.raises(ValueError, match="the objective Mixes changes images or the trunk in every step"):
        check_frozen(frozen_config(1))


def test_boxes_are_refused() -> None:
    boxes = {"_target_": "camloc.objectives.box_regression.BoxRegression", "_partial_": True}
    with pytest.raises(ValueError, match="has no effect on boxes"):
        check_frozen(frozen_config(1, objective=boxes))

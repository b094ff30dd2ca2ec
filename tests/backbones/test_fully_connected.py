"""AlexNet and VGG16 as torchvision has them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from camloc.attribution.cam import cam
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.saliency import saliency
from camloc.backbones.alexnet import alexnet
from camloc.backbones.contract import Backbone, Features
from camloc.backbones.fully_connected import FullyConnectedBackbone
from camloc.backbones.vgg import vgg16
from camloc.records import Pairs


class Network(NamedTuple):
    build: Callable[..., FullyConnectedBackbone]
    torchvisions: Callable[..., nn.Module]
    maps: tuple[int, int, int]
    """Before the last pooling, for images of 64 x 96."""


NETWORKS = {
    "alexnet": Network(alexnet, models.alexnet, (256, 3, 5)),
    "vgg16": Network(vgg16, models.vgg16, (512, 4, 6)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]


@pytest.fixture(scope="module")
def backbone(network: Network) -> FullyConnectedBackbone:
    torch.manual_seed(0)
    return network.build(num_classes=3).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def published(network: Network, num_classes: int) -> dict[str, Tensor]:
    """Entries of torchvision's network, drawn at random; those of the large layers share one row, to spare the disk."""
    with torch.device("meta"):
        shapes = network.torchvisions(num_classes=num_classes).state_dict()
    generator = torch.Generator().manual_seed(0)

    def drawn(shape: torch.Size) -> Tensor:
        large = shape.numel() > 5_000_000
        std = (2 / shape[1:].numel()) ** 0.5 if len(shape) > 1 else 0.1
        values = std * torch.randn((1, *shape[1:]) if large else shape, generator=generator)
        return values.expand(shape) if large else values

    return {key: drawn(value.shape) for key, value in shapes.items()}


def saved(entries: dict[str, Tensor], directory: Path) -> Path:
    torch.save(entries, directory / "published.pth")
    return directory / "published.pth"


def test_logits_are_torchvisions(network: Network, images: Tensor, tmp_path: Path) -> None:
    entries = published(network, num_classes=3)
    backbone = network.build(num_classes=3, weights=str(saved(entries, tmp_path))).eval()
    with torch.device("meta"):
        expected = network.torchvisions(num_classes=3).eval()
    expected.load_state_dict(entries, assign=True)
    with torch.inference_mode():
        assert torch.equal(backbone(images), expected(images))
    assert list(backbone.state_dict()) == list(expected.state_dict())


def test_weights_of_other_classes_leave_the_last_layer_as_the_seed_has_it(tmp_path: Path) -> None:
    network = NETWORKS["alexnet"]
    entries = published(network, num_classes=5)
    file = saved(entries, tmp_path)
    torch.manual_seed(4)
    with_weights = network.build(num_classes=3, weights=str(file)).state_dict()
    torch.manual_seed(4)
    without = network.build(num_classes=3).state_dict()
    last = {"classifier.6.weight", "classifier.6.bias"}
    assert last == {key for key in with_weights if torch.equal(with_weights[key], without[key])}
    assert all(torch.equal(with_weights[key], entries[key]) for key in with_weights.keys() - last)


def test_maps_come_before_the_last_pooling(network: Network, backbone: FullyConnectedBackbone, images: Tensor) -> None:
    with torch.inference_mode():
        features = backbone.forward_features(images)
        logits = backbone.forward_head(features)
        assert torch.equal(backbone(images), logits)
    assert features.maps.shape == (2, *network.maps)
    assert features.maps.min() == 0  # after ReLU
    assert 0.1 < features.maps.std() < 10  # random weights keep the signal
    assert logits.shape == (2, 3)


def test_the_last_layer_is_new(backbone: FullyConnectedBackbone) -> None:
    assert [tuple(parameter.shape) for parameter in backbone.new_layers()] == [(3, 4096), (3,)]
    kept: Backbone = backbone
    assert kept.class_weights is None


def test_gradients_localize_and_cam_says_that_it_cannot(backbone: FullyConnectedBackbone, images: Tensor) -> None:
    def choose(logits: Tensor) -> Pairs:
        return Pairs.most_likely(logits, 2)

    maps = grad_cam(backbone, images, choose).cams
    pixels = saliency(backbone, images, choose).cams
    assert maps.shape == (4, *NETWORKS["alexnet" if maps.shape[1] == 3 else "vgg16"].maps[1:])
    assert pixels.shape == (4, 64, 96)
    assert pixels.min() >= 0
    assert pixels.flatten(1).std(dim=1).min() > 0
    with pytest.raises(ValueError, match=r"attribution=cam needs .* has no class_weights\. Use attribution=grad_cam"):
        cam(backbone, images, choose)


def test_logits_by_hand() -> None:
    classifier = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2))
    backbone = FullyConnectedBackbone(nn.Identity(), nn.AdaptiveAvgPool2d((1, 2)), classifier, num_classes=2)
    values = {"0.weight": [[1.0, -2.0]], "0.bias": [1.0], "2.weight": [[3.0], [-1.0]], "2.bias": [0.0, 5.0]}
    classifier.load_state_dict({key: torch.tensor(value) for key, value in values.items()})
    maps = torch.tensor([[[[4.0, 2.0, 1.0, 0.0]]]])  # pooled to 3, 0.5; the hidden value is 3 - 1 + 1
    assert backbone.forward_head(Features(maps)).tolist() == [[9.0, 2.0]]


def test_batch_norm_is_torchvisions_vgg16_bn() -> None:
    with torch.device("meta"):
        expected = models.vgg16_bn(num_classes=3).state_dict()
        found = vgg16(num_classes=3, batch_norm=True).state_dict()
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in expected.items()}


def test_batch_norm_of_alexnet_has_no_published_weights() -> None:
    with pytest.raises(ValueError, match=r"batch_norm=true cannot start .*IMAGENET1K_V1: torchvision's AlexNet"):
        alexnet(num_classes=3, weights="IMAGENET1K_V1", batch_norm=True)

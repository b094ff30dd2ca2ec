from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, relu

from camloc.attribution.cam import cam
from camloc.backbones.contract import Backbone
from camloc.backbones.nin import NinBackbone, nin
from camloc.records import Pairs

# Number in the sequence, outputs, inputs, kernel size, stride, padding; pooling follows the third, sixth and ninth.
CONVOLUTIONS = [
    *((0, 96, 3, 11, 4, 0), (2, 96, 96, 1, 1, 0), (4, 96, 96, 1, 1, 0)),
    *((7, 256, 96, 5, 1, 2), (9, 256, 256, 1, 1, 0), (11, 256, 256, 1, 1, 0)),
    *((14, 384, 256, 3, 1, 1), (16, 384, 384, 1, 1, 0), (18, 384, 384, 1, 1, 0)),
    *((22, 1024, 384, 3, 1, 1), (24, 1024, 1024, 1, 1, 0), (26, 5, 1024, 1, 1, 0)),
]


@pytest.fixture(scope="module")
def entries() -> dict[str, Tensor]:
    """What a file of five classes holds."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for number, outputs, inputs, size, *_ in CONVOLUTIONS:
        std = (2 / (inputs * size**2)) ** 0.5
        weight = std * torch.randn(outputs, inputs, size, size, generator=generator)
        found |= {f"features.{number}.weight": weight, f"features.{number}.bias": torch.full((outputs,), 0.1)}
    return found


@pytest.fixture(scope="module")
def file(entries: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "nin_imagenet.pth"
    torch.save(entries, path)
    return path


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))


def expected_maps(images: Tensor, entries: dict[str, Tensor]) -> Tensor:
    """The class maps of images whose channels are BGR."""
    maps = images
    for place, (number, *_, stride, padding) in enumerate(CONVOLUTIONS):
        weight, bias = entries[f"features.{number}.weight"], entries[f"features.{number}.bias"]
        maps = relu(conv2d(maps, weight, bias, stride=stride, padding=padding))
        if place in (2, 5, 8):
            maps = max_pool2d(maps, 3, 2, ceil_mode=True)
    return maps


def test_maps_and_logits_are_the_published_networks(file: Path, entries: dict[str, Tensor], images: Tensor) -> None:
    backbone = nin(num_classes=5, weights=str(file)).eval()
    with torch.inference_mode():
        maps = backbone.forward_features(images).maps
        expected = expected_maps(images[:, [2, 1, 0]], entries)
        torch.testing.assert_close(maps, expected)
        torch.testing.assert_close(backbone(images), expected.mean(dim=(2, 3)))
    assert maps.shape == (2, 5, 2, 3)
    assert maps.std() > 0.1


def test_a_class_map_is_its_own_class_activation_map(images: Tensor) -> None:
    torch.manual_seed(0)
    backbone = nin(num_classes=4).eval()
    pairs = Pairs(torch.tensor([0, 1, 0]), torch.tensor([3, 0, 1]))
    with torch.inference_mode():
        maps = backbone.forward_features(images).maps
        logits, _, cams = cam(backbone, images, lambda _: pairs)
    assert torch.equal(cams, maps[[0, 1, 0], [3, 0, 1]])
    torch.testing.assert_close(cams.mean(dim=(1, 2)), logits[[0, 1, 0], [3, 0, 1]])


def test_weights_of_other_classes_leave_the_last_layer_as_the_seed_has_it(
    file: Path, entries: dict[str, Tensor]
) -> None:
    torch.manual_seed(4)
    with_weights = nin(num_classes=3, weights=str(file))
    torch.manual_seed(4)
    pairs = zip(with_weights.new_layers(), nin(num_classes=3).new_layers(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(with_weights.state_dict()["features.24.weight"], entries["features.24.weight"])


def test_shapes_and_new_layers() -> None:
    backbone: Backbone = nin(num_classes=1000).eval()
    with torch.inference_mode():
        features = backbone.forward_features(torch.zeros(1, 3, 224, 224))
    assert features.maps.shape == (1, 1000, 6, 6)
    assert [tuple(parameter.shape) for parameter in backbone.new_layers()] == [(1000, 1024, 1, 1), (1000,)]


def test_pixels_are_0_to_255_minus_the_mean() -> None:
    spec = NinBackbone.input_spec
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    torch.testing.assert_close((1 - mean) / std, torch.tensor([132.0, 138.0, 151.0]))


def test_batch_norm_follows_every_convolution_but_the_last() -> None:
    layers = list(nin(num_classes=3, batch_norm=True).features)
    after_conv = [type(layers[i + 1]).__name__ for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert after_conv == ["BatchNorm2d"] * 11 + ["ReLU"]


def test_wrong_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"weights=IMAGENET1K_V1: .* no weights of this name; give the path of a"):
        nin(num_classes=3, weights="IMAGENET1K_V1")
    with pytest.raises(ValueError, match="batch_norm=true cannot start from weights=x: Network in Network has no"):
        nin(num_classes=3, weights="x", batch_norm=True)
    torch.save({"classifier.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth has keys .*: classifier\.weight; .* of nin_imagenet\.pth"):
        nin(num_classes=3, weights=str(tmp_path / "other.pth"))

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from camloc.attribution.cam import class_activation_map
from camloc.backbones.googlenet import googlenet, googlenet_gap, googlenet_gmp
from camloc.records import Pairs

THROUGH_4E = [
    *("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3"),
    *("inception4a", "inception4b", "inception4c", "inception4d", "inception4e"),
]
Save = Callable[[nn.Module, nn.Module], Path]


@pytest.fixture
def published() -> models.GoogLeNet:
    with torch.device("meta"):  # as the published file: with auxiliary heads
        return models.GoogLeNet(aux_logits=True, transform_input=True, init_weights=False)


@pytest.fixture
def file(published: models.GoogLeNet, save_as_published: Save) -> Path:
    return save_as_published(published, nn.ModuleList(getattr(published, name) for name in THROUGH_4E))


def test_trunk_is_torchvisions_through_inception4e(published: models.GoogLeNet, file: Path) -> None:
    backbone = googlenet_gap(num_classes=3, weights=str(file)).eval()
    expected = {k: v for k, v in published.state_dict().items() if k.partition(".")[0] in THROUGH_4E}
    state = backbone.trunk.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(backbone.trunk(images), through_4e(published.eval(), images))


def through_4e(model: models.GoogLeNet, images: Tensor) -> Tensor:
    maps: Tensor = model._transform_input(images)
    for name in THROUGH_4E:
        maps = getattr(model, name)(maps)
    return maps


def test_a_checkpoint_rebuilt_without_weights_sees_the_same_pixels(file: Path) -> None:
    trained = googlenet_gap(num_classes=3, weights=str(file)).eval()
    rebuilt = googlenet_gap(num_classes=3).eval()
    rebuilt.load_state_dict(trained.state_dict())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(rebuilt(images), trained(images))


def test_black_and_white_pixels_become_minus_one_and_one() -> None:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    black, white = (0 - mean) / std, (1 - mean) / std
    images = torch.stack([black, white]).view(2, 3, 1, 1)
    rescale = next(googlenet_gap(num_classes=3).trunk.children())
    expected = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(rescale(images), expected)


def test_new_convolution_is_the_releases() -> None:
    extra = googlenet_gap(num_classes=3).extra
    assert [type(layer).__name__ for layer in extra.children()] == ["Conv2d", "ReLU"]
    assert next(extra.parameters()).shape == (1024, 416, 3, 3)


def test_max_pooling_is_all_that_differs_from_googlenet_gap(file: Path) -> None:
    mean, most = (build(num_classes=3, weights=str(file)).eval() for build in (googlenet_gap, googlenet_gmp))
    most.load_state_dict(mean.state_dict())
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = most.forward_features(images).maps
        assert torch.equal(maps, mean.forward_features(images).maps)
        largest = torch.stack([maps[:, k].flatten(1).max(dim=1).values for k in range(1024)], dim=1)
        torch.testing.assert_close(most(images), largest @ most.class_weights.T + most.head.linear.bias)
        pairs = Pairs.of_target(torch.tensor([2, 0]))
        cams = [class_activation_map(maps, network.class_weights, pairs) for network in (mean, most)]
    assert torch.equal(*cams)
    assert [id(p) for p in most.new_layers()] == [id(p) for part in (most.extra, most.head) for p in part.parameters()]


@pytest.fixture(scope="module")
def whole() -> models.GoogLeNet:
    """Torchvision's, of three classes, as the published weights are used."""
    torch.manual_seed(0)
    model = models.GoogLeNet(num_classes=3, aux_logits=True, transform_input=True, init_weights=False).eval()
    for name, value in model.state_dict().items():
        if value.ndim and ("running" in name or "bn" in name):
            value.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def whole_file(whole: models.GoogLeNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "googlenet.pth"
    torch.save(whole.state_dict(), path)
    return path


def test_googlenet_is_torchvisions(whole: models.GoogLeNet, whole_file: Path) -> None:
    backbone = googlenet(num_classes=3, weights=str(whole_file)).eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits = backbone(images)
        features = backbone.forward_features(images)
        torch.testing.assert_close(logits, whole(images), rtol=1e-6, atol=1e-6)
        assert features.maps.shape == (2, 1024, 2, 3)
        cams = class_activation_map(features.maps, backbone.class_weights, Pairs.of_target(torch.tensor([2, 0])))
        expected = cams.mean(dim=(1, 2)) + backbone.head.linear.bias[[2, 0]]
        torch.testing.assert_close(logits[[0, 1], [2, 0]], expected)
    assert backbone.head.dropout.p == whole.dropout.p == 0.2
    assert [tuple(parameter.shape) for parameter in backbone.new_layers()] == [(3, 1024), (3,)]


def test_weights_of_other_classes_leave_the_linear_layer_as_the_seed_has_it(
    whole: models.GoogLeNet, whole_file: Path
) -> None:
    torch.manual_seed(4)
    with_weights = googlenet(num_classes=7, weights=str(whole_file))
    torch.manual_seed(4)
    without = googlenet(num_classes=7)
    assert torch.equal(with_weights.class_weights, without.class_weights)
    assert torch.equal(with_weights.trunk.state_dict()["conv1.conv.weight"], whole.state_dict()["conv1.conv.weight"])


def test_maps_of_googlenet_at_its_own_size() -> None:
    with torch.inference_mode():
        maps = googlenet(num_classes=3).eval().forward_features(torch.zeros(1, 3, 224, 224)).maps
    assert maps.shape == (1, 1024, 7, 7)

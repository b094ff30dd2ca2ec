from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from camloc.backbones.googlenet import googlenet_gap

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

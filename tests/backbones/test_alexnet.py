from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from camloc.backbones.alexnet import alexnet_gap, alexnet_gap_one_conv

Save = Callable[[nn.Module, nn.Module], Path]


def test_trunk_is_torchvisions_through_conv5(save_as_published: Save) -> None:
    with torch.device("meta"):
        published = models.alexnet()
    file = save_as_published(published, published.features)
    backbone = alexnet_gap(num_classes=3, weights=str(file)).eval()
    expected = published.features.state_dict()
    state = backbone.trunk.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(backbone.trunk(images), published.features[:12](images))


def test_published_weights_leave_the_new_layers_as_the_seed_has_them(save_as_published: Save) -> None:
    with torch.device("meta"):
        published = models.alexnet()
    file = save_as_published(published, published.features)
    torch.manual_seed(5)
    with_weights = alexnet_gap(num_classes=3, weights=str(file))
    torch.manual_seed(5)
    without = alexnet_gap(num_classes=3)
    pairs = zip(with_weights.new_layers(), without.new_layers(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(with_weights.trunk.parameters()), next(without.trunk.parameters()))


def test_two_new_convolutions_of_512_in_two_groups() -> None:
    convs = [layer for layer in alexnet_gap(num_classes=3).extra.modules() if isinstance(layer, nn.Conv2d)]
    assert [tuple(conv.weight.shape) for conv in convs] == [(512, 128, 3, 3), (512, 256, 3, 3)]
    assert [conv.padding for conv in convs] == [(1, 1), (1, 1)]


def test_one_new_convolution_of_1024_on_the_same_trunk(save_as_published: Save) -> None:
    with torch.device("meta"):
        published = models.alexnet()
    file = save_as_published(published, published.features)
    backbone = alexnet_gap_one_conv(num_classes=3, weights=str(file))
    assert [type(layer).__name__ for layer in backbone.extra.children()] == ["Conv2d", "ReLU"]
    shapes = [tuple(parameter.shape) for parameter in backbone.new_layers()]
    assert shapes == [(1024, 256, 3, 3), (1024,), (3, 1024), (3,)]
    expected = published.features.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in backbone.trunk.state_dict().items())


def test_batch_norm_follows_every_convolution() -> None:
    backbone = alexnet_gap(num_classes=3, batch_norm=True)
    layers = [*backbone.trunk.children(), *backbone.extra.children()]
    after_conv = [type(layers[i + 1]).__name__ for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert after_conv == ["BatchNorm2d"] * 7


def test_batch_norm_has_no_published_weights() -> None:
    with pytest.raises(ValueError, match=r"batch_norm=true cannot start from weights=IMAGENET1K_V1.*weights=null"):
        alexnet_gap(num_classes=3, weights="IMAGENET1K_V1", batch_norm=True)

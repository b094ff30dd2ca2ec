from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from camloc.backbones.vgg import vgg_gap

Save = Callable[[nn.Module, nn.Module], Path]


@pytest.mark.parametrize(("batch_norm", "layers"), [(False, 30), (True, 43)])
def test_trunk_is_torchvisions_through_conv5_3(batch_norm: bool, layers: int, save_as_published: Save) -> None:
    with torch.device("meta"):
        published = models.vgg16_bn() if batch_norm else models.vgg16()
    file = save_as_published(published, published.features)
    backbone = vgg_gap(num_classes=3, weights=str(file), batch_norm=batch_norm).eval()
    assert isinstance(backbone.trunk, nn.Sequential)
    assert len(backbone.trunk) == layers
    expected = published.features.state_dict()
    state = backbone.trunk.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(backbone.trunk(images), published.features.eval()[:-1](images))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_one_new_convolution_of_1024_in_two_groups(batch_norm: bool) -> None:
    extra = vgg_gap(num_classes=3, batch_norm=batch_norm).extra
    names = [type(layer).__name__ for layer in extra.children()]
    assert names == (["Conv2d", "BatchNorm2d", "ReLU"] if batch_norm else ["Conv2d", "ReLU"])
    assert next(extra.parameters()).shape == (1024, 256, 3, 3)


def test_weights_without_batch_norm_do_not_fit_a_trunk_with_it(save_as_published: Save) -> None:
    with torch.device("meta"):
        published = models.vgg16()
    file = save_as_published(published, nn.Identity())
    with pytest.raises(ValueError, match=r"published\.pth has keys .* does not have: features\..*vgg16_bn-"):
        vgg_gap(num_classes=3, weights=str(file), batch_norm=True)


def test_weights_for_pixels_of_another_scale_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"IMAGENET1K_FEATURES: this backbone has no weights of this name.*IMAGENET1K_V1"
    ):
        vgg_gap(num_classes=3, weights="IMAGENET1K_FEATURES")

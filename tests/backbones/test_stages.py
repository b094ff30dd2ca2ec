from collections.abc import Callable

import pytest
import torch
from torch import nn

from camloc.backbones.alexnet import alexnet, alexnet_gap
from camloc.backbones.contract import Backbone, Staged
from camloc.backbones.efficientnet_lite0 import efficientnet_lite0_gap
from camloc.backbones.gap import GapBackbone
from camloc.backbones.googlenet import googlenet_gap
from camloc.backbones.nin import nin
from camloc.backbones.timm_network import timm_network
from camloc.backbones.vgg import vgg_gap


def lite() -> Backbone:
    pytest.importorskip("timm", reason="the network is timm's")
    return efficientnet_lite0_gap(3, weights=None, output_stride=16)


def resnet() -> Backbone:
    pytest.importorskip("timm", reason="the network is timm's")
    return timm_network("resnet18", 3)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: vgg_gap(3), [(64, 64), (128, 32), (256, 16), (512, 8), (1024, 4)]),
        (lambda: alexnet_gap(3), [(64, 15), (192, 7), (512, 3)]),
        (lambda: alexnet(3), [(64, 15), (192, 7), (256, 3)]),
        (lambda: googlenet_gap(3), [(64, 32), (192, 16), (480, 8), (1024, 4)]),
        (lite, [(16, 32), (24, 16), (40, 8), (1280, 4)]),
        (resnet, [(64, 32), (64, 16), (128, 8), (256, 4), (512, 2)]),
    ],
)
def test_the_last_maps_of_each_size(make: Callable[[], Backbone], expected: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    backbone = make()
    assert isinstance(backbone, nn.Module)
    backbone.eval().requires_grad_(requires_grad=False)
    assert isinstance(backbone, Staged)
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    stages = backbone.forward_stages(images.clone())
    assert [(maps.shape[1], maps.shape[2]) for maps in stages] == expected
    features = backbone.forward_features(images)
    torch.testing.assert_close(stages[-1], features.maps)
    logits = backbone.forward_head(features._replace(maps=stages[-1].clone()))
    for maps, gradient in zip(stages, torch.autograd.grad(logits[:, 0].sum(), stages), strict=True):
        assert gradient.shape == maps.shape
        assert gradient.any()


def test_network_in_network() -> None:
    backbone = nin(3).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        stages = backbone.forward_stages(images)
        assert [tuple(maps.shape[1:]) for maps in stages] == [(96, 54, 54), (256, 27, 27), (384, 13, 13), (3, 6, 6)]
        torch.testing.assert_close(stages[-1], backbone.forward_features(images).maps)


def test_a_trunk_that_is_no_sequence_is_refused() -> None:
    backbone = GapBackbone(nn.Conv2d(3, 4, 1), nn.Identity(), num_maps=4, num_classes=2)
    with pytest.raises(ValueError, match="Conv2d is no sequence of layers"):
        backbone.forward_stages(torch.zeros(1, 3, 4, 4))


def test_a_transformer_is_refused() -> None:
    pytest.importorskip("timm", reason="the network is timm's")
    backbone = timm_network("vit_tiny_patch16_224", num_classes=2, input_size=32)
    with pytest.raises(ValueError, match="timm's vit_tiny_patch16_224 computes NLC"):
        backbone.forward_stages(torch.zeros(1, 3, 32, 32))

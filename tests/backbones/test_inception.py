from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.inception import InceptionB

from camloc.backbones.inception import UnstridedInceptionB, inception_v3_gap

THROUGH_6E = [
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
]
Save = Callable[[nn.Module, nn.Module], Path]


@pytest.fixture
def published() -> models.Inception3:
    with torch.device("meta"):  # as the published file: with its auxiliary head
        return models.Inception3(aux_logits=True, transform_input=True, init_weights=False)


def test_the_trunk_has_torchvisions_weights(published: models.Inception3, save_as_published: Save) -> None:
    file = save_as_published(published, nn.ModuleList(getattr(published, name) for name in THROUGH_6E))
    backbone = inception_v3_gap(num_classes=3, weights=str(file))
    expected = {k: v for k, v in published.state_dict().items() if k.partition(".")[0] in THROUGH_6E}
    state = backbone.trunk.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert [name for name, _ in backbone.trunk.named_children()] == ["rescale", *THROUGH_6E]


def test_mixed_6a_without_stride_has_all_pixels_of_the_strided_one() -> None:
    torch.manual_seed(0)
    strided, unstrided = InceptionB(8).eval(), UnstridedInceptionB(8).eval()
    unstrided.load_state_dict(strided.state_dict())
    images = torch.randn(1, 8, 9, 11)
    with torch.inference_mode():
        fine, coarse = unstrided(images), strided(images)
    assert fine.shape[2:] == (9, 11)
    torch.testing.assert_close(fine[:, :, 1:-1:2, 1:-1:2], coarse, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("output_stride", "size"), [(8, 28), (16, 14)])
def test_maps_have_the_benchmarks_sizes(output_stride: int, size: int) -> None:
    with torch.device("meta"):
        backbone = inception_v3_gap(num_classes=3, output_stride=output_stride)  # type: ignore[arg-type] # one of both
        features = backbone.forward_features(torch.zeros(1, 3, 224, 224))
    assert features.maps.shape == (1, 1024, size, size)
    for layer in (*backbone.method_layers["adl"], *backbone.method_layers["spg"]):
        assert layer == "maps" or backbone.get_submodule(layer) is not None


def test_new_layers_are_two_convolutions_and_the_linear_layer() -> None:
    with torch.device("meta"):
        backbone = inception_v3_gap(num_classes=3)
    shapes = [tuple(parameter.shape) for parameter in backbone.new_layers()]
    assert shapes == [(1024, 768, 3, 3), (1024,), (1024, 1024, 3, 3), (1024,), (3, 1024), (3,)]
    assert backbone.class_weights.shape == (3, 1024)
    assert [layer.p for layer in backbone.extra.modules() if isinstance(layer, nn.Dropout)] == [0.5] * 3
    trunk = models.Inception3(aux_logits=False, init_weights=False)
    expected = sum(parameter.numel() for name in THROUGH_6E for parameter in getattr(trunk, name).parameters())
    assert sum(parameter.numel() for parameter in backbone.trunk.parameters()) == expected


def test_evaluation_drops_nothing() -> None:
    backbone = inception_v3_gap(num_classes=3).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        features = backbone.forward_features(images)
        assert torch.equal(features.maps, backbone.forward_features(images).maps)
        expected = features.maps.mean(dim=(2, 3)) @ backbone.class_weights.T + backbone.head.linear.bias
        torch.testing.assert_close(backbone(images), expected)


def test_another_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"backbone\.output_stride=32: choose from 8 or 16"):
        inception_v3_gap(num_classes=3, output_stride=32)  # type: ignore[arg-type] # what is refused

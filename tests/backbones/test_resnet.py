from pathlib import Path

import pytest
import torch
from torchvision import models

from camloc.attribution.cam import class_activation_map
from camloc.backbones.resnet import resnet50_gap
from camloc.records import Pairs


@pytest.fixture(scope="module")
def whole() -> models.ResNet:
    torch.manual_seed(0)
    model = models.resnet50(num_classes=3).eval()
    for name, value in model.state_dict().items():
        if value.ndim == 1 and "fc" not in name:
            value.uniform_(0.5, 1.0)
    return model


@pytest.fixture(scope="module")
def file(whole: models.ResNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(whole.state_dict(), path)
    return path


def test_with_its_own_strides_it_is_torchvisions(whole: models.ResNet, file: Path) -> None:
    backbone = resnet50_gap(num_classes=3, weights=str(file), output_stride=32).eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, features = backbone(images), backbone.forward_features(images)
        torch.testing.assert_close(logits, whole(images), rtol=1e-4, atol=1e-4)
        cams = class_activation_map(features.maps, backbone.class_weights, Pairs.of_target(torch.tensor([2, 0])))
    assert features.maps.shape == (2, 2048, 2, 3)
    expected = cams.mean(dim=(1, 2)) + backbone.head.linear.bias[[2, 0]]
    torch.testing.assert_close(logits[[0, 1], [2, 0]], expected, rtol=1e-4, atol=1e-4)


def test_finer_maps_have_the_same_weights(whole: models.ResNet, file: Path) -> None:
    fine = resnet50_gap(num_classes=3, weights=str(file))
    state = whole.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in fine.trunk.state_dict().items())
    assert torch.equal(fine.class_weights, state["fc.weight"])
    assert sum(parameter.numel() for parameter in fine.parameters()) == 25_557_032 - 997 * 2049  # torchvision's of 1000
    assert [tuple(parameter.shape) for parameter in fine.new_layers()] == [(3, 2048), (3,)]


@pytest.mark.parametrize(("output_stride", "size"), [(8, (8, 12)), (16, (4, 6)), (32, (2, 3))])
def test_maps_are_as_fine_as_the_stride_says(output_stride: int, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        backbone = resnet50_gap(num_classes=3, output_stride=output_stride)  # type: ignore[arg-type] # one of them
    assert backbone.forward_features(torch.zeros(1, 3, 64, 96, device="meta")).maps.shape == (1, 2048, *size)


def test_the_benchmarks_maps_are_28_pixels_wide() -> None:
    with torch.device("meta"):
        backbone = resnet50_gap(num_classes=3)
    assert backbone.forward_features(torch.zeros(1, 3, 224, 224, device="meta")).maps.shape == (1, 2048, 28, 28)


def test_weights_of_other_classes_leave_the_linear_layer_as_the_seed_has_it(file: Path) -> None:
    torch.manual_seed(4)
    with_weights = resnet50_gap(num_classes=7, weights=str(file))
    torch.manual_seed(4)
    assert torch.equal(with_weights.class_weights, resnet50_gap(num_classes=7).class_weights)


def test_another_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"backbone\.output_stride=4: choose from 8, 16 or 32"):
        resnet50_gap(num_classes=3, output_stride=4)  # type: ignore[arg-type] # what is refused

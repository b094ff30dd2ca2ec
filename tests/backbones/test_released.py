"""The released networks against the release's prototxt files, stated once more in NumPy."""

import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from camloc.attribution.cam import cam
from camloc.backbones.caffemodel import read_caffemodel
from camloc.backbones.gap import GapBackbone
from camloc.backbones.released import load_released, max_pool, named_conv, response_norm
from camloc.backbones.released_alexnet import released_alexnet_gap
from camloc.backbones.released_googlenet import released_googlenet_gap
from camloc.backbones.released_vgg import released_vgg_gap
from camloc.predictors.network import NetworkPredictor

Array = NDArray[Any]
Blobs = dict[str, list[Array]]
NUM_CLASSES = 3

# Layers of the deploy files, one a line: conv name filters kernel stride padding groups | pool kernel stride | norm |
# inception name 1x1 3x3_reduce 3x3 5x5_reduce 5x5 pool_proj | fc name.
ALEXNET = """
conv conv1 96 11 4 0 1
pool 3 2
norm
conv conv2 256 5 1 2 2
pool 3 2
norm
conv conv3 384 3 1 1 1
conv conv4 384 3 1 1 2
conv conv5 384 3 1 1 2
pool 3 1
conv conv6 512 3 1 1 2
conv conv7 512 3 1 1 2
fc fc9
"""
VGG = """
conv conv1_1 64 3 1 1 1
conv conv1_2 64 3 1 1 1
pool 2 2
conv conv2_1 128 3 1 1 1
conv conv2_2 128 3 1 1 1
pool 2 2
conv conv3_1 256 3 1 1 1
conv conv3_2 256 3 1 1 1
conv conv3_3 256 3 1 1 1
pool 2 2
conv conv4_1 512 3 1 1 1
conv conv4_2 512 3 1 1 1
conv conv4_3 512 3 1 1 1
pool 2 2
conv conv5_1 512 3 1 1 1
conv conv5_2 512 3 1 1 1
conv conv5_3 512 3 1 1 1
conv CAM_conv 1024 3 1 1 2
fc CAM_fc
"""
GOOGLENET = """
conv conv1/7x7_s2 64 7 2 3 1
pool 3 2
norm
conv conv2/3x3_reduce 64 1 1 0 1
conv conv2/3x3 192 3 1 1 1
norm
pool 3 2
inception inception_3a 64 96 128 16 32 32
inception inception_3b 128 128 192 32 96 64
pool 3 2
inception inception_4a 192 96 208 16 48 64
inception inception_4b 160 112 224 24 64 64
inception inception_4c 128 128 256 24 64 64
inception inception_4d 112 144 288 32 64 64
inception inception_4e 256 160 320 32 128 128
conv CAM_conv 1024 3 1 1 2
fc CAM_fc
"""


class Net:
    """Blobs of a network, and what it makes of an image."""

    def __init__(self, description: str) -> None:
        self.layers = [(kind, [*arguments]) for kind, *arguments in map(str.split, description.strip().splitlines())]
        self.blobs: Blobs = {}
        self.random = np.random.default_rng(0)

    def run(self, maps: Array) -> tuple[Array, Array]:
        """Return the last maps and the logits; weights are drawn the first time."""
        for kind, arguments in self.layers:
            match kind, arguments:
                case "norm", []:
                    maps = normalized(maps)
                case "pool", [kernel, stride]:
                    maps = pooled(maps, int(kernel), int(stride))
                case "conv", [name, *numbers]:
                    maps = self.conv(maps, name, *map(int, numbers))
                case "inception", [name, *numbers]:
                    maps = self.inception(maps, name, *map(int, numbers))
                case "fc", [name]:
                    weight, bias = self.weights(name, (NUM_CLASSES, len(maps)))
                    return maps, weight @ maps.mean(axis=(1, 2)) + bias
        raise AssertionError

    def conv(
        self, maps: Array, name: str, filters: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Array:
        weight, bias = self.weights(name, (filters, len(maps) // groups, kernel, kernel))
        padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
        windows = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
        parts = zip(np.split(weight, groups), np.split(windows, groups), strict=True)
        summed = np.concatenate([np.tensordot(w, part, axes=((1, 2, 3), (0, 3, 4))) for w, part in parts])
        activated: Array = np.maximum(summed + bias[:, None, None], 0)
        return activated

    def inception(self, maps: Array, name: str, *filters: int) -> Array:
        of_1x1, reduce_3x3, of_3x3, reduce_5x5, of_5x5, of_pool = filters
        outputs = [
            self.conv(maps, f"{name}/1x1", of_1x1, 1),
            self.conv(self.conv(maps, f"{name}/3x3_reduce", reduce_3x3, 1), f"{name}/3x3", of_3x3, 3, padding=1),
            self.conv(self.conv(maps, f"{name}/5x5_reduce", reduce_5x5, 1), f"{name}/5x5", of_5x5, 5, padding=2),
            self.conv(pooled(maps, 3, 1, padding=1), f"{name}/pool_proj", of_pool, 1),
        ]
        return np.concatenate(outputs)

    def weights(self, name: str, shape: tuple[int, ...]) -> list[Array]:
        if name not in self.blobs:
            weight = self.random.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)
            bias = self.random.standard_normal(shape[0], np.float32)
            self.blobs[name] = [weight, bias]
        return self.blobs[name]


def pooled(maps: Array, kernel: int, stride: int, padding: int = 0) -> Array:
    """Caffe's max pooling: as many windows as begin within the padded map (pooling_layer.cpp)."""
    sides = [-(-(side + 2 * padding - kernel) // stride) + 1 for side in maps.shape[1:]]
    output = np.empty((len(maps), *sides), maps.dtype)
    for y in range(sides[0]):
        for x in range(sides[1]):
            top, left = y * stride - padding, x * stride - padding
            window = maps[:, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            output[:, y, x] = window.max(axis=(1, 2))
    return output


def normalized(maps: Array) -> Array:
    """Caffe's LRN across maps: size 5, alpha 1e-4 divided by the size, beta 0.75, k 1 (lrn_layer.cpp)."""
    sums = np.stack([(maps[max(k - 2, 0) : k + 3] ** 2).sum(axis=0) for k in range(len(maps))])
    return maps / (1 + 1e-4 / 5 * sums) ** 0.75


def varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def write_v1(file: Path, blobs: Blobs) -> None:
    """Write the file as Caffe did until 2014: ``layers``, blobs with num, channels, height and width."""

    def blob(array: Array) -> bytes:
        shape = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(axis, size) for axis, size in enumerate(shape, start=1)) + field(5, array.tobytes())

    with file.open("wb") as output:
        output.write(field(1, b"net") + field(2, field(4, b"data") + field(5, 5)))
        for name, arrays in blobs.items():
            content = (
                field(2, b"bottom") + field(4, name.encode()) + b"".join(field(6, blob(array)) for array in arrays)
            )
            output.write(field(2, content))


def write_v2(file: Path, blobs: Blobs) -> None:
    """Write the file as Caffe does since: ``layer``, blobs with a shape."""

    def blob(array: Array) -> bytes:
        return field(5, array.tobytes()) + field(7, field(1, b"".join(map(varint, array.shape))))

    with file.open("wb") as output:
        output.write(field(1, b"net"))
        for name, arrays in blobs.items():
            content = field(1, name.encode()) + field(2, b"Layer") + b"".join(field(7, blob(array)) for array in arrays)
            output.write(field(100, content + field(10, 1)) + field(100, field(1, b"relu") + field(2, b"ReLU")))


RELEASED: dict[str, tuple[Callable[..., GapBackbone], str, Callable[[Path, Blobs], None], tuple[int, int]]] = {
    # With image sizes at which pooling has windows that reach beyond the map.
    "alexnet": (released_alexnet_gap, ALEXNET, write_v1, (75, 99)),
    "vgg": (released_vgg_gap, VGG, write_v1, (35, 32)),
    "googlenet": (released_googlenet_gap, GOOGLENET, write_v2, (64, 75)),
}


@pytest.mark.parametrize("name", RELEASED)
def test_values_of_a_file_are_those_of_a_plain_forward_pass(name: str, tmp_path: Path) -> None:
    build, description, write, size = RELEASED[name]
    image = np.random.default_rng(1).integers(0, 256, (3, *size), np.uint8)  # RGB
    net = Net(description)
    blue_green_red = image[::-1].astype(np.float64) - np.array([104, 117, 123])[:, None, None]
    maps, logits = net.run(blue_green_red)
    write(tmp_path / "net.caffemodel", net.blobs)
    predictor = NetworkPredictor(build(NUM_CLASSES, str(tmp_path / "net.caffemodel")), cam).eval()
    backbone = predictor.backbone
    images = torch.from_numpy(image)[None]
    with torch.inference_mode():
        features = backbone.forward_features(predictor.normalize(images))
        found = predictor(images)
        assert backbone.class_weights is not None
        cams = torch.einsum("ck,bkhw->bchw", backbone.class_weights, features.maps)
    scale = float(maps.std())
    assert scale > 1
    np.testing.assert_allclose(features.maps[0].numpy(), maps, rtol=1e-3, atol=1e-4 * scale)
    np.testing.assert_allclose(found[0].numpy(), logits, rtol=1e-3, atol=1e-3 * float(np.abs(logits).max()))
    bias = net.blobs["fc9" if name == "alexnet" else "CAM_fc"][1]
    torch.testing.assert_close(cams.mean(dim=(2, 3)) + torch.from_numpy(bias), found, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [("alexnet", 227, (512, 11, 11)), ("vgg", 224, (1024, 14, 14)), ("googlenet", 224, (1024, 14, 14))],
)
def test_size_of_input_and_maps(name: str, size: int, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        backbone = RELEASED[name][0](1000)
        assert backbone.forward_features(torch.zeros(1, 3, size, size)).maps.shape == (1, *shape)
    assert backbone.input_spec.size == size
    assert backbone.head.dropout.p == (0.0 if name == "googlenet" else 0.5)
    new = [key for key, _ in backbone.named_parameters() if not key.startswith("trunk.")]
    layers = ("conv6", "conv7") if name == "alexnet" else ("CAM_conv",)
    kinds = ("weight", "bias")
    assert new == [
        *(f"extra.{layer}.{kind}" for layer in layers for kind in kinds),
        *(f"head.linear.{kind}" for kind in kinds),
    ]
    assert len(list(backbone.new_layers())) == len(new)


def test_input_is_blue_green_red_minus_the_mean() -> None:
    predictor = NetworkPredictor(released_googlenet_gap(NUM_CLASSES), cam)
    pixels = torch.tensor([[255, 0], [0, 255], [10, 104]], dtype=torch.uint8).view(1, 3, 1, 2)  # red, green, blue
    assert isinstance(predictor.backbone, nn.Module)
    first = next(predictor.backbone.children())
    assert isinstance(first, nn.Sequential)
    assert first[0](predictor.normalize(pixels)).view(3, 2).tolist() == [[-94, 0], [-117, 138], [132, -123]]


def test_response_normalization_divides_alpha_by_the_size() -> None:
    maps = torch.tensor([300.0, 0.0, 100.0, 0.0, 0.0, 200.0]).view(1, 6, 1, 1)
    # Of the squares of each map and of two on either side: 90,000, 10,000 and 40,000 are not 0.
    sums = [100_000, 100_000, 100_000, 50_000, 50_000, 40_000]
    expected = [
        value / (1 + 0.0001 / 5 * total) ** 0.75 for value, total in zip(maps.flatten().tolist(), sums, strict=True)
    ]
    torch.testing.assert_close(response_norm()(maps).flatten(), torch.tensor(expected))


@pytest.mark.parametrize(("side", "windows"), [(5, 2), (6, 3), (7, 3), (8, 4)])
def test_pooling_rounds_up(side: int, windows: int) -> None:
    maps = torch.arange(float(side)).expand(1, 1, side, side)
    output = max_pool(3, stride=2)(maps)
    assert output.shape == (1, 1, windows, windows)
    assert output[0, 0, 0, -1] == side - 1
    assert torch.equal(output[0].double(), torch.from_numpy(pooled(maps[0].double().numpy(), 3, 2)))


class TestEveryBlobIsUsedOnce:
    """On a small network with a convolution in the trunk, one behind it, and the linear layer."""

    def blobs(self) -> Blobs:
        shapes = {"conv1": (4, 3, 3, 3), "CAM_conv": (6, 2, 1, 1), "CAM_fc": (NUM_CLASSES, 6)}
        return {
            name: [np.full(shape, place + 1, np.float32), np.full(shape[0], -place, np.float32)]
            for place, (name, shape) in enumerate(shapes.items())
        }

    def load(self, file: Path) -> dict[str, torch.Tensor]:
        trunk = nn.Sequential(OrderedDict(named_conv("conv1", 3, 4, 3)))
        extra = nn.Sequential(OrderedDict(named_conv("CAM_conv", 4, 6, 1, groups=2)))
        backbone = GapBackbone(trunk, extra, 6, NUM_CLASSES)
        before = {key: value.clone() for key, value in backbone.state_dict().items()}
        try:
            load_released(backbone, str(file), classifier="CAM_fc", published="published.caffemodel")
        except ValueError:
            after = backbone.state_dict()
            assert all(torch.equal(after[key], before[key]) for key in before)
            raise
        return backbone.state_dict()

    @pytest.fixture(params=[write_v1, write_v2])
    def save(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Blobs], Path]:
        def save(blobs: Blobs) -> Path:
            request.param(tmp_path / "net.caffemodel", blobs)
            return tmp_path / "net.caffemodel"

        return save

    def test_each_arrives(self, save: Callable[[Blobs], Path]) -> None:
        found = {key: set(value.flatten().tolist()) for key, value in self.load(save(self.blobs())).items()}
        assert found == {
            "trunk.conv1.weight": {1},
            "trunk.conv1.bias": {0},
            "extra.CAM_conv.weight": {2},
            "extra.CAM_conv.bias": {-1},
            "head.linear.weight": {3},
            "head.linear.bias": {-2},
        }

    def test_converted_to_safetensors(self, save: Callable[[Blobs], Path], tmp_path: Path) -> None:
        file = save(self.blobs())
        save_file(read_caffemodel(file), tmp_path / "net.safetensors")
        converted, direct = self.load(tmp_path / "net.safetensors"), self.load(file)
        assert all(torch.equal(converted[key], direct[key]) for key in direct)

    def test_missing(self, save: Callable[[Blobs], Path]) -> None:
        blobs = self.blobs()
        del blobs["CAM_conv"]
        blobs["conv1"].pop()
        expected = (
            r"net\.caffemodel lacks keys of this backbone: conv1\.bias, CAM_conv\.weight, CAM_conv\.bias; give the"
        )
        with pytest.raises(ValueError, match=expected):
            self.load(save(blobs))

    def test_extra(self, save: Callable[[Blobs], Path]) -> None:
        blobs = self.blobs() | {"loss1/fc": [np.ones((2, 2), np.float32)]}
        blobs["conv1"].append(np.ones(1, np.float32))
        expected = r"net\.caffemodel has keys that this backbone does not have: conv1\.2, loss1/fc\.weight; give the"
        with pytest.raises(ValueError, match=expected):
            self.load(save(blobs))

    @pytest.mark.parametrize(
        ("layer", "shape", "needed"),
        [
            ("CAM_conv", (6, 4, 1, 1), (6, 2, 1, 1)),  # as without groups
            ("CAM_conv", (6, 1, 2, 1), (6, 2, 1, 1)),
            ("CAM_fc", (10, 6), (NUM_CLASSES, 6)),  # of other classes
        ],
    )
    def test_misshapen(
        self, layer: str, shape: tuple[int, ...], needed: tuple[int, ...], save: Callable[[Blobs], Path]
    ) -> None:
        blobs = self.blobs()
        blobs[layer][0] = np.ones(shape, np.float32)
        said = rf"net\.caffemodel: {layer}\.weight has shape \(.*{re.escape(str(shape)[1:])}, this backbone needs "
        expected = (
            rf"{said}{re.escape(str(needed))}; give the release's published\.caffemodel, and images of ImageNet's"
        )
        with pytest.raises(ValueError, match=expected):
            self.load(save(blobs))

    def test_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "net.caffemodel").write_bytes(field(100, struct.pack("<f", 1)))
        with pytest.raises(ValueError, match=r"net\.caffemodel is damaged or not a \.caffemodel"):
            self.load(tmp_path / "net.caffemodel")

    def test_no_file(self, tmp_path: Path) -> None:
        expected = r"there is no such file; give the release's published\.caffemodel, the path of a file, or null"
        with pytest.raises(FileNotFoundError, match=expected):
            self.load(tmp_path / "net.caffemodel")

"""The reader of ``.caffemodel`` files against what Google's protobuf writes."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf import (  # type: ignore[import-untyped] # publishes no types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from camloc.backbones.caffemodel import read_caffemodel

# Messages with the name, number and type of their fields, as in caffe.proto; a "*" repeats.
CAFFE_PROTO = {
    "BlobShape": "dim 1 *int64",
    "BlobProto": (
        "shape 7 BlobShape, data 5 *float, diff 6 *float, double_data 8 *double, "
        "num 1 int64, channels 2 int64, height 3 int64, width 4 int64"
    ),
    "LayerParameter": "name 1 bytes, type 2 string, bottom 3 *string, blobs 7 *BlobProto",
    "V1LayerParameter": "bottom 2 *string, name 4 bytes, type 5 int32, blobs 6 *BlobProto",
    "NetParameter": (
        "name 1 string, input_dim 4 *int64, force_backward 5 bool, "
        "layers 2 *V1LayerParameter, layer 100 *LayerParameter"
    ),
}


@cache
def net_parameter(*, packed: bool) -> Callable[..., Any]:
    """Build the message from its definition, whose repeated numbers are packed or not."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in CAFFE_PROTO.items():
        described = file.message_type.add(name=message)
        for name, number, kind in (field.split() for field in fields.split(", ")):
            field = described.field.add(name=name, number=int(number), label=3 if kind.startswith("*") else 1)
            if kind.strip("*") in CAFFE_PROTO:
                field.type_name = f".caffe.{kind.strip('*')}"
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.strip('*').upper()}")
                field.options.packed = packed and field.label == 3 and "string" not in kind and name != "input_dim"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    net: Callable[..., Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
    return net


def written(*, packed: bool = True, **fields: object) -> bytes:
    content: bytes = net_parameter(packed=packed)(**fields).SerializeToString()
    return content


def read(content: bytes, tmp_path: Path) -> dict[str, Tensor]:
    file = tmp_path / "net.caffemodel"
    file.write_bytes(content)
    return read_caffemodel(file)


def layer(name: str | bytes = "conv1", shape: tuple[int, ...] = (2,), data: tuple[float, ...] = (1.0, 2.0)) -> Any:  # noqa: ANN401 - fields of a message
    name = name.encode() if isinstance(name, str) else name
    return {"name": name, "blobs": [{"shape": {"dim": shape}, "data": data}]}


@pytest.mark.parametrize("packed", [True, False])
def test_layers_with_shapes(packed: bool, tmp_path: Path) -> None:
    blobs = [
        {"shape": {"dim": [2, 1, 1, 3]}, "data": range(6), "diff": [9] * 6},
        {"shape": {"dim": [2]}, "data": [0.5, -1e30]},
        {"shape": {"dim": []}, "data": [7]},
    ]
    layers = [
        {"name": b"data", "type": "Data"},
        {"name": b"conv1/7x7_s2", "type": "Convolution", "bottom": ["data"], "blobs": blobs},
    ]
    content = written(packed=packed, name="net", input_dim=[10, 3, 224, 224], force_backward=True, layer=layers)
    found = read(content, tmp_path)
    assert {key: value.tolist() for key, value in found.items()} == {
        "conv1/7x7_s2.weight": [[[[0, 1, 2]]], [[[3, 4, 5]]]],
        "conv1/7x7_s2.bias": [0.5, torch.tensor(-1e30).item()],
        "conv1/7x7_s2.2": 7,
    }
    assert {value.dtype for value in found.values()} == {torch.float32}
    found["conv1/7x7_s2.bias"].zero_()  # of its own memory


@pytest.mark.parametrize("packed", [True, False])
def test_layers_of_version_1_have_four_axes(packed: bool, tmp_path: Path) -> None:
    blobs = [
        {"num": 1, "channels": 1, "height": 2, "width": 3, "data": range(6)},
        {"num": 1, "channels": 1, "height": 1, "width": 2, "data": [8, 9]},
    ]
    layers = [{"name": b"relu1", "type": 18}, {"name": b"fc9", "type": 14, "bottom": ["pool"], "blobs": blobs}]
    found = read(written(packed=packed, layers=layers), tmp_path)
    assert {key: value.tolist() for key, value in found.items()} == {
        "fc9.weight": [[[[0, 1, 2], [3, 4, 5]]]],
        "fc9.bias": [[[[8, 9]]]],
    }


def test_data_in_several_parts(tmp_path: Path) -> None:
    """As protobuf allows: what is repeated may come packed in parts, and one by one in between."""
    blob = net_parameter(packed=True)(layer=[layer(shape=(4,), data=(1, 2))]).layer[0].blobs[0].SerializeToString()
    blob += b"\x2d" + torch.tensor(3.0).numpy().tobytes() + b"\x2a\x04" + torch.tensor(4.0).numpy().tobytes()
    content = b"\x0a\x01c\x3a" + bytes([len(blob)]) + blob
    found = read(b"\xa2\x06" + bytes([len(content)]) + content, tmp_path)
    assert found["c.weight"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (written(layer=[layer(shape=(3,))]), "conv1.weight: its shape is (3), it has 8 bytes of float32"),
        (
            written(layer=[layer(shape=(1 << 40, 1 << 40))]),
            f"conv1.weight: its shape is ({1 << 40}, {1 << 40}), it has 8",
        ),
        (written(layer=[layer(shape=(-2,))]), "conv1.weight: its shape is (18446744073709551614), it has 8 bytes"),
        (written(layer=[layer(shape=(0,), data=())]), "conv1.weight: its shape is (0), it has 0 bytes"),
        (written(layer=[layer(shape=(1,) * 33, data=(1,))]), "conv1.weight: more than 32 axes"),
        (written(packed=False, layer=[layer(shape=(1,) * 33, data=(1,))]), "conv1.weight: more than 32 axes"),
        (
            written(layer=[{"name": b"c", "blobs": [{"shape": {"dim": [1]}, "double_data": [1]}]}]),
            "c.weight: its shape is (1), it has 0 bytes of float32",
        ),
        (written(layer=[layer("conv1"), layer("conv1")]), "two layers have a blob conv1.weight"),
        (written(layer=[layer("")]), "a layer has the name ''"),
        (written(layer=[layer("two\nlines")]), r"a layer has the name 'two\nlines'"),
        (written(layer=[layer("\x1b[2J")]), r"a layer has the name '\x1b[2J'"),
        (written(layer=[layer("c" * 201)]), f"a layer has the name '{'c' * 200}'"),
        (written(layer=[layer(f"c{number}", (1,), (1,)) for number in range(10_001)]), "more than 10000 blobs"),
        (written(layer=[{"name": b"c", "blobs": [{}] * 10_001}]), "more than 10000 blobs"),
        (b"<!DOCTYPE html>", "a field has the number 7 and the wire type 4"),
        (b"\x00\x01", "a field has the number 0 and the wire type 0"),
        (b"\x08" + b"\xff" * 10, "a number has more than 64 bits"),
        (b"\x12\xff\xff\xff\xff\x7f\x00", "a field has 34359738367 bytes where 1 are left"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    expected = rf"net\.caffemodel is damaged or not a \.caffemodel \({re.escape(reason)}.*; download it again$"
    with pytest.raises(ValueError, match=expected) as caught:
        read(content, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", written(name="net", layer=[{"name": b"relu", "type": "ReLU"}])])
def test_a_network_without_weights(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"net\.caffemodel has no layer with weights; give a trained \.caffemodel"):
        read(content, tmp_path)


def test_a_name_that_is_no_text_is_shown_as_bytes(tmp_path: Path) -> None:
    assert list(read(written(layer=[layer(b"\xff1")]), tmp_path)) == [r"\xff1.weight"]


def test_a_file_of_a_tebibyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "net.caffemodel").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(ValueError, match=r"has 1099511627776 bytes; at most 1073741824 are read of a \.caffemodel"):
        read_caffemodel(tmp_path / "net.caffemodel")


SMALL = written(
    layers=[{"name": b"fc9", "blobs": [{"num": 1, "channels": 1, "height": 1, "width": 2, "data": [8, 9]}]}],
    layer=[layer("conv1", (2, 1), (1, 2)), layer("conv2")],
)


def test_cut_short_anywhere(tmp_path: Path) -> None:
    whole = read(SMALL, tmp_path)
    assert list(whole) == ["fc9.weight", "conv1.weight", "conv2.weight"]
    kept = set()
    for length in range(len(SMALL)):
        try:
            found = read(SMALL[:length], tmp_path)
        except ValueError as error:
            assert re.search(r"net\.caffemodel (is damaged|has no layer)[^\n]*$", str(error))  # noqa: PT017 - some are read
        else:  # between two layers, of which no message says how many there are
            kept.add(tuple(found))
    assert kept == {("fc9.weight",), ("fc9.weight", "conv1.weight")}


@given(content=st.binary(max_size=200))
def test_random_bytes(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    tolerated(content, tmp_path_factory.getbasetemp())


@given(place=st.integers(0, len(SMALL) - 1), put=st.binary(min_size=1, max_size=12))
def test_damage_anywhere(place: int, put: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    tolerated(SMALL[:place] + put + SMALL[place + len(put) :], tmp_path_factory.getbasetemp())
    tolerated(SMALL[:place] + put + SMALL[place:], tmp_path_factory.getbasetemp())


def tolerated(content: bytes, directory: Path) -> None:
    """Read tensors or raise a ``ValueError`` of one line; nothing else."""
    try:
        found = read(content, directory)
    except ValueError as error:
        assert "net.caffemodel" in str(error)  # noqa: PT017 - some are read
        assert str(error).isprintable()  # noqa: PT017 - the same
    else:
        assert found
        assert sum(4 * tensor.numel() for tensor in found.values()) <= len(content)

"""Read the weights of a ``.caffemodel`` without Caffe.

The file is a protobuf message ``NetParameter``, as Caffe's ``caffe.proto`` defines it. Only names, shapes and values of
weights are read; everything else is skipped. The numbers below are the field numbers of that definition.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MAX_BYTES = 1 << 30  # the full VGG16 has 553 MB
MAX_BLOBS = 10_000
MAX_AXES = 32  # Caffe's own limit
MAX_NAME = 200  # bytes

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types
VARINT_BITS = 64
LAYER_FORMS = {2: (4, 6), 100: (1, 7)}
"""Field of a network to the name and the blobs of its layers: V1LayerParameter (until 2014), LayerParameter (since)."""
SHAPE, DATA = 7, 5  # of a blob
LEGACY_SHAPE = (1, 2, 3, 4)  # num, channels, height, width of a blob from before it had a shape
BLOB_NAMES = ("weight", "bias")


class _Field(NamedTuple):
    number: int
    wire_type: int
    value: int
    """Of a varint."""
    content: memoryview
    """Of every other wire type."""


def read_caffemodel(file: Path) -> dict[str, Tensor]:
    r"""Read the blobs of every layer of a ``.caffemodel``.

    Args:
        file: A ``NetParameter`` in protobuf's binary format, with ``layers`` or ``layer``.

    Returns:
        float32 tensors by layer: ``conv1.weight`` and ``conv1.bias`` are the first and the second blob of ``conv1``,
        further ones are ``conv1.2`` and so on. In files from before 2015 all of them have four axes: the bias of N
        filters is (1,1,1,N).

    Raises:
        ValueError: The file is damaged, larger than ``MAX_BYTES``, or has no weights.

    Example:
        >>> import struct, tempfile
        >>> blob = bytes([58, 3, 10, 1, 2, 42, 8]) + struct.pack("<2f", 0.5, 3)  # shape {dim: 2} data: 0.5, 3
        >>> layer = b"\x0a\x02fc" + bytes([58, len(blob)]) + blob  # name: "fc" blobs {...}
        >>> with tempfile.NamedTemporaryFile(suffix=".caffemodel") as file:
        ...     _ = Path(file.name).write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)  # layer {...}
        ...     read_caffemodel(Path(file.name))
        {'fc.weight': tensor([0.5000, 3.0000])}
    """
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{file} has {size} bytes; at most {MAX_BYTES} are read of a .caffemodel")
    entries: dict[str, Tensor] = {}
    try:
        for key, blob in _blobs(memoryview(file.read_bytes())):
            if key in entries:
                raise ValueError(f"two layers have a blob {key}")  # noqa: TRY301 - one place says what the file is
            entries[key] = blob
    except ValueError as error:
        raise ValueError(f"{file} is damaged or not a .caffemodel ({error}); download it again") from error
    if not entries:
        raise ValueError(
            f"{file} has no layer with weights; give a trained .caffemodel, not the description of a network"
        )
    return entries


def _blobs(network: memoryview) -> Iterator[tuple[str, Tensor]]:
    number = 0
    for field in _fields(network):
        if field.number not in LAYER_FORMS or field.wire_type != BYTES:
            continue
        name, blobs = _layer(field.content, *LAYER_FORMS[field.number])
        for place, content in enumerate(blobs):
            key = f"{name}.{BLOB_NAMES[place] if place < len(BLOB_NAMES) else place}"
            number += 1
            if number > MAX_BLOBS:
                raise ValueError(f"more than {MAX_BLOBS} blobs")
            try:
                blob = _tensor(content)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from error
            yield key, blob


def _layer(layer: memoryview, name_field: int, blobs_field: int) -> tuple[str, list[memoryview]]:
    name, blobs = memoryview(b""), []
    for field in _fields(layer):
        if field.wire_type == BYTES and field.number == name_field:
            name = field.content
        elif field.wire_type == BYTES and field.number == blobs_field:
            blobs.append(field.content)
            if len(blobs) > MAX_BLOBS:
                raise ValueError(f"more than {MAX_BLOBS} blobs")
    if not blobs:
        return "", []
    text = str(name[:MAX_NAME], "utf-8", errors="backslashreplace")
    if not text.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"a layer has the name {text!a}")
    return text, blobs


def _tensor(blob: memoryview) -> Tensor:
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    data = bytearray()
    for field in _fields(blob):
        if field.number == DATA and field.wire_type in {BYTES, FIXED32}:  # packed in parts, or one by one
            data += field.content
        elif field.number == SHAPE and field.wire_type == BYTES:
            shape = _shape(field.content)
        elif field.number in LEGACY_SHAPE and field.wire_type == VARINT:
            legacy[field.number] = field.value
    if shape is None:
        shape = [legacy.get(axis, 0) for axis in LEGACY_SHAPE]
    # Compared before anything of this shape is made: what is allocated is what the file has.
    if not data or len(data) != 4 * math.prod(shape):
        raise ValueError(f"its shape is ({', '.join(map(str, shape))}), it has {len(data)} bytes of float32")
    values = np.frombuffer(data, "<f4").astype(np.float32, copy=False)  # written as little-endian on every machine
    return torch.from_numpy(values).view(shape)


def _shape(message: memoryview) -> list[int]:
    axes: list[int] = []
    for field in _fields(message):
        if field.number == 1 and field.wire_type == VARINT:
            axes.append(field.value)
        elif field.number == 1 and field.wire_type == BYTES:  # packed
            place = 0
            while place < len(field.content) and len(axes) <= MAX_AXES:
                axis, place = _varint(field.content, place)
                axes.append(axis)
        if len(axes) > MAX_AXES:
            raise ValueError(f"more than {MAX_AXES} axes")
    return axes


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield the fields of a message in protobuf's wire format, without copying."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or wire_type not in {VARINT, FIXED64, BYTES, FIXED32}:
            raise ValueError(f"a field has the number {number} and the wire type {wire_type}")
        if wire_type == VARINT:
            value, place = _varint(message, place)
            yield _Field(number, wire_type, value, message[:0])
            continue
        if wire_type == BYTES:
            length, place = _varint(message, place)
        else:
            length = 8 if wire_type == FIXED64 else 4
        if length > len(message) - place:
            raise ValueError(f"a field has {length} bytes where {len(message) - place} are left")
        yield _Field(number, wire_type, 0, message[place : place + length])
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the number of seven bits a byte, lowest first, that begins at a place, and the place after it."""
    value = 0
    for shift in range(0, VARINT_BITS, 7):
        if place == len(message):
            raise ValueError("it ends within a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that another byte follows
            return value, place
    raise ValueError("a number has more than 64 bits")

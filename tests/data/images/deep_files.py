"""Small files with more than eight bits per channel, written by hand."""

import struct
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

KINDS = {"B": 1, "H": 3, "I": 4}


def tiff(
    pages: Sequence[tuple[bytes, dict[int, Sequence[int]]]],
    size: tuple[int, int],
    order: str = "<",
    *,
    big: bool = False,
) -> bytes:
    """An uncompressed TIFF: for each page its pixels and its tags besides sizes and places; 16 bits grey by default."""
    mark = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    content = mark + (struct.pack(f"{order}HHQ", 8, 0, 0) if big else struct.pack(f"{order}I", 0))
    link = len(content) - (8 if big else 4)
    wide = "Q" if big else "I"
    for pixels, given in pages:
        start, height, width = len(content), *size
        content += pixels + bytes(len(pixels) % 2)
        tags = {256: (width,), 257: (height,), 258: (16,), 259: (1,), 262: (1,), 277: (1,), 278: (height,), **given}
        tags |= {273: (start,), 279: (len(pixels),)}
        entries = b""
        for tag, values in sorted(tags.items()):
            kind = "I" if tag in (254, 256, 257, 273, 278, 279) else "H"
            packed = struct.pack(f"{order}{len(values)}{kind}", *values)
            if len(packed) > struct.calcsize(wide):
                place = len(content)
                content += packed + bytes(len(packed) % 2)
                packed = struct.pack(order + wide, place)
            entries += struct.pack(f"{order}HH{wide}", tag, KINDS[kind], len(values)) + packed.ljust(
                struct.calcsize(wide), b"\0"
            )
        place = len(content)
        content = content[:link] + struct.pack(order + wide, place) + content[link + struct.calcsize(wide) :]
        content += struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + entries
        link = len(content)
        content += struct.pack(order + wide, 0)
    return content


def grey_tiff(pixels: NDArray[np.generic], order: Literal["<", ">"] = "<", **tags: Sequence[int]) -> bytes:
    """One page of (H,W) or (H,W,C) pixels of any type."""
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    known = {258: (8 * pixels.itemsize,) * channels, 339: (kind,) * channels, 277: (channels,)}
    known[262] = (2,) if channels >= 3 else (1,)
    named = {int(name.removeprefix("tag")): values for name, values in tags.items()}
    return tiff([(pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(), known | named)], pixels.shape[:2], order)


def packed(values: Sequence[int], bits: int) -> bytes:
    """Values of ``bits`` bits one after the other, the last byte filled with zeros."""
    text = "".join(format(value, f"0{bits}b") for value in values)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def png16(pixels: NDArray[np.uint16], exif: bytes = b"") -> bytes:
    """A PNG of (H,W), (H,W,2), (H,W,3) or (H,W,4) pixels."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"eXIf", exif)]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
        if data or name == b"IEND"
    )

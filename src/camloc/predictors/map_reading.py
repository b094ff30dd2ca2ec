"""One ready-made score map from a file of another tool: ``.npy``, ``.npz`` with one array, or an 8-bit PNG."""

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.images.headers import MAX_BYTES, check_header, check_pixels
from camloc.data.images.regular import open_regular, read_regular

_WIDEST = np.dtype(np.float64).itemsize
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    *(ValueError, TypeError, TokenError, MemoryError, EOFError, RuntimeError, OSError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""All that a damaged header or archive raises, by the place of the damage."""


def read_map(path: Path) -> Tensor:
    """Read a file of one map, see :meth:`MapFolder.load`.

    Raises:
        ValueError: If it is no regular file, does not hold one map of numbers, is cut off, or its header states more
            than :data:`~camloc.data.images.headers.MAX_PIXELS`, before they are read; the message names it.
    """
    try:
        array = {".npy": _read_npy, ".npz": _read_npz, ".png": _read_png}[path.suffix](path)
    except _OtherArrayError as error:
        raise ValueError(f"{path} {error}") from None
    except _DAMAGE as error:
        raise ValueError(f"{path} cannot be read as a map, or is cut off: {error}") from None
    plane = array.reshape(_plane(array.shape))
    if plane.dtype == np.uint8:
        return torch.from_numpy(plane.astype(np.float32) / 255)
    return torch.from_numpy(np.ascontiguousarray(plane, dtype=np.result_type(plane.dtype, np.float32)))


def check_npy(path: Path) -> None:
    """Refuse a ``.npy`` file that holds no map, by its header and length: the values are not read.

    Raises:
        ValueError: Naming the file and what is wrong with it.
    """
    try:
        with open_regular(path) as file:
            shape, dtype = _read_header(file)
            missing = math.prod(shape) * dtype.itemsize - (path.stat().st_size - file.tell())
        _check_kind(shape, dtype)
    except _OtherArrayError as error:
        raise ValueError(f"{path} {error}") from None
    except _DAMAGE as error:
        raise ValueError(f"{path} cannot be read as a map: {error}") from None
    if missing > 0:
        raise ValueError(f"{path} is cut off: {missing} bytes are missing")


class _OtherArrayError(ValueError):
    """A whole array that is no map; the file is not named."""


def _read_npy(path: Path) -> NDArray[np.generic]:
    with open_regular(path, MAX_BYTES) as file:
        return _read_array(file)


def _read_npz(path: Path) -> NDArray[np.generic]:
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) != 1:
            raise ValueError(f"it holds {len(members)} arrays instead of one map")
        if members[0].compress_type not in _COMPRESSIONS:
            raise ValueError("it is compressed as NumPy does not compress")
        if members[0].file_size > MAX_BYTES:
            raise ValueError(f"it unpacks to {members[0].file_size:,} bytes, and {MAX_BYTES:,} are the most")
        with archive.open(members[0]) as member:
            array = _read_array(member)
            if member.read(1):  # at its end, the checksum is compared
                raise ValueError("it holds more than an array")
            return array


def _read_array(file: IO[bytes]) -> NDArray[np.generic]:
    """Return what follows a header that is one of a map; unlike np.load never an archive or a pickle."""
    start = file.tell()
    _check_kind(*_read_header(file))
    file.seek(start)
    array: NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    return shape, dtype


def _read_png(path: Path) -> NDArray[np.generic]:
    encoded = read_regular(path, MAX_BYTES)
    check_header(io.BytesIO(encoded))
    levels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None:
        raise ValueError("it is no PNG")
    _check_kind(levels.shape, levels.dtype)
    return np.asarray(levels)


def _plane(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop a channel of one, first or last."""
    if len(shape) == len("HWC") and 1 in (shape[0], shape[-1]):
        return shape[1:] if shape[0] == 1 else shape[:-1]
    return shape


def _check_kind(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    plane = _plane(shape)
    if len(plane) != len("HW") or min(plane) < 1:
        raise _OtherArrayError(f"has shape {shape}; a score map is (height, width), at least (1, 1)")
    check_pixels(plane[1], plane[0])
    if dtype != np.uint8 and (dtype.kind != "f" or dtype.itemsize > _WIDEST):
        raise _OtherArrayError(f"holds {dtype}; save float16, float32, float64 or uint8")

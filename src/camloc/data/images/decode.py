"""Image files to tensors: simplejpeg and OpenCV for speed, Pillow for the rest; truncated files are errors."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import cv2
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from camloc.data.images.deep import StoredImage, read_stored, share_outside, shown
from camloc.data.images.dicom import DICOM_START, check_dicom, is_dicom, read_dicom
from camloc.data.images.headers import (
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    FixNamed,
    Header,
    check_header,
    open_header,
    tiff_size,
)
from camloc.data.images.intensity import Intensity
from camloc.data.images.regular import open_regular, read_regular
from camloc.data.images.tiff import MAGIC as TIFF
from camloc.data.loading.split import Shrink

_EIGHT_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "La", "RGBa"})
_OPENCV = frozenset({"JPEG", "MPO", "PNG", "BMP", "WEBP", "TIFF", "GIF"})
"""Formats that OpenCV reads first, as it is faster than Pillow."""
_JPEG = b"\xff\xd8\xff"
_FILL, _SCAN, _END, _EXIF = 0xFF, 0xDA, b"\xff\xd9", b"Exif\0\0"
_COLOURS = frozenset({"YCbCr", "Gray"})
_SIDEWAYS = frozenset({5, 6, 7, 8})
_TURNS: dict[int, Callable[[NDArray[Any]], cv2.typing.MatLike]] = {  # by EXIF's orientation
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}

REMEDY = "; replace the file, or remove it from the data set"
"""End of the message of a file that cannot be read."""
Pixel = TypeVar("Pixel", bound=np.generic)


def read_image(path: Path, shrink: Shrink | None = None, intensity: Intensity | None = None) -> Tensor:
    """Decode an image file, upright where EXIF says that it was taken rotated.

    Alpha is dropped, more than 8 bits are scaled to 8, and an animation gives its first frame. Not torchvision's
    decoders: they are deprecated, and no faster.

    Args:
        path: In one of :data:`~camloc.data.images.headers.FORMATS`, or DICOM, whatever its extension.
        shrink: Allows a JPEG to be decoded smaller, which halves the time for a photograph of twelve million pixels;
            its sides are rounded up. Null decodes every pixel.
        intensity: What becomes black to white of an image with more than 8 bits per channel; null takes the range of
            the file's type.

    Returns:
        (3,H,W) uint8 RGB, laid out in memory row by row and pixel by pixel, as decoders write and ``cv2.resize`` reads;
        a grayscale image has three equal channels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty, cut off, no regular file, or in a format that is not read; if its header states
            more than :data:`~camloc.data.images.headers.MAX_PIXELS`, before anything is decoded; if the range of its
            values is not known, or a value lies outside.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (3, 2), (200, 10, 30)).save(Path(folder, "red.png"))
        ...     image = read_image(Path(folder, "red.png"))
        >>> image.shape, image[:, 0, 0].tolist()
        (torch.Size([3, 2, 3]), [200, 10, 30])
    """
    encoded = read_regular(path, MAX_BYTES)
    if not encoded:
        raise _unreadable(path, "it is empty")
    image: NDArray[np.uint8] | None = None
    if encoded.startswith(_JPEG):
        scan = _scan_of_whole_jpeg(encoded)
        if scan is None:
            raise _unreadable(path, f"the JPEG is cut off after {len(encoded)} bytes")
        image = _by_simplejpeg(path, encoded, _jpeg_orientation(encoded[:scan]), shrink)
    if image is None:
        image = _by_header(path, encoded, intensity)
    return torch.from_numpy(image).permute(2, 0, 1)


def read_clipped_image(path: Path, intensity: Intensity | None) -> tuple[Tensor, float]:
    """Decode an image as :func:`read_image` does, but for values outside of a sampled range: they are black or white.

    Returns:
        The image, and the share of its values that lie outside of a sampled range, in [0,1].

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: See :func:`read_image`.
    """
    if intensity is None or intensity.is_given or not is_deep(path):
        return read_image(path, intensity=intensity), 0.0
    stored = read_stored_image(path)
    outside = share_outside(stored, intensity)
    with _problems_of(path):
        pixels = shown(stored, intensity._replace(is_given=True) if outside else intensity)
    return torch.from_numpy(pixels).permute(2, 0, 1), outside


def is_deep(path: Path) -> bool:
    """Whether a file has more than eight bits per channel or is DICOM, by its header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: See :func:`check_image`.
    """
    with open_regular(path, MAX_BYTES) as file:
        header = _check(path, file)
        return header is None or header.is_deep


def read_stored_image(path: Path) -> StoredImage:
    """Return an image for which :func:`is_deep` holds, as it is stored.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: See :func:`read_image`.
    """
    encoded = read_regular(path, MAX_BYTES)
    return _stored(path, encoded, _check(path, io.BytesIO(encoded)))


def read_image_size(path: Path) -> tuple[int, int]:
    """Return the ``(height, width)`` that ``read_image`` will give, from the file's header alone.

    A valid header does not mean that the pixels can be read.

    Args:
        path: In one of :data:`~camloc.data.images.headers.FORMATS`, or DICOM, whatever its extension.

    Returns:
        ``(height, width)``, pixels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or the header cannot be read or states more than
            :data:`~camloc.data.images.headers.MAX_PIXELS`.
    """
    with open_regular(path) as file:
        start = file.read(DICOM_START)
        file.seek(0)
        with _problems_of(path):
            if is_dicom(start):
                return check_dicom(file)
            if start.startswith(TIFF):
                return tiff_size(file)
        with _opened(path, file) as image:
            width, height = image.size
            return (width, height) if _orientation(image.info.get("exif", b"")) in _SIDEWAYS else (height, width)


def check_image(path: Path) -> None:
    """Refuse what :func:`read_image` refuses by the header alone: no pixel is decoded.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, in a format that is not read, or states more than
            :data:`~camloc.data.images.headers.MAX_PIXELS`.
    """
    with open_regular(path, MAX_BYTES) as file:
        _check(path, file)


def _scan_of_whole_jpeg(encoded: bytes) -> int | None:
    """Return where the pixels begin; null where no end marker follows, since OpenCV would fill the rest with grey.

    The segments before the pixels are skipped, since a thumbnail in one of them has its own end marker. Bytes after the
    end are harmless, and some ImageNet images have them.
    """
    position = len(_JPEG) - 1
    while 0 <= (position := encoded.find(b"\xff", position)) < len(encoded) - 3:
        marker = encoded[position + 1]
        if marker == _SCAN:
            return position if encoded.rfind(_END, position) >= 0 else None
        length = int.from_bytes(encoded[position + 2 : position + 4])
        position += 1 if marker == _FILL else 2 + length
    return None


def _by_simplejpeg(path: Path, encoded: bytes, orientation: int, shrink: Shrink | None) -> NDArray[np.uint8] | None:
    """Return the (H,W,3) RGB that OpenCV gives, in nine tenths of its time; null for what the others read or refuse."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
        if colours not in _COLOURS or width * height > MAX_PIXELS:
            return None
        factor = 1 if shrink is None else shrink((width, height) if orientation in _SIDEWAYS else (height, width))
        # Given the least sides, the smallest size that has them is decoded.
        pixels = simplejpeg.decode_jpeg(encoded, min_height=-(-height // factor), min_width=-(-width // factor))
    except ValueError as error:  # libjpeg's warnings are errors here; some are harmless
        if "premature end" in str(error).lower():
            raise _unreadable(path, f"the JPEG's pixels end too soon ({error})") from None
        return None
    return _turned(pixels, orientation)


def _jpeg_orientation(header: bytes) -> int:
    """Return EXIF's 1 to 8 from what precedes the pixels."""
    start = header.find(_EXIF)
    return 1 if start < 0 else _orientation(header[start : start + int.from_bytes(header[start - 2 : start]) - 2])


def _turned(pixels: NDArray[Pixel], orientation: int) -> NDArray[Pixel]:
    return np.asarray(_TURNS[orientation](pixels), pixels.dtype) if orientation in _TURNS else pixels


def _by_header(path: Path, encoded: bytes, intensity: Intensity | None) -> NDArray[np.uint8]:
    header = _check(path, io.BytesIO(encoded))
    if header is None or header.is_deep:
        stored = _stored(path, encoded, header)
        with _problems_of(path):
            return shown(stored, intensity)
    image = _by_opencv(encoded, header.format) if header.format in _OPENCV else None
    return _by_pillow(path, encoded) if image is None else image


def _stored(path: Path, encoded: bytes, header: Header | None) -> StoredImage:
    with _problems_of(path):
        if header is None:
            return read_dicom(encoded)
        stored = read_stored(encoded, header)
    if header.format != "PNG":  # a TIFF is upright already
        return stored
    with _opened(path, io.BytesIO(encoded)) as image:
        orientation = _orientation(image.info.get("exif", b""))
    return stored._replace(pixels=_turned(stored.pixels, orientation))


def _by_opencv(encoded: bytes, form: str) -> NDArray[np.uint8] | None:
    """Return (H,W,3) RGB; null where OpenCV refuses, or gets it wrong."""
    if form == "TIFF" and _has_alpha(encoded):
        return None  # it would multiply the colours by alpha
    try:
        image: NDArray[np.uint8] | None = cv2.imdecode(  # type: ignore[assignment] # the flag makes it uint8
            np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB
        )
    except cv2.error:  # broken in a way that it asserts
        return None
    return image


def _has_alpha(encoded: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            return image.has_transparency_data
    except OSError:  # there are kinds that only OpenCV reads
        return False


def _by_pillow(path: Path, encoded: bytes) -> NDArray[np.uint8]:
    with _opened(path, io.BytesIO(encoded)) as image:
        if image.mode not in _EIGHT_BIT:
            raise _unreadable(path, f"its kind of pixels is not read (Pillow's mode {image.mode})")
        orientation = _orientation(image.info.get("exif", b""))
        try:
            rgb = np.array(image.convert("RGB"))
        except Exception as error:
            raise _unreadable(path, str(error)) from error
        return _turned(rgb, orientation)


def _check(path: Path, file: BinaryIO) -> Header | None:
    """Return the header, null for DICOM."""
    start = file.read(DICOM_START)
    file.seek(0)
    with _problems_of(path):
        if is_dicom(start):
            check_dicom(file)
            return None
        return check_header(file)


def _opened(path: Path, file: BinaryIO) -> Image.Image:
    with _problems_of(path):
        return open_header(file)


@contextmanager
def _problems_of(path: Path) -> Iterator[None]:
    """Name the file of what is wrong."""
    try:
        yield
    except FixNamed as error:
        raise ValueError(f"cannot read the image {path}: {error}") from None
    except ValueError as error:
        raise _unreadable(path, str(error)) from None


def _orientation(data: bytes) -> int:
    """Return EXIF's 1 to 8 as OpenCV understands it: XMP does not count, and a TIFF's size is upright already."""
    exif = Image.Exif()
    try:
        exif.load(data)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 # without valid EXIF data nothing is turned
        return 1


def _unreadable(path: Path, reason: str) -> ValueError:
    return ValueError(f"cannot read the image {path}: {reason}{REMEDY}")

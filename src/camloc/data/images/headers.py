"""Headers of image files: the format and the number of pixels, which are checked before anything is decoded."""

import math
import re
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from camloc.data.images.tiff import MAGIC, read_tiff_header

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
"""Pillow's names of the formats that are read, besides DICOM; it would start Ghostscript for an EPS."""
MAX_PIXELS = 178_956_970
"""Most pixels of an image, a mask or a score map that is decoded; it is Pillow's limit too. A file of a few megabytes
can state a hundred times as many, and a decoder would reserve memory for them.
"""
MAX_BYTES = 2**31 - 1
"""Of an image, mask or map file: :data:`MAX_PIXELS` of 12 bytes, as many as decoders count."""
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_JPEG_2000_SIZES = b"\xff\x4f\xff\x51"
PNM_HEADER = re.compile(rb"P([2356])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)" + rb"\s")
"""Of a PGM or PPM: kind, width, height and white."""
EIGHT_BITS = 0xFF
_START = 1 << 16
"""Bytes among which the headers of PNM and JPEG 2000 lie."""


class FixNamed(ValueError):  # noqa: N818 - it is one sort of what is wrong
    """What is wrong with an image, with a fix other than to replace the file."""


class Header(NamedTuple):
    """What decides how an image is decoded."""

    format: str
    """One of :data:`FORMATS`."""
    white: float
    """The most that a channel can hold: 255, more where it has more than eight bits, infinity for floating point."""
    white_is_zero: bool = False
    """Whether small values are bright; of more than eight bits alone, since decoders invert eight bits themselves."""

    @property
    def is_deep(self) -> bool:
        """Whether a channel has more than eight bits, so that a range of its values must be chosen."""
        return self.white > EIGHT_BITS


def check_pixels(width: int, height: int) -> None:
    """Refuse a size that is too large to decode.

    Raises:
        ValueError: Giving the size and the limit; the file is not named.

    Example:
        >>> check_pixels(20_000, 20_000)
        Traceback (most recent call last):
        ValueError: it is 20000 by 20000 pixels, and 178,956,970 are the most that are decoded
    """
    if width * height > MAX_PIXELS:
        raise ValueError(f"it is {width} by {height} pixels, and {MAX_PIXELS:,} are the most that are decoded")


def open_header(file: BinaryIO) -> Image.Image:
    """Return an image of which only the header was read.

    Raises:
        ValueError: If it is in none of :data:`FORMATS`, or states too many pixels; the file is not named.
    """
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError("it is cut off, or in none of the formats " + ", ".join(FORMATS)) from None
    except Exception as error:  # Pillow raises whatever a broken header provokes
        raise ValueError(str(error)) from error
    check_pixels(*image.size)
    return image


def check_header(file: BinaryIO) -> Header:
    """Refuse a file in another format or with too many pixels, before a decoder reserves memory for it.

    OpenCV reads more formats, and six times as many pixels.

    Args:
        file: At its start.

    Returns:
        What decides how it is decoded.

    Raises:
        ValueError: If it is in none of :data:`FORMATS`, states too many pixels, or is a TIFF of several pages; the file
            is not named.
    """
    start = file.read(len(_PNG) + 9)
    file.seek(0)
    if start.startswith(_PNG):  # in a tenth of Pillow's time, which is as long as decoding a small image
        check_pixels(int.from_bytes(start[16:20]), int.from_bytes(start[20:24]))
        return Header("PNG", 0xFFFF if start[24:25] == b"\x10" else EIGHT_BITS)
    if start.startswith(MAGIC):  # OpenCV reads kinds that Pillow does not know
        return _tiff(file)
    image = open_header(file)
    form, white = str(image.format), math.inf if image.mode == "F" else EIGHT_BITS
    if form in _STATED and white == EIGHT_BITS:
        file.seek(0)
        white = _STATED[form](file.read(_START))
    return Header(form, white)


def tiff_size(file: BinaryIO) -> tuple[int, int]:
    """Return the ``(height, width)`` of a TIFF's first page as it is shown, of kinds that Pillow does not know too.

    Raises:
        ValueError: If the header is cut off or states too many pixels; the file is not named.
    """
    page = read_tiff_header(file)
    check_pixels(page.width, page.height)
    return (page.width, page.height) if page.is_sideways else (page.height, page.width)


def _tiff(file: BinaryIO) -> Header:
    page = read_tiff_header(file)
    check_pixels(page.width, page.height)
    if page.pages > 1:
        raise FixNamed(f"it is a TIFF of {page.pages} pages; save each page that matters as a file of its own")
    return Header("TIFF", math.inf if page.is_float else max(2**page.bits - 1, EIGHT_BITS), page.white_is_zero)


def _pnm_white(start: bytes) -> int:
    """Return the white that a PPM or PGM states; 255 for one of at most eight bits, which Pillow scales."""
    header = PNM_HEADER.match(start)
    return EIGHT_BITS if header is None else max(int(header[4]), EIGHT_BITS)


def _jpeg_2000_white(start: bytes) -> int:
    place = start.find(_JPEG_2000_SIZES)
    depths = start[place + 42 : place + 43] if place >= 0 else b""  # of the first channel, less one
    return max(2 ** ((depths[0] & 0x7F) + 1) - 1, EIGHT_BITS) if depths else EIGHT_BITS


_STATED = {"PPM": _pnm_white, "JPEG2000": _jpeg_2000_white}

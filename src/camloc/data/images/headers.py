"""Headers of image files: the format and the number of pixels, which are checked before anything is decoded."""

import struct
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")  # Pillow would start Ghostscript for an EPS
MAX_PIXELS = 178_956_970
"""Most pixels of an image, a mask or a score map that is decoded; it is Pillow's limit too. A file of a few megabytes
can state a hundred times as many, and a decoder would reserve memory for them.
"""
MAX_BYTES = 2**31 - 1
"""Of an image, mask or map file: :data:`MAX_PIXELS` of 12 bytes, as many as decoders count."""
TIFF = (b"II*\0", b"MM\0*")
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3


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


def check_header(file: BinaryIO) -> None:
    """Refuse a file in another format or with too many pixels, before a decoder reserves memory for it.

    OpenCV reads more formats, and six times as many pixels.

    Args:
        file: At its start.

    Raises:
        ValueError: If it is in none of :data:`FORMATS`, or states too many pixels; the file is not named.
    """
    start = file.read(len(_PNG) + 8)
    file.seek(0)
    if start.startswith(_PNG):  # in a tenth of Pillow's time, which is as long as decoding a small image
        check_pixels(int.from_bytes(start[16:20]), int.from_bytes(start[20:24]))
    elif start.startswith(TIFF):  # OpenCV reads kinds that Pillow does not know
        check_pixels(*_tiff_size(file, "<" if start.startswith(b"II") else ">"))
    else:
        open_header(file)


def _tiff_size(file: BinaryIO, order: str) -> tuple[int, int]:
    """Return the largest width and height that the first directory states, as decoders differ in which they take."""
    sides = {_TIFF_WIDTH: 0, _TIFF_HEIGHT: 0}
    try:
        (offset,) = struct.unpack(f"{order}4xI", file.read(8))
        file.seek(offset)
        (count,) = struct.unpack(f"{order}H", file.read(2))
        for tag, kind, _, value in struct.iter_unpack(f"{order}HHI4s", file.read(12 * count)):
            if tag in sides:
                (side,) = struct.unpack(f"{order}H2x" if kind == _TIFF_SHORT else f"{order}I", value)
                sides[tag] = max(sides[tag], side)
    except struct.error:
        raise ValueError("its header is cut off") from None
    return sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT]

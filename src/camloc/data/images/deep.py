"""Images with more than eight bits per channel, as they are stored."""

import io
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camloc.data.images.headers import FORMATS, PNM_HEADER, FixNamed, Header
from camloc.data.images.intensity import Intensity, to_levels

_PACKED = frozenset({0x3FF, 0xFFF, 0x3FFF})
SIXTEEN_BITS = 0xFFFF
_GREY = 2
"""Dimensions of pixels without channels."""


class StoredImage(NamedTuple):
    """Stored values and what they mean."""

    pixels: NDArray[np.generic]
    """(H,W) or (H,W,3), whole numbers or floating point; upright."""
    black: float
    """The least that its type holds."""
    white: float
    """The most that its type holds."""
    is_inverted: bool = False
    """Whether small values are bright."""
    levels: NDArray[np.uint8] | None = None
    """The same shape, as the file itself says that it is to be shown; null where it says nothing."""


def read_stored(encoded: bytes, header: Header) -> StoredImage:
    """Decode a whole file of more than eight bits per channel.

    Args:
        encoded: The file.
        header: What :func:`~camloc.data.images.headers.check_header` said of it.

    Raises:
        ValueError: If it cannot be decoded; the file is not named.
    """
    if header.format == "PPM":
        pixels = _by_pillow(encoded) if math.isinf(header.white) else _pnm(encoded, header.white)
    elif header.format == "JPEG2000":
        pixels = _by_pillow(encoded)
        if pixels.dtype != np.uint16:
            raise ValueError("it is a JPEG 2000 in colour with more than eight bits; save it as a 16-bit PNG or TIFF")
    else:
        pixels = _by_opencv(encoded)
    is_packed = header.format == "TIFF" and header.white in _PACKED
    if is_packed or header.format == "JPEG2000":  # decoders move them up to sixteen bits
        pixels = pixels.astype(np.uint16) >> np.uint16(16 - int(header.white).bit_length())
    is_signed = np.issubdtype(pixels.dtype, np.signedinteger)
    black = -(header.white + 1) / 2 if is_signed else 0
    return StoredImage(pixels, black, black + header.white, header.white_is_zero)


def shown(stored: StoredImage, intensity: Intensity | None) -> NDArray[np.uint8]:
    """Take stored values to 0..255.

    Args:
        stored: An image.
        intensity: The range that becomes black to white; null takes all that the image's type holds.

    Returns:
        (H,W,3) RGB.

    Raises:
        FixNamed: If a value lies outside a range that was read off a sample, or the range is not known.
    """
    pixels = stored.pixels
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise FixNamed(f"{count} of its values are no finite numbers; replace them by a value, or leave the image out")
    if stored.levels is not None and not (intensity and intensity.is_given):
        levels = stored.levels
    elif intensity is None:
        if not np.isfinite(stored.white):
            low, high = _ends(pixels)
            raise FixNamed(
                f"its pixels are floating point, here from {low:g} to {high:g}, which has no full range; give the "
                f"range of the data set's values, such as {suggested(low, high)}"
            )
        levels = to_levels(pixels, stored.black, stored.white)
    else:
        if not intensity.is_given:
            _refuse_outside(pixels, intensity)
        levels = to_levels(pixels, intensity.low, intensity.high)
    levels = ~levels if stored.is_inverted else levels
    return np.dstack([levels] * 3) if levels.ndim == _GREY else levels


def share_outside(stored: StoredImage, intensity: Intensity) -> float:
    """Return the share of an image's values that lie outside of a range; 0 where it brings a window of its own."""
    if stored.levels is not None:
        return 0.0
    pixels = np.asarray(stored.pixels, np.float64)
    return float(np.mean((pixels < intensity.low) | (pixels > intensity.high)))


def suggested(low: float, high: float) -> str:
    """Return the setting for values from ``low`` to ``high``."""
    return f"datamodule.intensity=[{low:g},{high if high > low else low + 1:g}]"


def _refuse_outside(pixels: NDArray[np.generic], intensity: Intensity) -> None:
    low, high = _ends(pixels)
    if low < intensity.low or high > intensity.high:
        value = low if low < intensity.low else high
        raise FixNamed(
            f"it has the value {value:g}, outside of {intensity.low:g} to {intensity.high:g}, which the sampled "
            "training images use; set datamodule.intensity=full, or the range of all images, such as "
            f"{suggested(min(low, intensity.low), max(high, intensity.high))}"
        )


def _ends(pixels: NDArray[np.generic]) -> tuple[float, float]:
    return float(pixels.min()), float(pixels.max())


def _by_opencv(encoded: bytes) -> NDArray[np.generic]:
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(str(error.err)) from None
    if pixels is None:
        raise ValueError("it is cut off, or of a kind that is not read; save it as an uncompressed 16-bit TIFF or PNG")
    return pixels if pixels.ndim == _GREY else np.ascontiguousarray(pixels[..., 2::-1])  # without alpha


def _by_pillow(encoded: bytes) -> NDArray[np.generic]:
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            return np.array(image)
    except Exception as error:  # Pillow raises whatever a broken file provokes
        raise ValueError(str(error)) from error


def _pnm(encoded: bytes, white: float) -> NDArray[np.uint16]:
    """Not by OpenCV, which cuts what is above white, nor by Pillow, which scales it."""
    header = PNM_HEADER.match(encoded)
    if header is None or white > SIXTEEN_BITS:
        raise ValueError("its header is broken")
    kind, width, height = (int(header[i]) for i in (1, 2, 3))
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    total, pixels = math.prod(shape), encoded[header.end() :]
    if kind in (5, 6):
        values = np.frombuffer(pixels[: 2 * total], ">u2") if len(pixels) >= 2 * total else np.zeros(0, np.uint16)
    else:
        values = np.array([int(token[:7]) for token in pixels.split(maxsplit=total)[:total]])
    if len(values) < total:
        raise ValueError("it is cut off")
    if values.max() > white:
        raise ValueError(f"it has the value {values.max()}, and its header says that {white} is white")
    return values.astype(np.uint16).reshape(shape)

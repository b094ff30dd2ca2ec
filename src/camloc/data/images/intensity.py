"""From stored values of more than eight bits to 0..255: one range for a whole data set."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
WHOLE_BITS = (8, 10, 12, 14, 16)
"""Of sensors; the smallest that hold all values are taken."""


class Intensity(NamedTuple):
    """The range of stored values that becomes black to white.

    It applies to images with more than eight bits per channel; others stay as they are.
    """

    low: float
    high: float
    is_given: bool
    """Whether a person gave it: values outside are black or white. A range that was read off a sample of images holds
    all values, and one outside is an error. A DICOM file's own window goes before a range that was not given."""


IntensityOption = Literal["auto", "full"] | Sequence[float]
"""``auto``: one range for all, read off training images; ``full``: what each file's type can hold; or a range."""


def given_intensity(option: Any) -> Intensity | None:  # noqa: ANN401 - whatever was configured
    """Return the range that was configured; null for ``auto`` and ``full``.

    Raises:
        ValueError: If it is neither these nor two ascending numbers.

    Example:
        >>> given_intensity([0, 4095])
        Intensity(low=0.0, high=4095.0, is_given=True)
    """
    if option in ("auto", "full"):
        return None
    try:
        low, high = (float(value) for value in option)
    except (TypeError, ValueError):
        low = high = 0.0
    if isinstance(option, str) or not -np.inf < low < high < np.inf:
        raise ValueError(f"datamodule.intensity must be auto, full or two ascending numbers [low,high], found {option}")
    return Intensity(low, high, is_given=True)


def to_levels(pixels: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Cut a range into 256 equal parts and number them; what lies outside is black or white.

    For whole numbers each level has an equal share of them, ``floor(256 (v - low) / (high - low + 1))``, so 16 bits
    keep their upper eight. For floating point it is ``floor(256 (v - low) / (high - low))``.

    Args:
        pixels: Of any shape.
        low: Black.
        high: White.

    Returns:
        The same shape.

    Example:
        >>> to_levels(np.array([0, 15, 16, 4095, 5000], np.uint16), 0, 4095)
        array([  0,   0,   1, 255, 255], dtype=uint8)
        >>> to_levels(np.array([-1, 0, 0.5, 1]), 0, 1)
        array([  0,   0, 128, 255], dtype=uint8)
    """
    if pixels.dtype == np.uint16:  # by a table, in a tenth of the time
        return np.asarray(_levels(np.arange(1 << 16), low, high)[pixels])
    return _levels(pixels, low, high)


def _levels(pixels: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    step = 1 if np.issubdtype(pixels.dtype, np.integer) else 0
    share = (pixels.astype(np.float64) - low) * (LEVELS / (high - low + step))
    return np.asarray(np.clip(np.floor(share), 0, LEVELS - 1), np.uint8)


def whole_bits(highest: float) -> int:
    """Return the largest number of the fewest whole bits (8, 10, 12, 14 or 16) that hold a value of 0 to 65535.

    Example:
        >>> whole_bits(3021)
        4095
    """
    return next((1 << bits) - 1 for bits in WHOLE_BITS if highest < 1 << bits)

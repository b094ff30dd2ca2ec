"""The range of values that a data set's images use, read off a sample of them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.images.decode import is_deep, read_stored_image
from camloc.data.images.deep import SIXTEEN_BITS, StoredImage, suggested
from camloc.data.images.intensity import Intensity, whole_bits
from camloc.data.images.suffixes import ALWAYS_EIGHT_BITS

NUM_NAMES = 20_000
"""Files whose names are looked at."""
NUM_HEADERS = 256
"""Of these, files whose headers are read."""
NUM_DECODED = 64
"""Of these, images with more than eight bits that are decoded."""
MOST = 0.999
"""Share of an image's pixels that are to use a good part of the range."""
DARK = 1 / 8
SEED = 0


class Sampled(NamedTuple):
    """What the sample showed."""

    intensity: Intensity
    note: str | None
    """For the summary before a run; null where no image has more than eight bits."""


def sample_files(names: NDArray[np.bytes_]) -> list[str]:
    """Draw the files whose headers are read, by their number alone; those of formats with eight bits are left out.

    Args:
        names: (N,) in the file system's bytes.

    Example:
        >>> sorted(sample_files(np.array([b"1.JPG", b"2.png", b"3.tif"])))
        ['2.png', '3.tif']
    """
    eight_bits = tuple(suffix.encode() for suffix in ALWAYS_EIGHT_BITS)
    drawn = names[np.random.default_rng(SEED).permutation(len(names))[:NUM_NAMES]].tolist()
    return [os.fsdecode(name) for name in drawn if not name.lower().endswith(eight_bits)][:NUM_HEADERS]


def any_is_deep(files: Sequence[Path]) -> bool:
    """Whether an image needs a range to be chosen, by the headers; those that cannot be read do not."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return any(pool.map(_is_deep, files))


def sample_intensity(files: Sequence[Path], images: str) -> Sampled:
    """Choose one range for all images.

    It is what the sampled files state, where all state the same and it is less than sixteen bits; else the fewest whole
    bits that hold the largest value. Files that cannot be read, and DICOM files that say how they are to be shown, do
    not count. Without any other image of more than eight bits the range is 0 to 255.

    Args:
        files: As :func:`sample_files` drew them.
        images: What these are, for messages: ``training images``.

    Raises:
        ValueError: If values are negative, floating point or above 65535: which range they have, and the setting.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        deep = [file for file, is_deep in zip(files, pool.map(_is_deep, files), strict=True) if is_deep]
        found = [image for image in pool.map(_used, deep[:NUM_DECODED]) if image is not None]
    if not found:
        return Sampled(Intensity(0, 255, is_given=False), None)
    low, high = min(image.low for image in found), max(image.high for image in found)
    stated = {image.white for image in found}
    if low < 0 or high > SIXTEEN_BITS or np.inf in stated:
        raise ValueError(
            f"{len(found)} sampled {images} have values from {low:g} to {high:g}, floating point, negative or above "
            f"{SIXTEEN_BITS}, for which datamodule.intensity=auto chooses no range; give that of the data set, such as "
            f"{suggested(low, high)}"
        )
    white = min(stated)
    if len(stated) > 1 or white >= SIXTEEN_BITS:
        white = whole_bits(high)
    note = (
        f"of images with more than 8 bits, 0 to {white:g} becomes black to white (datamodule.intensity=auto; the "
        f"largest value of {len(found)} sampled {images} is {high:g})"
    )
    bright = max(image.most for image in found)
    if bright < DARK * white:
        note += f"; {MOST:.1%} of their pixels are below {bright:g}, so datamodule.intensity=[0,{bright:g}] shows more"
    return Sampled(Intensity(0, white, is_given=False), note)


def _is_deep(file: Path) -> bool:
    try:
        return is_deep(file)
    except (OSError, ValueError):  # reported when it is opened, or left out
        return False


class _Used(NamedTuple):
    low: float
    high: float
    most: float
    white: float


def _used(file: Path) -> _Used | None:
    try:
        stored = read_stored_image(file)
    except (OSError, ValueError):
        return None
    if stored.levels is not None:
        return None
    values = stored.pixels[np.isfinite(stored.pixels)]
    if not values.size:
        return None
    return _Used(float(values.min()), float(values.max()), float(np.quantile(values, MOST)), _white(stored))


def _white(stored: StoredImage) -> float:
    return stored.white if stored.black == 0 else np.inf if np.isinf(stored.white) else SIXTEEN_BITS

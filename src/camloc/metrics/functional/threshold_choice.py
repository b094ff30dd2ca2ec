"""Which CAM threshold is taken where many are equally good."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def middle_of_best(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place of the middle of the longest run of best thresholds.

    A threshold in the middle of many good ones is the one that a change of the images moves least; the first of them
    is next to a worse one. Of runs of equal length the lowest is taken, and of two thresholds in its middle the lower.

    Args:
        scores: (...,T) at ascending thresholds, T at least 1, higher is better; no NaN.

    Returns:
        (...,) places in [0, T), each of a highest score.

    Raises:
        ValueError: If there is no threshold.

    Example:
        >>> int(middle_of_best(np.array([3, 7, 1, 7, 7, 7, 2])))
        4
    """
    if not scores.ndim or not scores.shape[-1]:
        raise ValueError(f"scores has shape {scores.shape}; give (...,T) at one threshold at least")
    places = np.arange(scores.shape[-1])
    is_best = scores == scores.max(axis=-1, keepdims=True)
    last_worse = np.maximum.accumulate(np.where(is_best, -1, places), axis=-1)
    length = places - last_worse  # of the run of best thresholds that ends here
    end = length.argmax(axis=-1)
    longest = np.take_along_axis(length, end[..., None], axis=-1)[..., 0]
    middle: NDArray[np.int64] = end - longest // 2
    return middle

"""Images drawn with repeats, each with all its (image, class) pairs, and what they count.

Pairs of one image are not independent, so that images are drawn as clusters (Davison and Hinkley, Bootstrap Methods and
their Application, 1997, Sec. 3.8). Images without a pair that was counted are not drawn.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from camloc.metrics.checks import check_count

NUM_RESAMPLES = 1000
LEVEL = 0.95
# Images drawn at a time, over all resamples of a chunk: about 30 MB per array.
_CHUNK = 2**22
_EXACT_IN_FLOAT32 = 2**24


def resampled_sums(
    counts: NDArray[np.generic], image_ids: Sequence[str], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    """Sum what each pair counts over resamples of the images.

    Args:
        counts: (N,K) numbers or bools of N pairs, at least one.
        image_ids: (N,) images of the pairs.
        num_resamples: R, at least 1.
        seed: Of the draw, which is the same as in :func:`interval`.

    Returns:
        ``(sums, num_pairs)``: (R,K) exact sums, float32 for bools and float64 otherwise; (R,) pairs drawn, which are N
        where each image has one.

    Raises:
        ValueError: If ``counts`` is not (N,K) of a pair at least, there are not N images, or another argument is no
            such number.

    Example:
        >>> sums, num_pairs = resampled_sums(np.array([[1, 10], [1, 20]]), ["a", "b"], num_resamples=100)
        >>> set(sums[:, 0].tolist()), sorted(set(sums[:, 1].tolist())), set(num_pairs.tolist())
        ({2.0}, [20.0, 30.0, 40.0], {2.0})
        >>> sums, num_pairs = resampled_sums(np.array([[1], [0], [1]]), ["a", "a", "b"], num_resamples=100)
        >>> sorted(set(zip(sums[:, 0].tolist(), num_pairs.tolist())))  # b twice, both, a twice
        [(2.0, 2.0), (2.0, 3.0), (2.0, 4.0)]
    """
    _check_counts(counts, image_ids)
    check_draw(num_resamples, seed)
    images = Images(np.array(image_ids, dtype=np.str_))
    test_draw, _ = np.random.default_rng(seed).spawn(2)
    # Half the memory where it is exact: up to 2^24 hits.
    is_small = counts.dtype == bool and len(counts) < _EXACT_IN_FLOAT32
    numbers = images.sums(counts.astype(np.float32 if is_small else np.float64))
    sums, num_pairs = [], []
    for size in chunk_sizes(num_resamples, images.count):
        times = times_drawn(images.count, size, test_draw)
        sums.append(times.astype(numbers.dtype) @ numbers)
        num_pairs.append(times @ images.num_pairs)
    return np.concatenate(sums), np.concatenate(num_pairs)


def resampled_class_means(
    hits: NDArray[np.bool_],
    image_ids: Sequence[str],
    classes: NDArray[np.int64],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    r"""Average the share of hits over classes, in resamples of the images.

    .. math:: \frac{1}{C} \sum_c \frac{\#Hits_c}{\#Pairs_c}

    A class of which a resample has no pair is left out of that resample's mean.

    Args:
        hits: (N,K) of N pairs, at least one.
        image_ids: (N,) images of the pairs.
        classes: (N,) their classes, 0-based.
        num_resamples: R, at least 1.
        seed: Of the draw, which is the same as in :func:`interval`.

    Returns:
        (R,K).

    Raises:
        ValueError: As :func:`resampled_sums`.

    Example:
        >>> hits, classes = np.array([[True], [False], [False]]), np.array([0, 1, 1])
        >>> means = resampled_class_means(hits, ["a", "a", "b"], classes, num_resamples=100)
        >>> sorted(set(means[:, 0].tolist()))  # b twice; a, with or without b
        [0.0, 0.5]
    """
    _check_counts(hits, image_ids)
    check_draw(num_resamples, seed)
    images = Images(np.array(image_ids, dtype=np.str_))
    order = np.argsort(classes, kind="stable")
    of_image, ordered = images.of_pair[order], hits[order]
    _, starts = np.unique(classes[order], return_index=True)
    test_draw, _ = np.random.default_rng(seed).spawn(2)
    means = []
    for size in chunk_sizes(num_resamples, len(hits)):
        times = times_drawn(images.count, size, test_draw)[:, of_image]
        pairs = np.add.reduceat(times, starts, axis=1)
        found = [np.add.reduceat(times * column, starts, axis=1) for column in ordered.T]
        with np.errstate(invalid="ignore"):  # a class that was not drawn
            means.append(np.stack([np.nanmean(one / pairs, axis=1) for one in found], axis=1))
    return np.concatenate(means)


def percentiles(resampled: NDArray[np.floating]) -> tuple[float, float]:
    """Return the ends of the 95% interval of (R,) resampled numbers.

    Raises:
        ValueError: If ``resampled`` is not (R,), or holds no number.

    Example:
        >>> [round(end, 6) for end in percentiles(np.arange(101.0))]
        [2.5, 97.5]
    """
    if resampled.ndim != 1 or not len(resampled):
        raise ValueError(f"resampled has shape {resampled.shape}; give (R,) with one number at least")
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


class Images:
    """Which of P pairs belong to one image; images stand in the order of their first pair.

    Args:
        image_ids: (P,) of each pair.
    """

    def __init__(self, image_ids: NDArray[np.str_]) -> None:
        _, first, inverse = np.unique(image_ids, return_index=True, return_inverse=True)
        self.count = len(first)
        place = np.empty(self.count, dtype=np.int64)
        place[np.argsort(first)] = np.arange(self.count)
        self.of_pair: NDArray[np.int64] = place[inverse]
        """(P,) place of each pair's image."""
        self.num_pairs: NDArray[np.float64] = np.bincount(self.of_pair, minlength=self.count).astype(np.float64)
        """(N,)."""

    def sums(self, counts: NDArray[np.floating]) -> NDArray[np.floating]:
        """Add up (P,...) numbers of pairs to (N,...) of images."""
        if self.count == len(counts):
            return counts  # each image has one pair, and they stand in the same order
        order = np.argsort(self.of_pair, kind="stable")
        starts = np.append(0, np.cumsum(self.num_pairs)[:-1]).astype(np.int64)
        return np.add.reduceat(counts[order], starts, axis=0)


def chunk_sizes(num_resamples: int, num_drawn: int) -> list[int]:
    """Return how many resamples to make at a time."""
    chunk = max(1, _CHUNK // num_drawn)
    return [min(chunk, num_resamples - start) for start in range(0, num_resamples, chunk)]


def check_draw(num_resamples: int, seed: int) -> None:
    """Refuse numbers that are none.

    Raises:
        ValueError: Naming the number.
    """
    check_count("num_resamples", num_resamples)
    check_count("seed", seed, at_least=0)


def times_drawn(num_images: int, num_resamples: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return (R,N): how often each image occurs in each resample."""
    drawn = draw.integers(num_images, size=(num_resamples, num_images))
    drawn += num_images * np.arange(num_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _check_counts(counts: NDArray[np.generic], image_ids: Sequence[str]) -> None:
    if counts.ndim != len("NK") or not len(counts):
        raise ValueError(f"counts has shape {counts.shape}; give (N,K) for one image at least")
    if len(image_ids) != len(counts):
        raise ValueError(f"counts has shape {counts.shape}, and there are {len(image_ids)} image_ids")

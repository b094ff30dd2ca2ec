"""How much an error would vary with the images: percentile bootstrap intervals (Efron, Annals of Statistics 1979).

Resampling draws as many images as there are, with repeats. A CAM threshold that was chosen on data is chosen again in
each resample, so the interval includes the uncertainty of that choice. It does not include the variation between
trainings with different seeds.

Where images have several classes, an image is drawn with all its (image, class) pairs, see
:mod:`camloc.metrics.functional.resampling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from camloc.metrics.functional.localization import Condition
from camloc.metrics.functional.per_image import PerImage, hits, pair_names
from camloc.metrics.functional.resampling import (
    NUM_RESAMPLES,
    Images,
    check_draw,
    chunk_sizes,
    percentiles,
    times_drawn,
)
from camloc.metrics.functional.threshold_choice import middle_of_best

Select = Literal["fixed", "val", "oracle"]
"""Where a CAM threshold comes from: fixed beforehand, the best on val, the best on the images it is reported on."""


@dataclass(frozen=True)
class Interval:
    """An error, or a difference of two, with its 95% interval; fractions.

    Example:
        >>> Interval(0.02, -0.01, 0.05).excludes_zero
        False
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is significantly different from zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Outcome:
    """Which pairs were hit, and how the threshold was chosen that they are reported at.

    There are N pairs, one per image unless images have several classes.

    Raises:
        ValueError: If there is no image or the shapes do not fit.

    Example:
        >>> Outcome(np.array(["a", "b"]), np.array([True, False])).error
        0.5
    """

    image_ids: NDArray[np.str_]
    """(N,)."""
    hits: NDArray[np.bool_]
    """(N,) when the threshold is fixed or the number has no threshold, else (N,T), thresholds ascending."""
    select: Select = "fixed"
    choice_hits: NDArray[np.bool_] | None = None
    """The hits that the threshold is chosen by: (V,T) on val images, or (N,T) on the same images for an oracle."""
    choice_ids: NDArray[np.str_] | None = None
    """(V,) val images; None unless ``select`` is ``val``."""
    classes: NDArray[np.int64] | None = None
    """(N,) the pairs' classes, which tell pairs of one image apart; None where each image has one pair."""
    choice_classes: NDArray[np.int64] | None = None
    """(V,) likewise on val."""

    def __post_init__(self) -> None:
        chosen_on = {"fixed": None, "oracle": self.image_ids, "val": self.choice_ids}[self.select]
        wanted = None if chosen_on is None else (len(chosen_on), *self.hits.shape[1:])
        found = None if self.choice_hits is None else self.choice_hits.shape
        axes = 1 if self.select == "fixed" else 2
        if (
            self.hits.ndim != axes
            or len(self.hits) != len(self.image_ids)
            or found != wanted
            or (self.choice_ids is None) == (self.select == "val")
        ):
            raise ValueError(
                f"select={self.select!r} with {len(self.image_ids)} image_ids needs hits with {axes} axes and "
                f"choice_hits {wanted}, got hits {self.hits.shape}, choice_hits {found} and "
                f"{'no' if self.choice_ids is None else len(self.choice_ids)} choice_ids"
            )
        if not len(self.image_ids) or (chosen_on is not None and not len(chosen_on)):
            raise ValueError("an interval needs images to resample, got none")

    @property
    def num_hits(self) -> int:
        """Hits at the fixed threshold, or at the one that is chosen by ``choice_hits``; see ``middle_of_best``."""
        if self.choice_hits is None:
            return int(self.hits.sum())
        return int(self.hits[:, middle_of_best(self.choice_hits.sum(axis=0))].sum())

    @property
    def error(self) -> float:
        """The fraction of pairs that are not hits."""
        return 1 - self.num_hits / len(self.image_ids)


def localization_outcome(
    test: PerImage,
    condition: Condition,
    select: Select,
    *,
    iou_threshold: float,
    cam_threshold: float | None = None,
    val: PerImage | None = None,
) -> Outcome:
    """Collect what a localization error is counted from; a threshold is chosen by the GT-known hits.

    Args:
        test: The images that the error is reported on.
        condition: Which error.
        select: Where the threshold comes from.
        iou_threshold: Fraction.
        cam_threshold: The threshold for ``fixed``, otherwise ignored.
        val: The images it is chosen on for ``val``, otherwise ignored.

    Raises:
        ValueError: If the threshold was not measured, or val was measured at others than test.

    Example:
        >>> ids, rank, iou = np.array(["a", "b"]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]])
        >>> test = PerImage(ids, rank, rank, iou, np.array([0.1, 0.2]))
        >>> interval(localization_outcome(test, "top1", "oracle", iou_threshold=0.5)).value
        0.5
    """
    reported = hits(test, condition, iou_threshold)
    if select == "fixed":
        if cam_threshold is None:
            raise ValueError("a fixed CAM threshold must be given")
        return Outcome(test.image_ids, reported[:, test.threshold_index(cam_threshold)], classes=test.target)
    if select == "oracle":
        return Outcome(test.image_ids, reported, select, hits(test, "gt_known", iou_threshold), classes=test.target)
    if val is None or not np.array_equal(val.cam_thresholds, test.cam_thresholds):
        raise ValueError("a threshold chosen on val needs val images measured at the same thresholds as test")
    choice = hits(val, "gt_known", iou_threshold)
    return Outcome(test.image_ids, reported, select, choice, val.image_ids, test.target, val.target)


def interval(outcome: Outcome, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Interval:
    """Return an error with its 95% percentile bootstrap interval over images.

    Of the thresholds with the most hits the middle of the longest run is chosen. The interval of an oracle is as
    optimistic as the oracle itself. Where all images are hits, or none, the interval has no width.

    Args:
        outcome: Of N images.
        num_resamples: How many, at least 1.
        seed: Of the draw; the same seed draws the same images.

    Raises:
        ValueError: If ``num_resamples`` or ``seed`` is no such number.

    Example:
        >>> ids = np.arange(100).astype(str)
        >>> error = interval(Outcome(ids, np.arange(100) < 60))
        >>> error.value, round(error.low, 2), round(error.high, 2)  # about 1.96 * sqrt(0.4 * 0.6 / 100) either way
        (0.4, 0.31, 0.5)
    """
    (resampled,), num_pairs = _resampled_hits([outcome], num_resamples, seed)
    return Interval(outcome.error, *percentiles(1 - resampled / num_pairs))


def paired_difference(a: Outcome, b: Outcome, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Interval:
    """Return the error of ``a`` minus the error of ``b``, with its interval over the images of both runs.

    Both are counted on the same resampled images, so that images which are hard for both cancel out.

    Args:
        a: Outcome of one run.
        b: Outcome of the other, on the same pairs in any order; on the same val pairs where both chose on val.
        num_resamples: How many.
        seed: Of the draw.

    Raises:
        ValueError: If the images differ; the message names some of them.

    Example:
        >>> ids, ranks = np.arange(100).astype(str), np.arange(100)
        >>> difference = paired_difference(Outcome(ids, ranks < 60), Outcome(ids[::-1], ranks[::-1] < 75))
        >>> round(difference.value, 2), difference.excludes_zero
        (0.15, True)
    """
    _check_same_images("test", _named(a.image_ids, a.classes), _named(b.image_ids, b.classes))
    if a.choice_ids is not None and b.choice_ids is not None:
        _check_same_images("val", _named(a.choice_ids, a.choice_classes), _named(b.choice_ids, b.choice_classes))
    (hits_a, hits_b), num_pairs = _resampled_hits([_sorted_by_id(a), _sorted_by_id(b)], num_resamples, seed)
    # Counts are subtracted before they are divided: equal runs differ by exactly 0.
    return Interval((b.num_hits - a.num_hits) / len(a.image_ids), *percentiles((hits_b - hits_a) / num_pairs))


def _resampled_hits(
    outcomes: Sequence[Outcome], num_resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the hits of each outcome on the same resamples, (O,R), and the pairs drawn, (R,); whole numbers."""
    check_draw(num_resamples, seed)
    images = Images(outcomes[0].image_ids)
    chosen_on = [None if outcome.choice_ids is None else Images(outcome.choice_ids) for outcome in outcomes]
    num_val = max(0 if val is None else val.count for val in chosen_on)
    clustered = [_Clustered.of(outcome, images, val) for outcome, val in zip(outcomes, chosen_on, strict=True)]
    test_draw, val_draw = np.random.default_rng(seed).spawn(2)
    counted, num_pairs = [], []
    for size in chunk_sizes(num_resamples, max(images.count, num_val)):
        test_times = times_drawn(images.count, size, test_draw)
        val_times = times_drawn(num_val, size, val_draw)
        counted.append([_at_choice(outcome, test_times, val_times) for outcome in clustered])
        num_pairs.append(test_times @ images.num_pairs)
    return np.concatenate(counted, axis=1), np.concatenate(num_pairs)


class _Clustered(NamedTuple):
    """An outcome's hits of whole images."""

    hits: NDArray[np.floating]
    """(N,) or (N,T)."""
    choice_hits: NDArray[np.floating] | None
    """(N,T) or (V,T)."""
    select: Select

    @classmethod
    def of(cls, outcome: Outcome, images: Images, val: Images | None) -> Self:
        """Add up an outcome's pairs."""
        hits, choice_hits = outcome.hits.astype(np.float64), outcome.choice_hits
        chosen_on = images if val is None else val
        by_image = None if choice_hits is None else chosen_on.sums(choice_hits.astype(np.float64))
        return cls(images.sums(hits), by_image, outcome.select)


def _at_choice(
    outcome: _Clustered, test_times: NDArray[np.float64], val_times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Count the hits of each resample at its own threshold, (R,); float64 holds such sums exactly."""
    # One product per threshold for all resamples: (R,N) times (N,T).
    counts: NDArray[np.float64] = test_times @ outcome.hits
    if outcome.choice_hits is None:
        return counts
    chosen_on = test_times if outcome.select == "oracle" else val_times
    best = middle_of_best(chosen_on @ outcome.choice_hits)
    at_best: NDArray[np.float64] = counts[np.arange(len(best)), best]
    return at_best


def _sorted_by_id(outcome: Outcome) -> Outcome:
    order = _order(outcome.image_ids, outcome.classes)
    choice_hits, choice_ids, choice_classes = outcome.choice_hits, outcome.choice_ids, outcome.choice_classes
    if choice_hits is not None:
        choice_order = order if choice_ids is None else _order(choice_ids, choice_classes)
        choice_hits = choice_hits[choice_order]
        choice_ids = None if choice_ids is None else choice_ids[choice_order]
        choice_classes = None if choice_classes is None else choice_classes[choice_order]
    return replace(
        outcome,
        image_ids=outcome.image_ids[order],
        hits=outcome.hits[order],
        choice_hits=choice_hits,
        choice_ids=choice_ids,
        classes=None if outcome.classes is None else outcome.classes[order],
        choice_classes=choice_classes,
    )


def _order(image_ids: NDArray[np.str_], classes: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the order by image, and by class within one."""
    return np.lexsort((image_ids,) if classes is None else (classes, image_ids))


def _named(image_ids: NDArray[np.str_], classes: NDArray[np.int64] | None) -> NDArray[np.str_]:
    return image_ids if classes is None else pair_names(image_ids, classes)


def _check_same_images(split: str, a: NDArray[np.str_], b: NDArray[np.str_]) -> None:
    if np.array_equal(np.sort(a), np.sort(b)):
        return
    only_a, only_b = np.setdiff1d(a, b), np.setdiff1d(b, a)
    raise ValueError(
        f"the two runs were measured on different {split} images: "
        f"{len(only_a)} only in the first {only_a[:3].tolist()}, {len(only_b)} only in the second {only_b[:3].tolist()}"
    )

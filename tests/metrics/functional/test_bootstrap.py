from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from camloc.metrics.functional import resampling
from camloc.metrics.functional.bootstrap import (
    Interval,
    Outcome,
    Select,
    interval,
    localization_outcome,
    paired_difference,
)
from camloc.metrics.functional.per_image import PerImage

Hits = NDArray[np.bool_]


def ids(count: int) -> NDArray[np.str_]:
    # Numbered so that the order of names is the order of places.
    return np.array([f"{index:04}" for index in range(count)], dtype=np.str_)


def outcome(hits: Any, select: Select = "fixed", choice_hits: Any = None) -> Outcome:  # noqa: ANN401 - lists or arrays
    hits = np.array(hits, dtype=bool)
    if choice_hits is None:
        return Outcome(ids(len(hits)), hits)
    choice_hits = np.array(choice_hits, dtype=bool)
    return Outcome(ids(len(hits)), hits, select, choice_hits, ids(len(choice_hits)) if select == "val" else None)


def random_hits(*shape: int, seed: int) -> Hits:
    return np.random.default_rng(seed).random(shape) < np.linspace(0.3, 0.6, shape[-1])


def middle_of_the_longest_run(scores: list[int]) -> int:
    """Try every run of best thresholds, the longest first and of equal ones the lowest first."""
    best, count = max(scores), len(scores)
    runs = [(first, last) for first in range(count) for last in range(first, count)]
    runs.sort(key=lambda run: run[0] - run[1])
    first, last = next(run for run in runs if set(scores[run[0] : run[1] + 1]) == {best})
    return (first + last) // 2


def plain_hits(one: Outcome, test: NDArray[np.int64], val: NDArray[np.int64]) -> int:
    """Count one resample image by image."""
    if one.choice_hits is None:
        return sum(bool(one.hits[index]) for index in test)
    chosen_on = test if one.select == "oracle" else val
    by_threshold = [sum(bool(one.choice_hits[i, t]) for i in chosen_on) for t in range(one.hits.shape[1])]
    best = middle_of_the_longest_run(by_threshold)
    return sum(bool(one.hits[index, best]) for index in test)


def plain_interval(
    outcomes: list[Outcome], statistic: Callable[[list[int]], float], num_resamples: int, seed: int
) -> tuple[float, float]:
    num_images = len(outcomes[0].image_ids)
    num_val = max(0 if one.choice_ids is None else len(one.choice_ids) for one in outcomes)
    test_draw, val_draw = np.random.default_rng(seed).spawn(2)
    values = []
    for _ in range(num_resamples):
        test, val = test_draw.integers(num_images, size=num_images), val_draw.integers(num_val, size=num_val)
        values.append(statistic([plain_hits(one, test, val) for one in outcomes]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


CASES = {
    "fixed": outcome(random_hits(23, 1, seed=0)[:, 0]),
    "oracle": outcome(random_hits(23, 5, seed=1), "oracle", random_hits(23, 5, seed=2)),
    "val": outcome(random_hits(23, 5, seed=3), "val", random_hits(11, 5, seed=4)),
    "val, larger than test": outcome(random_hits(23, 3, seed=5), "val", random_hits(31, 3, seed=6)),
}


class TestAgainstAPlainLoop:
    @pytest.mark.parametrize("name", CASES)
    @pytest.mark.parametrize("chunk", [1, 70, 2**22])
    def test_interval(self, name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resampling, "_CHUNK", chunk)
        ours = interval(CASES[name], num_resamples=50, seed=7)
        assert (ours.low, ours.high) == pytest.approx(
            plain_interval([CASES[name]], lambda hits: 1 - hits[0] / 23, 50, seed=7)
        )
        assert (
            ours.value == 1 - plain_hits(CASES[name], np.arange(23), np.arange(31)[: 11 if name == "val" else 31]) / 23
        )

    @pytest.mark.parametrize(("a", "b"), [("fixed", "oracle"), ("val", "fixed"), ("oracle", "val"), ("fixed", "fixed")])
    def test_paired_difference(self, a: str, b: str) -> None:
        other = CASES[b] if b != a else outcome(random_hits(23, 1, seed=9)[:, 0])
        ours = paired_difference(CASES[a], other, num_resamples=50, seed=3)
        expected = plain_interval([CASES[a], other], lambda hits: (hits[1] - hits[0]) / 23, 50, seed=3)
        assert (ours.low, ours.high) == pytest.approx(expected)
        assert ours.value == pytest.approx(CASES[a].error - other.error)


class TestChoiceOfAThreshold:
    def test_the_middle_of_the_best_is_taken(self) -> None:
        # Thresholds 1, 2 and 3 tie on the choice; only threshold 2 hits what is reported.
        tied = outcome([[0, 0, 1, 0]], "val", [[0, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]])
        assert tied.error == 0
        always_the_middle = outcome([[0, 0, 1, 0]], "val", [[0, 1, 1, 1]])
        assert interval(always_the_middle, num_resamples=20) == Interval(0.0, 0.0, 0.0)

    def test_an_oracle_chooses_again_in_every_resample(self) -> None:
        # Each threshold hits one of the two images: drawing one twice makes the oracle perfect.
        either = [[1, 0], [0, 1]]
        assert interval(outcome(either, "oracle", either), num_resamples=200) == Interval(0.5, 0.0, 0.5)

    def test_val_carries_the_uncertainty_of_its_choice(self) -> None:
        # Two val images decide between a threshold that always hits on test and one that never does.
        test = [[1, 0]] * 50
        ours = interval(outcome(test, "val", [[1, 0], [0, 1], [1, 0]]), num_resamples=200)
        assert ours == Interval(0.0, 0.0, 1.0)
        assert interval(outcome([row[0] for row in test]), num_resamples=200) == Interval(0.0, 0.0, 0.0)


class TestDegenerate:
    @pytest.mark.parametrize(("hits", "error"), [([1], 0.0), ([0], 1.0), ([1] * 40, 0.0), ([0] * 40, 1.0)])
    def test_all_alike_has_no_spread(self, hits: list[int], error: float) -> None:
        assert interval(outcome(hits)) == Interval(error, error, error)

    @pytest.mark.parametrize("one", CASES.values(), ids=CASES)
    def test_a_run_does_not_differ_from_itself(self, one: Outcome) -> None:
        same = paired_difference(one, one)
        assert same == Interval(0.0, 0.0, 0.0)
        assert not same.excludes_zero

    def test_an_interval_that_ends_at_zero_does_not_exclude_it(self) -> None:
        assert not Interval(0.1, 0.0, 0.2).excludes_zero
        assert not Interval(-0.1, -0.2, 0.0).excludes_zero
        assert Interval(0.1, 0.01, 0.2).excludes_zero
        assert Interval(-0.1, -0.2, -0.01).excludes_zero


def test_intervals_contain_the_truth_about_as_often_as_they_say() -> None:
    draw = np.random.default_rng(0)
    covered = dict.fromkeys(("fixed", "val", "paired"), 0)
    for _ in range(200):
        # Runs share the difficulty of images; b hits 10 points more often. Threshold 1 is better by far.
        difficulty, own = draw.random(100), draw.random((2, 100))
        a, b = (np.where(draw.random(100) < 0.5, difficulty, own[0]) < 0.4, difficulty < 0.5)
        at_two = np.stack([own[1] < 0.1, own[1] < 0.6], axis=1)
        chosen = outcome(at_two, "val", draw.random((40, 2)) < [0.1, 0.6])
        intervals = {
            "fixed": (interval(outcome(a), num_resamples=200), 0.6),
            "val": (interval(chosen, num_resamples=200), 0.4),
            "paired": (paired_difference(outcome(a), outcome(b), num_resamples=200), 0.1),
        }
        for name, (ours, truth) in intervals.items():
            covered[name] += ours.low <= truth <= ours.high
    for name, count in covered.items():
        assert 180 <= count <= 198, name  # of 200; 95% are 190


def test_pairing_is_sharper_than_two_intervals() -> None:
    easy = np.random.default_rng(0).random(300)
    a, b = outcome(easy < 0.5), outcome(easy < 0.54)
    assert interval(a).low < interval(b).high
    assert paired_difference(a, b).excludes_zero


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30), st.integers(0, 9))
def test_a_difference_lies_in_range_and_turns_round(pairs: list[tuple[bool, bool]], seed: int) -> None:
    a, b = (outcome([pair[side] for pair in pairs]) for side in (0, 1))
    there, back = (paired_difference(*both, num_resamples=40, seed=seed) for both in ((a, b), (b, a)))
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert -1 <= there.low <= there.high <= 1


class TestMatchingOfImages:
    def test_order_does_not_matter(self) -> None:
        draw = np.random.default_rng(0)
        for one in CASES.values():
            order = draw.permutation(len(one.image_ids))
            choice_hits, choice_ids = one.choice_hits, one.choice_ids
            if choice_hits is not None:
                choice_order = order if choice_ids is None else draw.permutation(len(choice_ids))
                choice_hits = choice_hits[choice_order]
                choice_ids = None if choice_ids is None else choice_ids[choice_order]
            shuffled = Outcome(one.image_ids[order], one.hits[order], one.select, choice_hits, choice_ids)
            assert paired_difference(one, shuffled, num_resamples=50) == Interval(0.0, 0.0, 0.0)

    def test_other_test_images_are_refused_and_named(self) -> None:
        a = Outcome(np.array(["x", "y", "z"]), np.ones(3, dtype=bool))
        b = Outcome(np.array(["z", "new", "y"]), np.ones(3, dtype=bool))
        with pytest.raises(ValueError, match=r"different test images: 1 only in the first \['x'\], 1 .* \['new'\]"):
            paired_difference(a, b)

    def test_fewer_images_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"2 only in the first \['0003', '0004'\], 0 only in the second \[\]"):
            paired_difference(outcome([1] * 5), outcome([1] * 3))

    def test_other_val_images_are_refused(self) -> None:
        hits = np.ones((2, 1), dtype=bool)
        a, b = (Outcome(ids(2), hits, "val", hits, np.array(["v", name])) for name in ("w", "u"))
        with pytest.raises(ValueError, match=r"different val images: 1 only in the first \['w'\]"):
            paired_difference(a, b)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((ids(2), np.ones(3, dtype=bool)), r"2 image_ids .* got hits \(3,\)"),
        ((ids(2), np.ones((2, 1), dtype=bool)), "hits with 1 axes"),
        ((ids(2), np.ones(2, dtype=bool), "oracle", np.ones((2, 1), dtype=bool)), "hits with 2 axes"),
        ((ids(2), np.ones((2, 4), dtype=bool), "oracle"), r"choice_hits \(2, 4\), got .* choice_hits None"),
        ((ids(2), np.ones((2, 4), dtype=bool), "oracle", np.ones((3, 4), dtype=bool)), r"got .*choice_hits \(3, 4\)"),
        ((ids(2), np.ones((2, 4), dtype=bool), "val", np.ones((3, 4), dtype=bool)), "no choice_ids"),
        ((ids(2), np.ones((2, 4), dtype=bool), "val", np.ones((3, 5), dtype=bool), ids(3)), r"needs .*\(3, 4\)"),
        ((ids(2), np.ones((2, 4), dtype=bool), "oracle", np.ones((2, 4), dtype=bool), ids(2)), "2 choice_ids"),
        ((ids(0), np.ones(0, dtype=bool)), "got none"),
        ((ids(2), np.ones((2, 4), dtype=bool), "val", np.ones((0, 4), dtype=bool), ids(0)), "got none"),
    ],
)
def test_outcomes_that_do_not_fit_are_refused(fields: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outcome(*fields)


class TestLocalizationOutcome:
    # GT-known is best at 0.2 on test and at 0.4 on val; the only top-1 prediction on test is found at 0.0 and 0.4.
    RANK = np.array([3, 3, 0])
    IOU = np.array([[0.1, 0.5, 0.1], [0.1, 0.5, 0.1], [0.5, 0.1, 0.5]])
    TEST = PerImage(ids(3), RANK, RANK, IOU, np.array([0.0, 0.2, 0.4]))
    VAL = PerImage(ids(1), RANK[:1], RANK[:1], np.array([[0.1, 0.4, 0.9]]), np.array([0.0, 0.2, 0.4]))

    def test_a_fixed_threshold_takes_its_column(self) -> None:
        one = localization_outcome(self.TEST, "gt_known", "fixed", iou_threshold=0.5, cam_threshold=0.0)
        assert one.hits.tolist() == [False, False, True]

    @pytest.mark.parametrize(("select", "error"), [("oracle", 1.0), ("val", 1 - 1 / 3)])
    def test_the_threshold_is_chosen_by_gt_known_hits_alone(self, select: Select, error: float) -> None:
        one = localization_outcome(self.TEST, "top1", select, iou_threshold=0.5, val=self.VAL)
        assert one.error == error

    def test_a_threshold_that_was_not_measured_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not among the 3"):
            localization_outcome(self.TEST, "top1", "fixed", iou_threshold=0.5, cam_threshold=0.3)
        with pytest.raises(ValueError, match="must be given"):
            localization_outcome(self.TEST, "top1", "fixed", iou_threshold=0.5)

    def test_val_at_other_thresholds_is_refused(self) -> None:
        other = PerImage(ids(1), self.RANK[:1], self.RANK[:1], np.array([[0.2, 0.4]]), np.array([0.0, 0.2]))
        for val in (other, None):
            with pytest.raises(ValueError, match="same thresholds as test"):
                localization_outcome(self.TEST, "top1", "val", iou_threshold=0.5, val=val)

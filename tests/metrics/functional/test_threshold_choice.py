import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camloc.metrics.functional.threshold_choice import middle_of_best


@pytest.mark.parametrize(
    ("scores", "place"),
    [
        ([5], 0),
        ([1, 2, 3], 2),
        ([0, 4, 4, 4, 1], 2),
        ([0, 4, 4, 1], 1),  # of two in the middle the lower
        ([4, 1, 4, 4, 4, 1, 4, 4], 3),  # the longest run, not the first
        ([4, 4, 1, 4, 4], 0),  # of runs of equal length the lowest
        ([0, 0, 0, 0, 0], 2),
        ([0.5, 0.75, 0.75, 0.75], 2),
    ],
)
def test_by_hand(scores: list[float], place: int) -> None:
    assert middle_of_best(np.array(scores)) == place


@given(st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), min_size=1, max_size=5))
def test_many_curves_at_once_and_the_run_around_each_choice(curves: list[list[int]]) -> None:
    found = middle_of_best(np.array(curves))
    for curve, place in zip(curves, found.tolist(), strict=True):
        assert middle_of_best(np.array(curve)) == place
        assert curve[place] == max(curve)
        runs = "".join("x" if score == max(curve) else " " for score in curve)
        longest = max(runs.split(), key=len)
        first = runs.index(longest)  # a longer run does not exist, so this is where one of that length begins
        assert place == first + (len(longest) - 1) // 2


def test_no_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scores has shape \(2, 0\); give \(\.\.\.,T\)"):
        middle_of_best(np.zeros((2, 0)))

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camloc.metrics.functional.classification import class_rank


@given(st.lists(st.lists(st.integers(-2, 2), min_size=4, max_size=4), min_size=1, max_size=6), st.data())
def test_rank_is_the_place_in_a_stable_sort(rows: list[list[int]], data: st.DataObject) -> None:
    target = [data.draw(st.integers(0, 3)) for _ in rows]
    order = np.argsort(-np.array(rows), axis=1, kind="stable")
    expected = [int(np.flatnonzero(places == true)[0]) for places, true in zip(order, target, strict=True)]
    assert class_rank(torch.tensor(rows).float(), torch.tensor(target)).tolist() == expected


def test_a_network_that_answers_the_same_everywhere_is_right_once_per_class() -> None:
    assert class_rank(torch.zeros(3, 3), torch.arange(3)).tolist() == [0, 1, 2]


def test_nan_never_counts_as_a_hit() -> None:
    logits = torch.tensor([[float("nan"), 0.0], [0.0, float("nan")]])
    assert class_rank(logits, torch.tensor([0, 0])).tolist() == [2, 2]


@pytest.mark.parametrize(("target", "found"), [([3], "got 3 to 3"), ([-1], "got -1 to -1")])
def test_a_target_that_is_no_class_is_refused(target: list[int], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        class_rank(torch.zeros(1, 3), torch.tensor(target))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target is torch.int64 of shape \(3,\); give integers of shape \(2,\)"):
        class_rank(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))

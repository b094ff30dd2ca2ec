"""Weights of classes as they are given."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from camloc.objectives.class_weights import class_weights


def never() -> Tensor:
    raise AssertionError("balanced weights were not asked for")


def test_none_given_and_balanced_ones() -> None:
    assert class_weights(None, 2, never) is None
    given = class_weights([3, 0.5], 2, never)
    assert given is not None
    assert given.tolist() == [3, 0.5]
    assert given.dtype == torch.float32
    assert class_weights("balanced", 2, lambda: torch.tensor([7.0, 8.0])).tolist() == [7, 8]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("even", "must be null, balanced or a list of numbers, found 'even'"),
        ([1.0], "must list one number for each of the 2 classes, found 1"),
        ([1.0, 0.0], "must be positive and finite, found 0.0"),
        ([1.0, float("nan")], "must be positive and finite, found nan"),
        ([1.0, "2"], "must be positive and finite, found '2'"),
    ],
)
def test_others_are_refused_by_name(wanted: str | Sequence[float], said: str) -> None:
    with pytest.raises(ValueError, match=f"objective.class_weights {said}"):
        class_weights(wanted, 2, never)

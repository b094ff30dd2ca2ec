import math
from typing import Any

import pytest
import torch
from torch import nn

from camloc.objectives.contract import Labelled, Losses
from camloc.objectives.multi_label import MultiLabel

LOGITS = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]])
LABELS = torch.tensor([[True, False], [True, True]])


def loss(objective: MultiLabel) -> float:
    losses: Losses = objective(nn.Identity(), Labelled(LOGITS, LABELS))
    assert losses.logits is LOGITS
    return losses.by_name["binary_cross_entropy"].item()


def test_the_mean_over_images_and_classes_by_hand() -> None:
    # Probabilities 1/2, 3/4; 3/4, 1/2.
    assert loss(MultiLabel([2, 1], 2)) == pytest.approx((math.log(2) + math.log(4) + math.log(4 / 3) + math.log(2)) / 4)


def test_weights_are_of_the_positives() -> None:
    weighted = MultiLabel([2, 1], 2, class_weights=[1.0, 5.0])
    expected = (math.log(2) + math.log(4) + math.log(4 / 3) + 5 * math.log(2)) / 4
    assert loss(weighted) == pytest.approx(expected)


def test_balanced_is_negatives_over_positives() -> None:
    weights = MultiLabel([10, 30], 40, class_weights="balanced").class_weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([3, 1 / 3])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("balanced", "classes 0, 2 .0-based. are shown by none or by all"),
        ("even", "must be null, balanced or a list of numbers, found 'even'"),
        ([1.0], "must list one number for each of the 3 classes, found 1"),
        ([1.0, 0.0, 2.0], "must be positive and finite, found 0.0"),
    ],
)
def test_wrong_weights_are_refused(wanted: Any, message: str) -> None:  # noqa: ANN401 - of many types
    with pytest.raises(ValueError, match=message):
        MultiLabel([0, 2, 4], 4, class_weights=wanted)


def test_one_label_per_image_is_refused_with_the_objective_that_fits() -> None:
    with pytest.raises(ValueError, match="use objective=cross_entropy"):
        MultiLabel([1, 1], 2)(nn.Identity(), Labelled(LOGITS, torch.tensor([0, 1])))

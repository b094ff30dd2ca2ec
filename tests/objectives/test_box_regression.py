"""The loss of full supervision, worked out by hand on a network of a few numbers."""

import math
from typing import get_type_hints

import pytest
import torch
from torch import Tensor, nn

from camloc.backbones.contract import Features
from camloc.objectives.box_regression import BoxRegression
from camloc.objectives.classification import CrossEntropy
from camloc.objectives.contract import Boxed, Labelled


class Fixed(nn.Module):
    """Equal logits for two classes, and a box for each that is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes = nn.Parameter(torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.25, 0.75, 0.75]]))

    def forward_features(self, images: Tensor) -> Features:
        return Features(images)

    def forward_head(self, features: Features) -> Tensor:
        return torch.zeros(len(features.maps), 2)

    def forward_boxes(self, features: Features) -> Tensor:
        return self.boxes.expand(len(features.maps), 2, 4)


IMAGES = torch.zeros(2, 3, 40, 80)  # boxes are fractions of 80 across and of 40 down
TARGET = torch.tensor([1, 0])
TRUE = torch.tensor([[20.0, 10.0, 64.0, 32.0], [0.0, 0.0, 40.0, 40.0]])  # [.25, .25, .8, .8] and [0, 0, .5, 1]


def test_the_loss_is_that_of_the_true_classs_box() -> None:
    losses = BoxRegression([1, 1], beta=0.1)(Fixed(), Boxed(IMAGES, TARGET, TRUE)).by_name
    # Two errors of .05 are quadratic, .05^2 / .2 each; one of .5 is linear, .5 - .05.
    assert float(losses["box"].detach()) == pytest.approx((2 * 0.0125 + 0.45) / 2)
    assert float(losses["cross_entropy"]) == pytest.approx(math.log(2))


def test_beta_1_is_half_the_squared_distance_and_the_weight_multiplies_it() -> None:
    objective = BoxRegression([1, 1], box_weight=3.0, beta=1.0)
    losses = objective(Fixed(), Boxed(IMAGES, TARGET, TRUE)).by_name
    assert float(losses["box"].detach()) == pytest.approx(3 * (2 * 0.05**2 + 0.5**2) / 2 / 2)


def test_only_the_true_classs_box_has_a_gradient() -> None:
    network = Fixed()
    one = Boxed(IMAGES[:1], TARGET[:1], TRUE[:1])
    BoxRegression([1, 1], beta=0.1)(network, one).by_name["box"].backward()
    assert network.boxes.grad is not None
    # d / beta where it is quadratic: -.05 / .1.
    assert torch.allclose(network.boxes.grad, torch.tensor([[0.0] * 4, [0.0, 0.0, -0.5, -0.5]]), atol=1e-6)


def test_an_image_without_a_known_box_counts_by_its_label_alone() -> None:
    unknown = TRUE.clone()
    unknown[1] = 0
    losses = BoxRegression([1, 1])(Fixed(), Boxed(IMAGES, TARGET, unknown)).by_name
    assert float(losses["box"].detach()) == pytest.approx(2 * 0.0125)


def test_a_batch_without_boxes_still_gives_every_parameter_a_gradient() -> None:
    network = Fixed()
    none = Boxed(IMAGES, TARGET, torch.zeros(2, 4))
    BoxRegression([1, 1])(network, none).by_name["box"].backward()
    assert network.boxes.grad is not None  # else distributed training would wait for it
    assert not network.boxes.grad.any()


def test_weak_objectives_have_nowhere_to_find_a_box() -> None:
    assert Labelled._fields == ("images", "target")
    assert get_type_hints(CrossEntropy.forward)["batch"] is Labelled
    assert not hasattr(CrossEntropy, "trains_with_boxes")
    assert get_type_hints(BoxRegression.forward)["batch"] is Boxed
    assert BoxRegression.trains_with_boxes


@pytest.mark.parametrize(("option", "value"), [("box_weight", -1.0), ("box_weight", math.nan), ("beta", 0.0)])
def test_an_option_out_of_range_is_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"objective\.{option} must be"):
        BoxRegression([1, 1], **{option: value})


def test_several_labels_per_image_are_refused() -> None:
    several = Boxed(IMAGES, torch.ones(2, 2, dtype=torch.bool), TRUE)
    with pytest.raises(ValueError, match="objective=box_regression trains on one class per image"):
        BoxRegression([1, 1])(Fixed(), several)

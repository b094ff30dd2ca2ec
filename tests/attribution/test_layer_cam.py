import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.layer_cam import layer_cam
from camloc.backbones.contract import Backbone
from camloc.backbones.gap import GapBackbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
FIRST = Pairs.of_target(torch.tensor([0]))


class SumsOfSquares(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return (maps**2).sum(dim=(2, 3)) @ torch.tensor([[1.0, -1.0], [0.0, 1.0]]).T


def two_stages() -> GapBackbone:
    """The first channel, then its means over 2 x 2 pixels; the logit of class 0 is the mean, of 1 its negative."""
    conv = nn.Conv2d(3, 1, kernel_size=1, bias=False)
    backbone = GapBackbone(nn.Sequential(conv, nn.AvgPool2d(2)), nn.Identity(), num_maps=1, num_classes=2).eval()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
        backbone.head.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    return backbone


def test_one_stage_by_hand(halves: Halves) -> None:
    maps = torch.tensor([[[[1.0, -3.0]], [[6.0, 0.0]]]])
    pairs = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([0, 1]))
    found = layer_cam(halves(nn.Identity(), SumsOfSquares()), maps, lambda _: pairs, stages=1)
    # The gradients of class 0 are (2, -6) and (-12, 0), of class 1 (0, 0) and (12, 0).
    assert found.cams.tolist() == [[[2.0, 0.0]], [[72.0, 0.0]]]


def test_two_stages_by_hand() -> None:
    images = torch.zeros(1, 3, 2, 4)
    images[0, 0] = torch.tensor([1.0, 3.0, 0.0, 0.0])  # both rows; the means are 2 and 0
    found = layer_cam(two_stages(), images, lambda _: FIRST, stages=2).cams
    # (1/3, 1, 0, 0) of the first stage's maximum, and (1, 0) of the second's, upsampled after the scale.
    one, third = math.tanh(2), math.tanh(2 / 3)
    row = [max(third, one), max(one, 0.75 * one), 0.25 * one, 0.0]
    torch.testing.assert_close(found, torch.tensor([[row, row]]))


def test_a_class_without_positive_gradients_has_a_map_of_zeros() -> None:
    found = layer_cam(two_stages(), torch.ones(1, 3, 2, 4), lambda _: Pairs.of_target(torch.tensor([1])), stages=2)
    assert found.cams.tolist() == torch.zeros(1, 2, 4).tolist()


def test_gamma() -> None:
    found = layer_cam(two_stages(), torch.ones(1, 3, 2, 2), lambda _: FIRST, stages=2, gamma=0.5)
    torch.testing.assert_close(found.cams, torch.full((1, 2, 2), math.tanh(0.5)))


def test_a_network_without_stages_is_refused(halves: Halves) -> None:
    with pytest.raises(ValueError, match="attribution=layer_cam beyond the last feature maps needs a network with"):
        layer_cam(halves(nn.Identity(), SumsOfSquares()), torch.ones(1, 2, 2, 2), lambda _: FIRST)


def test_more_stages_than_there_are_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"attribution=layer_cam asks for stage 3, counted from the last; GapB.* has 2"
    ):
        layer_cam(two_stages(), torch.ones(1, 3, 2, 2), lambda _: FIRST)

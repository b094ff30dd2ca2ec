from collections.abc import Callable

import torch
from torch import Tensor, nn

from camloc.attribution.bag_cams import bag_cams
from camloc.backbones.contract import Backbone
from camloc.backbones.gap import GapBackbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
FIRST = Pairs.of_target(torch.tensor([0]))


class Weighted(nn.Module):
    """One logit: the sum of the first map minus half that of the second."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.sum(dim=(2, 3)) @ torch.tensor([[1.0], [-0.5]])


def test_by_hand(halves: Halves) -> None:
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
    found = bag_cams(halves(nn.Identity(), Weighted()), maps, lambda _: FIRST)
    # The logit is 3: contributions (1/3, 1) and (-1/3, 0), whose means plus 1 are 5/3 and 5/6.
    torch.testing.assert_close(found.cams, torch.tensor([[[5 / 9, 5 / 3]]]))


def test_a_logit_below_0_counts_by_its_absolute_value(halves: Halves) -> None:
    maps = torch.tensor([[[[1.0, 3.0]], [[12.0, 0.0]]]])
    found = bag_cams(halves(nn.Identity(), Weighted()), maps, lambda _: FIRST)
    # The logit is -2: contributions (1/2, 3/2) and (-3, 0), whose means plus 1 are 2 and -1/2.
    torch.testing.assert_close(found.cams, torch.tensor([[[2.5, 3.0]]]))


def test_a_logit_of_0_gives_a_map(halves: Halves) -> None:
    found = bag_cams(halves(nn.Identity(), Weighted()), torch.zeros(1, 2, 1, 2), lambda _: FIRST)
    assert found.cams.tolist() == [[[0.0, 0.0]]]


def test_maps_of_a_stage_before() -> None:
    conv = nn.Conv2d(3, 1, kernel_size=1, bias=False)
    backbone = GapBackbone(nn.Sequential(conv, nn.MaxPool2d(2)), nn.Identity(), num_maps=1, num_classes=1).eval()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
        backbone.head.linear.weight.fill_(2.0)
    images = torch.zeros(1, 3, 2, 4)
    images[0, 0] = torch.tensor([[1.0, 4.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    found = bag_cams(backbone, images, lambda _: FIRST, stage=2)
    # The logit is 2 * 3; gradients are 1 where a pixel is the largest of its four: contributions 4/6 and 2/6, mean 1/8.
    expected = torch.tensor([[0.0, 4.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]]) / 6 * (1 + 1 / 8)
    torch.testing.assert_close(found.cams, expected[None])

from collections.abc import Callable

import torch
from torch import nn

from camloc.attribution.eigen_cam import eigen_cam
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
BOTH = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([1, 0]))


def backbone(halves: Halves) -> Backbone:
    return halves(nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def test_by_hand(halves: Halves) -> None:
    # Both maps are multiples of one: v_1 = (3, 4) / 5, so that the projection is 5 times it.
    pattern = torch.tensor([[1.0, 0.0, 2.0]])
    found = eigen_cam(backbone(halves), torch.stack([3 * pattern, 4 * pattern])[None], lambda _: BOTH)
    torch.testing.assert_close(found.cams, (5 * pattern).expand(2, 1, 3))


def test_the_sign_agrees_with_the_mean_of_the_maps(halves: Halves) -> None:
    pattern = torch.tensor([[1.0, 0.0, 2.0]])
    maps = torch.stack([-3 * pattern, pattern])[None]
    found = eigen_cam(backbone(halves), maps, lambda _: BOTH)
    torch.testing.assert_close(found.cams, (-(10**0.5) * pattern).expand(2, 1, 3))


def test_centred(halves: Halves) -> None:
    pattern = torch.tensor([[1.0, 0.0, 2.0]])
    found = eigen_cam(backbone(halves), torch.stack([3 * pattern, 4 * pattern])[None], lambda _: BOTH, centred=True)
    torch.testing.assert_close(found.cams, (5 * (pattern - 1)).expand(2, 1, 3))

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.grad_cam_pp import grad_cam_pp
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
WEIGHTS = torch.tensor([[1.0, -1.0], [0.0, 1.0]])
PAIRS = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([0, 1]))


class SquaredMeans(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3)) ** 2 @ WEIGHTS.T


def test_by_hand(halves: Halves) -> None:
    maps = torch.tensor([[[[1.0, 3.0]], [[6.0, 0.0]]]])
    found = grad_cam_pp(halves(nn.Identity(), SquaredMeans()), maps, lambda _: PAIRS)
    # The gradients are 2 and -3 for the first class, 0 and 3 for the second; the sums of the maps 4 and 6.
    # alpha = 4 / (2 * 4 + 8 * 4) = 0.1 and 9 / (2 * 9 + 27 * 6) = 0.05; two places: the weights are 0.4 and 0.3.
    torch.testing.assert_close(found.cams, torch.tensor([[[0.4, 1.2]], [[1.8, 0.0]]]))


def test_tiny_gradients_do_not_underflow(halves: Halves) -> None:
    class Tiny(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return 1e-20 * maps.sum(dim=(2, 3))

    maps = torch.tensor([[[[1.0, 3.0]]]])
    found = grad_cam_pp(halves(nn.Identity(), Tiny()), maps, lambda _: Pairs.of_target(torch.tensor([0])))
    # alpha is 1/2, two places: the weight is the gradient.
    torch.testing.assert_close(found.cams * 1e20, torch.tensor([[[1.0, 3.0]]]))


@pytest.mark.parametrize(("value", "expected"), [(-1.0, 0.0), (-0.5, 0.0), (1.0, 0.5)])
def test_one_negative_pixel(halves: Halves, value: float, expected: float) -> None:
    class Doubled(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return 2 * maps.sum(dim=(2, 3))

    found = grad_cam_pp(
        halves(nn.Identity(), Doubled()), torch.full((1, 1, 1, 1), value), lambda _: Pairs.of_target(torch.tensor([0]))
    )
    assert found.cams.tolist() == [[[expected]]]  # -1: the denominator is 0; 1: 2 / (2 + 2)

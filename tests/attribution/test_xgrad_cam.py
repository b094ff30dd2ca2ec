from collections.abc import Callable

import torch
from torch import Tensor, nn

from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.xgrad_cam import xgrad_cam
from camloc.backbones.contract import Backbone
from camloc.backbones.gap import GapBackbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
PAIRS = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([0, 1]))


class SumsOfSquares(nn.Module):
    """Gradients that differ from place to place: twice the map."""

    def forward(self, maps: Tensor) -> Tensor:
        return (maps**2).sum(dim=(2, 3)) @ torch.tensor([[1.0, -1.0], [0.0, 1.0]]).T


def test_by_hand(halves: Halves) -> None:
    backbone = halves(nn.Identity(), SumsOfSquares())
    maps = torch.tensor([[[[1.0, 3.0]], [[6.0, 0.0]]]])
    # The weights are 2 (1 + 9) / 4 = 5 and 2 * 36 / 6 = 12, with the class's sign.
    signed = xgrad_cam(backbone, maps, lambda _: PAIRS, relu=False)
    assert signed.cams.tolist() == [[[-67.0, 15.0]], [[72.0, 0.0]]]
    assert xgrad_cam(backbone, maps, lambda _: PAIRS).cams.tolist() == [[[0.0, 15.0]], [[72.0, 0.0]]]


def test_a_map_whose_sum_is_0_counts_nothing(halves: Halves) -> None:
    maps = torch.tensor([[[[1.0, -1.0]], [[6.0, 0.0]]]])
    found = xgrad_cam(halves(nn.Identity(), SumsOfSquares()), maps, lambda _: PAIRS, relu=False)
    assert found.cams.tolist() == [[[-72.0, 0.0]], [[72.0, 0.0]]]


def test_is_grad_cam_under_average_pooling() -> None:
    torch.manual_seed(0)
    backbone = GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5).eval()
    images = torch.randn(2, 3, 6, 9)
    expected = grad_cam(backbone, images, lambda logits: Pairs.most_likely(logits, count=5), relu=False)
    found = xgrad_cam(backbone, images, lambda _: expected.pairs, relu=False)
    torch.testing.assert_close(found.cams, expected.cams)

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.cam import cam
from camloc.attribution.grad_cam import grad_cam
from camloc.backbones.contract import Backbone, Features, InputSpec
from camloc.backbones.gap import GapBackbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
WEIGHTS = torch.tensor([[1.0, -1.0], [0.0, 1.0]])


class SquaredMeans(nn.Module):
    """Logits that are no linear function of the maps: (mean of each map) squared, weighted."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3)) ** 2 @ WEIGHTS.T


def test_by_hand(halves: Halves) -> None:
    maps = torch.tensor([[[[1.0, 3.0]], [[6.0, 0.0]]]])  # means 2 and 3, so alpha = 2 w_1 and 3 w_2
    pairs = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([0, 1]))
    backbone = halves(nn.Identity(), SquaredMeans())
    signed = grad_cam(backbone, maps, lambda _: pairs, relu=False)
    assert signed.logits.tolist() == [[-5.0, 9.0]]
    assert signed.cams.tolist() == [[[-16.0, 6.0]], [[18.0, 0.0]]]
    assert grad_cam(backbone, maps, lambda _: pairs).cams.tolist() == [[[0.0, 6.0]], [[18.0, 0.0]]]


def test_pairs_in_any_order_and_a_map_that_is_not_square(halves: Halves) -> None:
    maps = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    pairs = Pairs(image_index=torch.tensor([1, 0, 1]), classes=torch.tensor([1, 0, 0]))
    found = grad_cam(halves(nn.Identity(), SquaredMeans()), maps, lambda _: pairs, relu=False).cams
    means = maps.mean(dim=(2, 3))
    for place, (image, class_) in enumerate(zip(*[index.tolist() for index in pairs], strict=True)):
        alphas = 2 * WEIGHTS[class_] * means[image] / 15
        torch.testing.assert_close(found[place], (alphas[:, None, None] * maps[image]).sum(dim=0))


def test_one_pixel(halves: Halves) -> None:
    maps = torch.tensor([[[[2.0]], [[1.0]]]])
    found = grad_cam(halves(nn.Identity(), SquaredMeans()), maps, lambda _: Pairs.of_target(torch.tensor([0])))
    assert found.cams.tolist() == [[[6.0]]]  # 4 * 2 - 2 * 1


@pytest.mark.parametrize("size", [(6, 9), (1, 1)])
def test_is_the_cam_divided_by_its_pixels_on_a_gap_network(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    trunk, extra = nn.Conv2d(3, 6, 3, padding=1), nn.Sequential(nn.Conv2d(6, 8, 1), nn.ReLU(inplace=True))
    backbone = GapBackbone(trunk, extra, num_maps=8, num_classes=5, dropout=0.5).eval()
    images = torch.randn(4, 3, *size)
    expected = cam(backbone, images, lambda logits: Pairs.most_likely(logits, count=5))
    found = grad_cam(backbone, images, lambda _: expected.pairs, relu=False)
    assert torch.equal(found.logits, expected.logits)
    torch.testing.assert_close(found.cams * size[0] * size[1], expected.cams)  # alpha_k = w_k / (h w)
    rectified = grad_cam(backbone, images, lambda _: expected.pairs)
    assert torch.equal(rectified.cams, found.cams.relu())
    assert (found.cams < 0).any()


class TokenBackbone(nn.Module):
    """A head that reads a class token, a mask of integers, and the maps only where it is told to."""

    input_spec = InputSpec()
    num_classes = 2
    class_weights = None

    def __init__(self, *, reads_maps: bool) -> None:
        super().__init__()
        self.reads_maps = reads_maps
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward_features(self, images: Tensor) -> Features:
        tokens, first = images.mean(dim=(2, 3)), torch.arange(len(images))
        return Features(images[:, :2], (tokens, first))

    def forward_head(self, features: Features) -> Tensor:
        token, first = features.others
        assert first.dtype == torch.int64
        logits = self.scale * token[:, :2]
        # The maps count as much as the token and the place of the image say.
        return logits + features.maps.sum(dim=(2, 3)) * token[:, 2:] * first[:, None] if self.reads_maps else logits

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def new_layers(self) -> Iterator[nn.Parameter]:
        yield self.scale


def test_what_else_the_head_reads_goes_with_each_pair() -> None:
    images = torch.ones(3, 3, 1, 2)
    images[:, 2] = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    images[:, 1, 0, 0] = 5.0
    pairs = Pairs(image_index=torch.tensor([2, 1, 1]), classes=torch.tensor([1, 0, 1]))
    found = grad_cam(TokenBackbone(reads_maps=True), images, lambda _: pairs)
    # alpha is the token's third entry times the place: 3 * 2 for the last image, 2 * 1 for the one before.
    assert found.cams.tolist() == [[[30.0, 6.0]], [[2.0, 2.0]], [[10.0, 2.0]]]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_head_that_does_not_read_the_maps_is_refused(frozen: bool) -> None:
    backbone = TokenBackbone(reads_maps=False)
    backbone.scale.requires_grad_(not frozen)
    with pytest.raises(ValueError, match=r"head of TokenBackbone does not read them\. Use attribution=saliency"):
        grad_cam(backbone, torch.ones(1, 3, 2, 2), lambda _: Pairs.of_target(torch.tensor([0])))

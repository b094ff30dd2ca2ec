"""Larger images in evaluation: their size, and what is made of them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.cam import cam
from camloc.attribution.contract import Cropping
from camloc.attribution.enlarged import Enlarged
from camloc.attribution.views import Flip
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]


class Lefts(nn.Module):
    """Each pixel minus half of its left neighbour, so that a mirror image has other maps."""

    def forward(self, images: Tensor) -> Tensor:
        return images - 0.5 * nn.functional.pad(images, (1, 0))[..., :-1]


class Means(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("scale", "input_size", "expected"),
    [(1.4, 160, 224), (1.4, 224, 320), (1.0, 160, 160), (2.0, 64, 128), (1.0, 8, 32)],
)
def test_sides_are_multiples_of_the_stride(scale: float, input_size: int, expected: int) -> None:
    larger = Enlarged(cam, scale)
    assert isinstance(larger, Cropping)
    assert larger.image_size(input_size) == expected


@pytest.mark.parametrize("flip", [False, True])
def test_maps_are_those_of_the_image_or_of_both(flip: bool, halves: Halves) -> None:
    backbone = halves(Lefts(), Means(), torch.eye(2))
    images = torch.tensor([[[[4.0, 0.0]], [[2.0, 6.0]]]])
    pairs = Pairs(torch.tensor([0, 0]), torch.tensor([0, 1]))
    found = Enlarged(cam, flip=flip)(backbone, images, lambda _: pairs)
    # Maps: [4, -2] and [2, 5]; those of the mirror image turned back: [4, 0] and [-1, 6].
    expected = [[[4.0, -1.0]], [[0.5, 5.5]]] if flip else [[[4.0, -2.0]], [[2.0, 5.0]]]
    assert found.cams.tolist() == expected
    plain = (Flip(cam) if flip else cam)(backbone, images, lambda _: pairs)
    assert torch.equal(found.logits, plain.logits)


def test_a_smaller_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"views\.scale must be at least 1, found 0\.9"):
        Enlarged(cam, scale=0.9)

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.saliency import saliency
from camloc.attribution.views import Flip, attribute_views, one_view
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]


class Differences(nn.Module):
    """One map per channel: each pixel minus half of its left neighbour."""

    def forward(self, images: Tensor) -> Tensor:
        return images - 0.5 * nn.functional.pad(images, (1, 0))[..., :-1]


class Sum(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3)) @ torch.tensor([[1.0, 0.0], [0.0, -1.0]])


@pytest.fixture
def backbone(halves: Halves) -> Backbone:
    return halves(Differences(), Sum(), torch.tensor([[1.0, 0.0], [0.0, -1.0]]))


IMAGES = torch.tensor([[[[4.0, 0.0]], [[2.0, 6.0]]], [[[0.0, 8.0]], [[0.0, 0.0]]]])
# Their maps: [4, -2], [2, 5]; [0, 8], [0, 0]. Those of the mirror images: [0, 4], [6, -1]; [8, -4], [0, 0].


def test_one_view_is_the_attribution_itself() -> None:
    assert one_view(cam) is cam


def test_flip_by_hand(backbone: Backbone) -> None:
    seen: list[Tensor] = []

    def choose(logits: Tensor) -> Pairs:
        seen.append(logits)
        return Pairs(image_index=torch.tensor([1, 0, 0]), classes=torch.tensor([0, 1, 0]))

    logits, pairs, cams = Flip(cam)(backbone, IMAGES, choose)
    # Means of the maps: 1 and 3.5, 4 and 0; mirrored 2 and 2.5, 2 and 0.
    assert logits.tolist() == [[1.5, -3.0], [3.0, 0.0]]
    assert [one.tolist() for one in seen] == [logits.tolist()]
    assert pairs.image_index.tolist() == [1, 0, 0]
    assert pairs.classes.tolist() == [0, 1, 0]
    # [0, 8] and [8, -4] turned back; -[2, 5] and -[6, -1] turned back; [4, -2] and [0, 4] turned back.
    assert cams.tolist() == [[[-2.0, 8.0]], [[-0.5, -5.5]], [[4.0, -1.0]]]


def test_the_classes_are_those_of_the_mean(backbone: Backbone) -> None:
    # The image says 0.8 for class 0 and 0.5 for class 1, its mirror image 0.4 and 1.
    images = torch.tensor([[[[0.0, 1.6]], [[-2.0, 0.0]]]])
    own = cam(backbone, images, lambda logits: Pairs.most_likely(logits, 1))
    flipped = Flip(cam)(backbone, images, lambda logits: Pairs.most_likely(logits, 1))
    assert own.pairs.classes.tolist() == [0]
    assert flipped.pairs.classes.tolist() == [1]


@pytest.mark.parametrize("attribution", [cam, partial(grad_cam, relu=False), saliency])
def test_a_mirrored_batch_gives_mirrored_maps(attribution: Attribution, backbone: Backbone) -> None:
    images = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = Flip(attribution)(backbone, images, Pairs.most_likely)
        mirrored = Flip(attribution)(backbone, images.flip(dims=[3]), Pairs.most_likely)
    assert torch.equal(found.logits, mirrored.logits)
    assert torch.equal(found.cams, mirrored.cams.flip(dims=[2]))
    assert found.cams.shape == (6, 4, 5)


def test_no_pairs(backbone: Backbone) -> None:
    found = Flip(cam)(backbone, IMAGES, lambda logits: Pairs.of_target(torch.zeros_like(logits).bool()))
    assert found.cams.shape == (0, 1, 2)


def test_an_image_of_another_view_cannot_be_chosen(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match=r"image_index of pairs must lie in 0\.\.1, found \[2\]"):
        Flip(cam)(backbone, IMAGES, lambda _: Pairs(torch.tensor([2]), torch.tensor([0])))


def test_three_views_keep_their_order(backbone: Backbone) -> None:
    views = [IMAGES, IMAGES * 2, IMAGES * 6]
    logits, pairs, cams = attribute_views(cam, backbone, views, lambda _: Pairs.of_target(torch.tensor([0, 1])))
    assert logits.tolist() == [[3.0, -10.5], [12.0, 0.0]]
    assert pairs.classes.tolist() == [0, 1]
    assert cams[:, 0].tolist() == [[[4.0, -2.0]], [[8.0, -4.0]], [[24.0, -12.0]]]

"""The foreground of TriLite's head as a map of every class."""

import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.trilite import trilite
from camloc.backbones.contract import Features
from camloc.backbones.gap import GapBackbone
from camloc.records import Pairs


class Regions(GapBackbone):
    """The first map is the foreground."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 2, 1), nn.Identity(), num_maps=2, num_classes=3)

    def forward_features(self, images: Tensor) -> Features:
        return Features(images)

    def forward_head(self, features: Features) -> Tensor:
        return torch.zeros(len(features.maps), 3)

    def forward_regions(self, features: Features) -> Tensor:
        return features.maps


def test_every_pair_of_an_image_has_its_foreground() -> None:
    images = torch.arange(12.0).view(2, 3, 1, 2)
    pairs = Pairs(torch.tensor([1, 0, 1]), torch.tensor([0, 2, 1]))
    found = trilite(Regions(), images, lambda _: pairs)
    assert found.cams.tolist() == [[[6, 7]], [[0, 1]], [[6, 7]]]
    assert found.cams.dtype == torch.float32
    assert found.logits.shape == (2, 3)


def test_no_pairs_have_no_maps() -> None:
    none = Pairs(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert trilite(Regions(), torch.zeros(2, 3, 1, 2), lambda _: none).cams.shape == (0, 1, 2)


def test_a_network_without_the_head_is_refused() -> None:
    backbone = GapBackbone(nn.Conv2d(3, 2, 1), nn.Identity(), num_maps=2, num_classes=3)
    with pytest.raises(ValueError, match="trained with objective=trilite; GapBackbone has no head"):
        trilite(backbone, torch.zeros(1, 3, 2, 2), lambda logits: Pairs.most_likely(logits, 1))


def test_a_pair_of_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_index of pairs must lie in 0\.\.0"):
        trilite(Regions(), torch.zeros(1, 3, 1, 2), lambda _: Pairs(torch.tensor([1]), torch.tensor([0])))

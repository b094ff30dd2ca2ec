from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from camloc.attribution.pc1 import pc1
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]
HEAD = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_by_hand(halves: Halves) -> None:
    # An object in the middle of 3 x 3 places. Weighted by 1 and -1 and scaled, one map is it and the other its
    # complement: they differ by 1 at all nine places, in the middle the other way round.
    maps = torch.zeros(1, 2, 3, 3)
    maps[0, :, 1, 1] = 5.0
    backbone = halves(nn.Identity(), HEAD, torch.tensor([[1.0, -1.0]]))
    found = pc1(backbone, maps, lambda _: Pairs.of_target(torch.tensor([0]))).cams
    expected = torch.full((1, 3, 3), -1 / 3)  # the frame is low
    expected[0, 1, 1] = 1 / 3
    torch.testing.assert_close(found, expected)


def test_is_the_first_component_of_another_library(halves: Halves) -> None:
    generator = torch.Generator().manual_seed(0)
    maps, weights = torch.randn(2, 20, 4, 5, generator=generator), torch.randn(3, 20, generator=generator)
    pairs = Pairs(image_index=torch.tensor([1, 0, 1]), classes=torch.tensor([2, 0, 1]))
    found = pc1(halves(nn.Identity(), HEAD, weights), maps, lambda _: pairs).cams
    for place, (image, class_) in enumerate(zip(*[index.tolist() for index in pairs], strict=True)):
        rows = (maps[image] * weights[class_][:, None, None]).flatten(1).double().numpy()
        rows = (rows - rows.min(axis=1, keepdims=True)) / np.ptp(rows, axis=1, keepdims=True)
        expected = PCA(n_components=2).fit(rows).components_[0].reshape(4, 5)
        frame = np.ones((4, 5), dtype=bool)
        frame[1:-1, 1:-1] = False
        if (expected > expected.mean())[frame].mean() > 0.5:
            expected = -expected
        np.testing.assert_allclose(found[place].numpy(), expected, atol=1e-6)


def test_constant_maps_and_weights_of_0_give_zeros(halves: Halves) -> None:
    weights = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    both = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([0, 1]))
    found = pc1(halves(nn.Identity(), HEAD, weights), torch.full((1, 2, 3, 3), 7.0), lambda _: both)
    assert not found.cams.any()


def test_a_network_without_class_weights_is_refused(halves: Halves) -> None:
    with pytest.raises(ValueError, match=r"has no class_weights\. Use attribution=eigen_cam"):
        pc1(halves(nn.Identity(), HEAD), torch.ones(1, 2, 3, 3), lambda _: Pairs.of_target(torch.tensor([0])))

"""What every network that an objective extends keeps of the one that it was."""

from typing import Any

import pytest
import torch
from torch import nn

from camloc.attribution.layer_cam import layer_cam
from camloc.backbones.contract import prefers_channels_last
from camloc.backbones.gap import GapBackbone
from camloc.objectives.acol import AdversarialComplementary
from camloc.objectives.adl import AttentionDropout
from camloc.objectives.contract import ExtendingObjective
from camloc.objectives.spg import SelfProducedGuidance
from camloc.objectives.trilite import TriLite
from camloc.records import Pairs


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        (AdversarialComplementary, {}),
        (AttentionDropout, {}),
        (SelfProducedGuidance, {"layers": ["trunk.0", "trunk.1"]}),
        (TriLite, {}),
    ],
)
@pytest.mark.parametrize("preferred", [False, True])
def test_an_extended_network_prefers_the_memory_format_of_its_trunk(
    objective: type[ExtendingObjective], options: dict[str, Any], preferred: bool
) -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3))
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=8, num_classes=5)
    backbone.prefers_channels_last = preferred
    assert prefers_channels_last(objective.extend(backbone, **options)) is preferred


@pytest.mark.parametrize(
    ("objective", "options"),
    [(AttentionDropout, {}), (SelfProducedGuidance, {"layers": ["trunk.0", "trunk.2"]}), (TriLite, {})],
)
def test_several_stages_of_an_extended_network_are_mapped_as_the_networks_own(
    objective: type[ExtendingObjective], options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU())
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=8, num_classes=5).eval()
    images = torch.randn(2, 3, 12, 12)
    expected = layer_cam(backbone, images, most_likely, stages=2).cams
    extended = objective.extend(backbone, **options)
    assert isinstance(extended, nn.Module)
    torch.testing.assert_close(layer_cam(extended.eval(), images, most_likely, stages=2).cams, expected)


def most_likely(logits: torch.Tensor) -> Pairs:
    return Pairs.most_likely(logits, 2)

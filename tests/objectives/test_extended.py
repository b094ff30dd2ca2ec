"""What every network that an objective extends keeps of the one that it was."""

from typing import Any

import pytest
from torch import nn

from camloc.backbones.contract import prefers_channels_last
from camloc.backbones.gap import GapBackbone
from camloc.objectives.acol import AdversarialComplementary
from camloc.objectives.adl import AttentionDropout
from camloc.objectives.contract import ExtendingObjective
from camloc.objectives.spg import SelfProducedGuidance
from camloc.objectives.trilite import TriLite


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

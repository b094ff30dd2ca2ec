from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from camloc.localization.contract import BoxRule
from camloc.localization.threshold_sweep import largest_component_boxes

RULES = Path(__file__).parents[2] / "conf" / "box_rule"


def test_every_configured_rule_gives_a_box_per_map_and_threshold_or_none() -> None:
    score_maps = torch.zeros(3, 6, 9)  # the second map has nothing to box
    score_maps[0, 1:4, 2:8] = 1
    score_maps[2] = torch.rand(6, 9, generator=torch.Generator().manual_seed(0))
    files = sorted(RULES.glob("*.yaml"))
    assert files
    for file in files:
        rule: BoxRule = instantiate(OmegaConf.load(file))
        boxes = rule(score_maps, [0.0, 0.2, 0.5])
        assert boxes.shape == (3, 3, 4), file
        assert boxes[0].tolist() == [[2, 1, 8, 4]] * 3, file
        assert not boxes[1].any(), file
        assert torch.equal(boxes[2:], rule(score_maps[2:], [0.0, 0.2, 0.5])), file
        assert rule(score_maps[:0], [0.2]).shape == (0, 1, 4), file


def test_the_largest_component_is_a_box_rule() -> None:
    rule: BoxRule = largest_component_boxes
    assert rule(torch.ones(1, 2, 3), [0.5]).tolist() == [[[0, 0, 3, 2]]]

from collections.abc import Callable
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from camloc.localization.contract import BoxRule, cuts_at_thresholds, needs_images
from camloc.localization.threshold_sweep import largest_component_boxes

RULES = Path(__file__).parents[2] / "conf" / "box_rule"


def test_every_configured_rule_gives_a_box_per_map_and_threshold_or_none() -> None:
    score_maps = torch.zeros(3, 6, 9)  # the second map has nothing to box
    score_maps[0, 1:4, 2:8] = 1
    score_maps[2] = torch.rand(6, 9, generator=torch.Generator().manual_seed(0))
    rules = {file: instantiate(OmegaConf.load(file)) for file in RULES.glob("*.yaml")}
    swept: dict[Path, BoxRule] = {file: rule for file, rule in rules.items() if cuts_at_thresholds(rule)}
    assert swept
    for file, rule in swept.items():
        boxes = rule(score_maps, [0.0, 0.2, 0.5])
        assert boxes.shape == (3, 3, 4), file
        assert boxes[0].tolist() == [[2, 1, 8, 4]] * 3, file
        assert not boxes[1].any(), file
        assert torch.equal(boxes[2:], rule(score_maps[2:], [0.0, 0.2, 0.5])), file
        assert rule(score_maps[:0], [0.2]).shape == (0, 1, 4), file


def test_the_largest_component_is_a_box_rule() -> None:
    rule: BoxRule = largest_component_boxes
    assert rule(torch.ones(1, 2, 3), [0.5]).tolist() == [[[0, 0, 3, 2]]]


def test_every_other_rule_gives_a_box_per_map_or_none() -> None:
    score_maps = torch.zeros(3, 24, 32)  # the second map has nothing to box
    score_maps[0, 8:16, 8:24] = torch.linspace(0.7, 1, 16)
    score_maps[2] = torch.rand(24, 32, generator=torch.Generator().manual_seed(0))
    images = torch.zeros(3, 3, 24, 32, dtype=torch.uint8)
    images[..., 8:16, 8:24] = 200
    rules = [instantiate(OmegaConf.load(file)) for file in sorted(RULES.glob("*.yaml"))]
    uncut = [rule for rule in rules if not cuts_at_thresholds(rule)]
    assert [needs_images(rule) for rule in uncut] == [True, False]
    for rule in uncut:

        def boxes(part: slice, rule: Callable[..., torch.Tensor] = rule) -> torch.Tensor:
            given = {"images": images[part]} if needs_images(rule) else {}
            return rule(score_maps[part], **given)

        assert boxes(slice(0, 3)).shape == (3, 4)
        assert boxes(slice(0, 3))[0].tolist() == [8, 8, 24, 16]
        assert not boxes(slice(0, 3))[1].any()
        assert torch.equal(boxes(slice(2, 3)), boxes(slice(0, 3))[2:])  # whatever else is in the batch
        assert boxes(slice(0, 0)).shape == (0, 4)

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from camloc.localization.released_boxes import _boxes, _levels, loose_and_tight_boxes, released_boxes

REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "released_boxes.py"))


def random_maps(count: int) -> list[Tensor]:
    """Noise at several scales and of several sizes, some maps with plateaus, most with holes."""
    generator = torch.Generator().manual_seed(0)
    maps = []
    for number in range(count):
        height, width, cells = torch.randint(5, 26, (3,), generator=generator).tolist()
        coarse = torch.rand(1, 1, max(2, cells // 4), max(2, cells // 3), generator=generator)
        fine = interpolate(coarse, (height, width), mode="bilinear")[0, 0]
        if number % 3 == 0:
            fine = fine * torch.rand(height, width, generator=generator)
        if number % 4 == 0:
            fine = (fine * 6).round() / 6
        maps.append((fine - fine.min()) / (fine.max() - fine.min()).clamp(min=1e-6))
    return maps


def test_agrees_with_a_plain_restatement_on_random_maps() -> None:
    several = drops = 0
    for score_map in random_maps(320):
        found = _boxes(_levels(score_map[None])[0])
        rects = [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in found]
        assert sorted(rects) == sorted(REFERENCE["boxes"](score_map.numpy()))
        areas = [width * height for *_, width, height in rects]
        assert areas == sorted(areas, reverse=True)
        kept = REFERENCE["kept"](rects)  # of equal areas the order is that of the contours
        corners = [[x, y, x + width, y + height] for x, y, width, height in kept]
        assert loose_and_tight_boxes(score_map[None])[0].tolist() == [corners[0], corners[min(1, len(corners) - 1)]]
        drops += len(kept) < len(rects)
        several += len(rects) > 3
    assert min(several, drops) > 50  # the maps try what there is to try


def test_two_regions_by_hand() -> None:
    score_map = torch.zeros(1, 30, 60)
    score_map[0, 2:22, 3:33] = 0.2  # level 51: above 20 alone
    score_map[0, 5:15, 40:50] = 1.0
    assert loose_and_tight_boxes(score_map).tolist() == [[[3, 2, 33, 22], [40, 5, 50, 15]]]
    assert released_boxes(score_map, box="tight").tolist() == [[40, 5, 50, 15]]
    assert released_boxes(score_map).tolist() == [[3, 2, 33, 22]]


def test_the_box_after_a_dropped_one_stays() -> None:
    # One region, the same at all three levels: the second box is dropped, the third passed over.
    score_map = torch.zeros(1, 20, 20)
    score_map[0, 4:10, 5:15] = 1.0
    assert loose_and_tight_boxes(score_map).tolist() == [[[5, 4, 15, 10]] * 2]
    # At the upper levels the region is a little smaller.
    score_map[0, 4, 5:15] = 0.3
    assert loose_and_tight_boxes(score_map).tolist() == [[[5, 4, 15, 10], [5, 5, 15, 10]]]


def test_what_is_not_far_inside_is_taken_off() -> None:
    # Distances in the square reach 24 of its 47 pixels, so the rim has 255/24 = 10.6, rounded 11, and stays.
    score_map = torch.zeros(1, 70, 80)
    score_map[0, 5:52, 5:52] = 1
    assert released_boxes(score_map).tolist() == [[5, 5, 52, 52]]
    score_map[0, 5:54, 5:54] = 1  # they reach 25: 10.2, rounded 10, goes
    assert released_boxes(score_map).tolist() == [[6, 6, 53, 53]]


@pytest.mark.parametrize("value", [0.0, 20 / 255, torch.nan, torch.inf])
def test_no_box(value: float) -> None:
    assert not loose_and_tight_boxes(torch.full((1, 6, 7), value)).any()


def test_a_map_without_background_is_boxed_whole() -> None:
    assert released_boxes(torch.ones(1, 1, 1)).tolist() == [[0, 0, 1, 1]]
    assert released_boxes(torch.full((1, 6, 7), 21 / 255)).tolist() == [[0, 0, 7, 6]]


def test_what_is_no_score_map_is_refused() -> None:
    with pytest.raises(ValueError, match=r"span 0 to 2; normalize every map to \[0, 1\]"):
        released_boxes(torch.tensor([[[0.0, 2.0]]]))
    with pytest.raises(ValueError, match=r"give \(P,H,W\)"):
        released_boxes(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"box_rule\.box must be loose or tight, found 'wide'"):
        released_boxes(torch.zeros(1, 2, 3), box="wide")  # type: ignore[arg-type] # what is tried
    assert released_boxes(torch.zeros(0, 2, 3)).shape == (0, 4)
    assert np.array_equal(_levels(torch.tensor([[[0.5, 0.0019, 0.002]]])), [[[128, 0, 1]]])

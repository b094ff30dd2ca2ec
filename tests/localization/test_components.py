"""Components of a map: the first is the box rule's largest, and the labels are its pixels."""

import numpy as np
import pytest
import torch

from camloc.localization.components import components
from camloc.localization.threshold_sweep import largest_component_boxes


@pytest.mark.parametrize("seed", range(30))
def test_the_first_is_the_largest_of_the_box_rule(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Few levels make many components of equal area, whose order must be the rule's too.
    score_map = generator.integers(0, 4, (17, 23)).astype(np.float32) / np.float32(3)
    for cut in (0.0, 0.2, 1 / 3, 0.7):
        expected = largest_component_boxes(torch.from_numpy(score_map)[None], [cut])[0, 0].tolist()
        found = components(score_map, cut)
        assert found.boxes[0].tolist() == expected
        assert (found.labels > 0).sum() == (score_map > np.float32(cut) * score_map.max()).sum()
        for number, box in enumerate(found.boxes.tolist(), start=1):
            rows, columns = np.nonzero(found.labels == number)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        areas = [int((found.labels == number).sum()) for number in range(1, len(found.boxes) + 1)]
        assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("value", [0.0, np.nan, -1.0])
def test_a_map_without_a_place_has_none(value: float) -> None:
    score_map = np.full((3, 4), value, np.float32)
    assert components(score_map, 0.2).boxes.shape == (0, 4)
    assert not components(score_map, 0.2).labels.any()


def test_pixels_that_touch_at_a_corner_are_one() -> None:
    score_map = np.eye(3, dtype=np.float32)
    assert components(score_map, 0.5).boxes.tolist() == [[0, 0, 3, 3]]

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from camloc.report.heatmap import overlay_heatmap

GRAY = 90


def gray_image(height: int, width: int) -> Tensor:
    return torch.full((3, height, width), GRAY, dtype=torch.uint8)


class TestOverlayHeatmap:
    def test_hot_is_brighter_than_cold_by_the_colours_of_inferno(self) -> None:
        image = torch.full((3, 1, 2), 200, dtype=torch.uint8)
        heatmap = overlay_heatmap(image, torch.tensor([[0.0, 1.0]]))
        # inferno runs from (0, 0, 3) to (252, 254, 164)
        assert heatmap.tolist() == [[[100, 100, 101], [226, 227, 182]]]
        assert heatmap.dtype == np.uint8

    @given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 255))
    def test_brightness_never_falls_as_the_score_rises(self, a: float, b: float, gray: int) -> None:
        image = torch.full((3, 1, 2), gray, dtype=torch.uint8)
        cold, hot = overlay_heatmap(image, torch.tensor([[min(a, b), max(a, b)]])).astype(int)[0]
        luma = np.array([0.299, 0.587, 0.114])
        assert hot @ luma >= cold @ luma - 1  # both were rounded to whole colours

    def test_all_colour_is_score(self) -> None:
        # (255, 0, 0) and (76, 76, 76) have one luma, so one map looks the same on both.
        red, gray = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.full((3, 2, 2), 76, dtype=torch.uint8)
        red[0] = 255
        score_map = torch.tensor([[0.0, 0.3], [0.6, 1.0]])
        heatmap = overlay_heatmap(red, score_map)
        np.testing.assert_array_equal(heatmap, overlay_heatmap(gray, score_map))

    def test_rows_and_columns_keep_their_places(self) -> None:
        score_map = torch.zeros(4, 6)
        score_map[1, 5] = 1
        heatmap = overlay_heatmap(gray_image(4, 6), score_map)
        assert heatmap.shape == (4, 6, 3)
        assert heatmap[..., 0].argmax() == 1 * 6 + 5

    def test_nan_draws_and_a_map_with_gradient_draws(self) -> None:
        score_map = torch.tensor([[math.nan, 1.0]], requires_grad=True)
        assert overlay_heatmap(gray_image(1, 2), score_map)[0, 0].tolist() == [45, 45, 45]

    @pytest.mark.parametrize(
        "image",
        [torch.zeros(3, 4, 6), torch.zeros(1, 4, 6, dtype=torch.uint8), torch.zeros(4, 6, 3, dtype=torch.uint8)],
        ids=["float", "one channel", "channels last"],
    )
    def test_an_image_of_another_layout_is_refused(self, image: Tensor) -> None:
        with pytest.raises(ValueError, match=r"\(3,H,W\) uint8"):
            overlay_heatmap(image, torch.zeros(4, 6))

    def test_a_map_of_another_size_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(2, 3\).*\(4, 6\)"):
            overlay_heatmap(gray_image(4, 6), torch.zeros(2, 3))

import math
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from camloc.attribution.score_map import Interpolation, Normalization, normalize, score_map

LINEAR: tuple[Normalization, ...] = ("minmax", "max")  # those without a quantile
METHODS: tuple[Normalization, ...] = ("minmax", "max", "pas", "ivr")  # those that stretch a map
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
TINY = torch.finfo(torch.float32).tiny
LARGEST = torch.finfo(torch.float32).max

any_float32 = st.floats(width=32)
finite_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def maps_of(values: st.SearchStrategy[float]) -> st.SearchStrategy[Tensor]:
    sides = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
    return sides.flatmap(
        lambda shape: st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)).map(
            lambda numbers: torch.tensor(numbers).view(shape)
        )
    )


class TestNormalize:
    def test_minmax_by_hand(self) -> None:
        maps = torch.tensor([[[-2.0, 0.0], [2.0, 6.0]], [[1.0, 1.5], [3.0, 2.0]]])
        assert normalize(maps).tolist() == [[[0.0, 0.25], [0.5, 1.0]], [[0.0, 0.25], [1.0, 0.5]]]

    def test_max_by_hand(self) -> None:
        maps = torch.tensor([[[-2.0, 0.0], [2.0, 8.0]], [[1.0, 1.5], [4.0, 2.0]]])
        assert normalize(maps, "max").tolist() == [[[0.0, 0.0], [0.25, 1.0]], [[0.25, 0.375], [1.0, 0.5]]]

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize(
        "values",
        [
            [0.0, 0.0],
            [3.0, 3.0],
            [-3.0, -3.0],
            [0.0, math.nan],
            [0.0, math.inf],
            [1.0, -math.inf],
            [math.inf, math.inf],
            [-LARGEST, LARGEST],  # the range overflows
            [0.0, TINY / 2],  # the range underflows
        ],
    )
    def test_maps_without_a_place_become_zeros(self, method: Normalization, values: list[float]) -> None:
        good = [0.0, 4.0]
        assert normalize(torch.tensor([[values], [good]]), method).tolist() == [[[0.0, 0.0]], [[0.0, 1.0]]]

    def test_max_of_a_map_with_nothing_above_zero(self) -> None:
        assert normalize(torch.tensor([[[-3.0, -1.0, 0.0]]]), "max").tolist() == [[[0.0, 0.0, 0.0]]]

    def test_max_of_a_map_with_almost_nothing_above_zero(self) -> None:
        assert normalize(torch.tensor([[[-1.0, TINY / 4]]]), "max").tolist() == [[[0.0, 0.0]]]

    @pytest.mark.parametrize("method", LINEAR)
    def test_smallest_range_that_counts(self, method: Normalization) -> None:
        assert normalize(torch.tensor([[[0.0, TINY / 2, TINY]]]), method).tolist() == [[[0.0, 0.5, 1.0]]]

    @pytest.mark.parametrize("method", METHODS)
    def test_one_pixel(self, method: Normalization) -> None:
        assert normalize(torch.tensor([[[5.0]]]), method).tolist() == [[[0.0]]]

    def test_half_precision_in_float32_out(self) -> None:
        maps = normalize(torch.tensor([[[0.0, 1.0, 3.0]]], dtype=torch.float16))
        torch.testing.assert_close(maps, torch.tensor([[[0.0, 1 / 3, 1.0]]]))

    def test_unknown_method(self) -> None:
        with pytest.raises(
            ValueError, match=r"normalization must be one of \('minmax', 'max', 'pas', 'ivr', 'none'\), found 'sum'"
        ):
            normalize(torch.zeros(1, 2, 2), "sum")  # type: ignore[arg-type]  # what a configuration may say

    @pytest.mark.parametrize("shape", [(2, 2), (1, 1, 2, 2), (1, 0, 3)])
    def test_no_batch_of_maps(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"maps must be \(P,height,width\)"):
            normalize(torch.zeros(shape))

    @given(maps_of(any_float32), st.sampled_from(METHODS))
    def test_whatever_comes_stays_between_0_and_1(self, maps: Tensor, method: Normalization) -> None:
        scores = normalize(maps, method)
        assert ((scores >= 0) & (scores <= 1)).all()  # false for NaN
        peaks = scores.amax(dim=(1, 2))
        assert ((peaks == 1) | (peaks == 0)).all()

    @given(maps_of(finite_float32), st.sampled_from(LINEAR))
    def test_peak_is_exactly_1_unless_degenerate(self, maps: Tensor, method: Normalization) -> None:
        for values, scores in zip(maps.double(), normalize(maps, method), strict=True):
            low, high = values.min().item(), values.max().item()
            spread = torch.tensor(high - low, dtype=torch.float32).item()  # infinite beyond float32
            usable = TINY <= spread < math.inf and (method == "minmax" or high >= TINY)
            assert scores.max() == (1 if usable else 0)
            assert not usable or scores.flatten()[values.argmax()] == 1
            assert not usable or method == "max" or scores.min() == 0

    @given(
        maps_of(st.integers(-100, 100).map(float)),
        st.floats(0.25, 8, width=32),
        st.integers(-100, 100).map(float),
    )
    def test_minmax_forgets_scale_and_offset(self, maps: Tensor, scale: float, offset: float) -> None:
        # Values below 1000 carry rounding errors below 1e-4, ranges are at least 0.25.
        spread = maps.amax(dim=(1, 2)) - maps.amin(dim=(1, 2))
        changed, same = normalize(maps * scale + offset), normalize(maps)
        torch.testing.assert_close(changed[spread > 0], same[spread > 0], rtol=0, atol=1e-3)

    @given(maps_of(finite_float32), st.sampled_from(METHODS))
    def test_order_is_kept(self, maps: Tensor, method: Normalization) -> None:
        for values, scores in zip(maps, normalize(maps, method), strict=True):
            in_order = scores.flatten()[values.flatten().argsort()]
            assert (in_order.diff() >= 0).all()


class TestScoreMap:
    def test_size_is_height_then_width(self) -> None:
        cam = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        scores = score_map(cam, size=(3, 8))
        assert scores.shape == (1, 3, 8)
        assert scores[0, :, 0].argmax() == 2  # downwards grows faster than to the right
        torch.testing.assert_close(scores[0, -1, -1], torch.tensor(1.0))

    def test_bilinear_by_hand(self) -> None:
        # Two cells over four pixels: centres at 0.5 and 2.5, so 0, 1/4, 3/4, 1; above, the same with the other sign.
        cam = torch.tensor([[[0.0, 4.0], [4.0, 0.0]]])
        scores = score_map(cam, size=(2, 4))
        assert scores.tolist() == [[[0.0, 0.25, 0.75, 1.0], [1.0, 0.75, 0.25, 0.0]]]

    @pytest.mark.parametrize(("interpolation", "flag"), [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)])
    def test_agrees_with_opencv(self, interpolation: Interpolation, flag: int) -> None:
        cam = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
        upsampled = cv2.resize(cam, (90, 40), interpolation=flag)  # (width, height)
        expected = (upsampled - upsampled.min()) / (upsampled.max() - upsampled.min())
        scores = score_map(torch.from_numpy(cam)[None], size=(40, 90), interpolation=interpolation)
        np.testing.assert_allclose(scores[0].numpy(), expected, atol=2e-5)

    def test_upsampled_before_normalized(self) -> None:
        # The cubic overshoots the largest cell; only afterwards is the peak known.
        cam = torch.tensor([[[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]])
        scores = score_map(cam, size=(1, 60), normalization="max", interpolation="bicubic")
        assert scores.max() == 1
        assert scores[0, 0, 25] < 1  # the cell's centre, below the overshoot between the two

    @pytest.mark.parametrize("interpolation", INTERPOLATIONS)
    @pytest.mark.parametrize("normalization", METHODS)
    @pytest.mark.parametrize("value", [0.1, -7.3, 1e30, math.nan, math.inf])
    def test_constant_and_non_finite_maps_become_zeros(
        self, value: float, normalization: Normalization, interpolation: Interpolation
    ) -> None:
        cam = torch.full((1, 7, 7), value)
        assert not score_map(cam, (100, 150), normalization, interpolation).any()

    @pytest.mark.parametrize("normalization", METHODS)
    def test_one_bad_cell_spoils_only_its_own_map(self, normalization: Normalization) -> None:
        cam = torch.tensor([[[0.0, math.nan], [1.0, 2.0]], [[0.0, 1.0], [2.0, 3.0]]])
        scores = score_map(cam, (8, 8), normalization)
        assert not scores[0].any()
        assert scores[1].max() == 1

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_float32_under_autocast_and_from_half_maps(self, dtype: torch.dtype) -> None:
        cam = torch.linspace(0, 1, 49, dtype=dtype).view(1, 7, 7)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = score_map(cam, (30, 20))
        assert scores.dtype == torch.float32
        assert torch.equal(scores, score_map(cam.float(), (30, 20)))

    def test_unknown_interpolation(self) -> None:
        with pytest.raises(ValueError, match=r"interpolation must be one of .*, found 'nearest'"):
            score_map(torch.zeros(1, 2, 2), (4, 4), interpolation="nearest")  # type: ignore[arg-type]  # a user's slip

    def test_no_batch_of_maps(self) -> None:
        with pytest.raises(ValueError, match=r"cam must be \(P,height,width\).*found \(2, 2\)"):
            score_map(torch.zeros(2, 2), (4, 4))

    def test_no_images(self) -> None:
        assert score_map(torch.zeros(0, 3, 3), (6, 8)).shape == (0, 6, 8)

    @given(
        maps_of(any_float32),
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        st.sampled_from(METHODS),
        st.sampled_from(INTERPOLATIONS),
    )
    def test_whatever_comes_stays_between_0_and_1(
        self, cam: Tensor, size: tuple[int, int], normalization: Normalization, interpolation: Interpolation
    ) -> None:
        scores = score_map(cam, size, normalization, interpolation)
        assert scores.shape == (len(cam), *size)
        assert ((scores >= 0) & (scores <= 1)).all()


def test_pas_saturates_above_the_quantile_by_hand() -> None:
    maps = torch.tensor([[[0.0, 1.0, 2.0, 3.0, 4.0]]]) - 1
    assert normalize(maps, "pas", quantile=0.5).tolist() == [[[0.0, 0.5, 1.0, 1.0, 1.0]]]


def test_ivr_clears_what_lies_below_the_quantile_by_hand() -> None:
    maps = torch.tensor([[[0.0, 1.0, 2.0, 3.0, 4.0]]]) * 10 + 7
    assert normalize(maps, "ivr", quantile=0.5).tolist() == [[[0.0, 0.0, 0.0, 0.5, 1.0]]]


@pytest.mark.parametrize("method", ["pas", "ivr"])
def test_quantile_normalizations_keep_the_order_and_the_range(method: Normalization) -> None:
    maps = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    normalized = normalize(maps, method)
    assert normalized.amin().item() == 0
    assert normalized.amax(dim=(1, 2)).tolist() == [1, 1, 1]
    for before, after in zip(maps.flatten(1), normalized.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("method", ["pas", "ivr"])
def test_a_quantile_that_leaves_no_range_gives_zeros(method: Normalization) -> None:
    # Nine tenths of pas's map are 0, and ivr's quantile is the maximum: nothing is left to divide by.
    maps = torch.zeros(1, 1, 20) if method == "pas" else torch.ones(1, 1, 20)
    maps[0, 0, 0] = 1 if method == "pas" else 0
    assert not normalize(maps, method).any()


@pytest.mark.parametrize(("method", "quantile"), [("minmax", 0.5), ("pas", 90), ("ivr", -0.1)])
def test_a_quantile_that_does_not_belong_is_refused(method: Normalization, quantile: float) -> None:
    with pytest.raises(ValueError, match=r"quantile is a fraction in \[0, 1\] for pas and ivr"):
        normalize(torch.zeros(1, 2, 2), method, quantile)


class TestNone:
    def test_score_maps_are_kept_as_they_are(self) -> None:
        maps = torch.tensor([[[0.1, 0.25], [0.75, 0.5]], [[0.0, 1.0], [0.0, 0.0]]])
        assert torch.equal(normalize(maps, "none"), maps)
        assert torch.equal(score_map(maps, (2, 2), "none"), maps)

    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_constant_and_one_pixel_maps_keep_their_value(self, value: float) -> None:
        assert score_map(torch.tensor([[[value]]]), (2, 3), "none").tolist() == [[[value] * 3] * 2]

    def test_upsampled_by_hand(self) -> None:
        maps = torch.tensor([[[0.0, 0.5]]])
        assert score_map(maps, (1, 4), "none").tolist() == [[[0.0, 0.125, 0.375, 0.5]]]

    def test_the_overshoot_of_the_cubic_is_cut_off(self) -> None:
        maps = torch.tensor([[[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]])
        scores = score_map(maps, (1, 60), "none", "bicubic")
        assert scores.min() == 0
        assert scores.max() == 1
        assert scores[0, 0, 29] == 1  # between the two cells

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_one_bad_cell_spoils_only_its_own_map(self, value: float) -> None:
        maps = torch.tensor([[[0.5, value]], [[0.5, 1.0]]])
        assert score_map(maps, (1, 2), "none").tolist() == [[[0.0, 0.0]], [[0.5, 1.0]]]

    @pytest.mark.parametrize(("wrong", "found"), [(-0.25, "-0.25 to 0.5"), (255.0, "0 to 255")])
    def test_values_that_are_no_scores_are_refused(self, wrong: float, found: str) -> None:
        maps = torch.tensor([[[math.nan, 7.0]], [[0.5, wrong]]])
        with pytest.raises(ValueError, match=rf"score_map=none .* found values from {found}; .*score_map=minmax"):
            score_map(maps, (4, 4), "none")

    def test_no_maps(self) -> None:
        assert score_map(torch.zeros(0, 3, 3), (6, 8), "none").shape == (0, 6, 8)

    def test_a_quantile_is_refused(self) -> None:
        with pytest.raises(ValueError, match="quantile is a fraction"):
            score_map(torch.zeros(1, 2, 2), (4, 4), "none", quantile=0.5)

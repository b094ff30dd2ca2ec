import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from camloc.metrics.functional.max_box_acc import wsolevaluation_thresholds
from camloc.metrics.functional.pxap import pixel_average_precision, score_histograms
from camloc.metrics.pxap import PxAP
from camloc.records import SplitOutcome

REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "wsolevaluation.py"))


def example(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Maps with many values on a threshold, masks and pixels to ignore."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(count, 9, 13, generator=generator, dtype=dtype)
    maps = torch.where(maps < 0.5, (maps * 20).floor() / 10, maps)
    masks = torch.rand(maps.shape, generator=generator) < maps / 2
    return maps, masks, torch.rand(maps.shape, generator=generator) < 0.2


def pxap(maps: Tensor, masks: Tensor, ignore: Tensor | None = None, interval: float = 0.001) -> float:
    metric = PxAP(interval)
    metric.update(maps, masks, torch.zeros_like(masks) if ignore is None else ignore)
    return metric.compute()["pxap"].item()


@pytest.mark.parametrize("interval", [0.001, 0.01, 0.3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_plain_restatement(interval: float, dtype: torch.dtype) -> None:
    for seed in range(10):
        batch = example(5, seed, dtype)
        expected = REFERENCE["pxap"](*(part.numpy() for part in batch), interval)
        assert 100 * pxap(*batch, interval=interval) == pytest.approx(expected, abs=1e-11)


def test_histograms_equal_those_of_numpy() -> None:
    maps, masks, ignore = example(4)
    edges = [*np.arange(0, 1, 0.1), 1, 2, 3]
    maps[0, 0] = torch.from_numpy(np.array([*edges[:11], 1, 1]))
    found = score_histograms(maps, masks, ignore, wsolevaluation_thresholds(0.1)).sum(dim=0)
    for counts, pixels in zip(found, (masks, ~masks & ~ignore), strict=True):
        assert counts.tolist() == np.histogram(maps[pixels].numpy(), edges)[0].tolist()


def test_by_hand() -> None:
    scores = torch.tensor([[[0.9, 0.8, 0.7, 0.2]]])
    masks = torch.tensor([[[True, False, True, False]]])
    # Precision 1 at recall 1/2, 1/2 at 1/2, 2/3 at 1.
    assert pxap(scores, masks) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    # Within one bin the order is lost: all but the last are predicted at once.
    assert pxap(scores, masks, interval=0.5) == pytest.approx(2 / 3)


def test_a_perfect_map_has_precision_1() -> None:
    _, masks, ignore = example(3)
    assert pxap(masks.float(), masks, ignore) == 1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_map_has_the_share_of_the_foreground(value: float) -> None:
    _, masks, ignore = example(3)
    share = masks.sum() / (masks | ~ignore).sum()
    assert pxap(torch.full(masks.shape, value), masks, ignore) == pytest.approx(share.item())


def test_scores_of_ignored_pixels_do_not_matter_but_foreground_is_never_ignored() -> None:
    maps, masks, ignore = example(3)
    expected = pxap(maps, masks, ignore)
    assert pxap(torch.where(ignore & ~masks, 1.0, maps), masks, ignore) == expected
    assert pxap(torch.where(ignore & masks, 0.0, maps), masks, ignore) < expected


def test_pixels_are_pooled_over_images() -> None:
    # Each image alone is perfect; together the second's background comes before the first's foreground.
    maps = torch.tensor([[[0.4, 0.1]], [[0.9, 0.6]]])
    masks = torch.tensor([[[True, False]], [[True, False]]])
    assert pxap(maps[:1], masks[:1]) == pxap(maps[1:], masks[1:]) == 1
    assert pxap(maps, masks) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_batches_parts_and_padding_do_not_change_the_counts() -> None:
    maps, masks, ignore = example(7)
    whole, first, second = (PxAP() for _ in range(3))
    whole.update(maps, masks, ignore)
    first.update(maps[:3], masks[:3], ignore[:3])
    is_padding = torch.tensor([False, True, False, False, False])
    rows = [3, 0, 4, 5, 6]
    second.update(maps[rows], masks[rows], ignore[rows], is_padding)
    second.update(maps[:1], masks[:1], ignore[:1], torch.tensor([True]))
    second.merge_state(first)
    assert torch.equal(second.histograms, whole.histograms)
    assert second.num_images == whole.num_images == 7
    assert second.histograms.dtype == torch.int64


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 3), min_size=1, max_size=5), st.sampled_from([3, 5, 16]))
def test_the_same_maps_have_the_same_counts_in_batches_of_any_shape(seed: int, sizes: list[int], side: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(sum(sizes), side, side, generator=generator)
    on_thresholds = wsolevaluation_thresholds(0.001).float()
    maps.view(-1)[::3] = on_thresholds[torch.arange(maps.view(-1)[::3].numel()) % len(on_thresholds)]
    masks, ignore = maps > 0.5, maps < 0.1
    whole, parts = PxAP(), PxAP()
    whole.update(maps, masks, ignore)
    for batch in zip(*(torch.split(part, sizes) for part in (maps, masks, ignore)), strict=True):
        # A stride of another layout is the same map.
        parts.update(batch[0].transpose(1, 2).contiguous().transpose(1, 2), *batch[1:])
    assert torch.equal(whole.histograms, parts.histograms)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=20), st.data())
def test_a_pixel_that_changes_its_bin_moves_it_by_at_most_two_pixels_of_foreground(
    bins: list[tuple[int, int]], data: st.DataObject
) -> None:
    histograms = torch.tensor([*bins, (0, 0)]).T.contiguous()
    kind, place = data.draw(st.integers(0, 1)), data.draw(st.integers(0, len(bins) - 2))
    histograms[kind, place + 1] += 1
    histograms[0, -2] += 1
    moved = histograms.clone()
    moved[kind, place + 1] -= 1
    moved[kind, place] += 1
    change = abs(pixel_average_precision(moved) - pixel_average_precision(histograms)).item()
    assert change <= 2 / histograms[0].sum().item() + 1e-12


def test_maps_that_are_not_finite_count_as_zeros() -> None:
    maps, masks, ignore = example(3)
    maps[1, 2, 3] = torch.nan
    maps[2] = 0.5
    metric = PxAP()
    metric.update(maps, masks, ignore)
    assert metric.compute()["num_degenerate"] == 2
    maps[1] = 0
    assert metric.compute()["pxap"].item() == pxap(maps, masks, ignore)


def test_no_foreground_and_nothing_counted_are_nan() -> None:
    maps, masks, ignore = example(2)
    assert np.isnan(pxap(maps, torch.zeros_like(masks), ignore))
    assert np.isnan(pxap(maps[:0], masks[:0], ignore[:0]))


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_lies_between_0_and_1_and_rises_with_an_added_hit(bins: list[tuple[int, int]]) -> None:
    histograms = torch.tensor([*bins, (0, 0)]).T
    histograms[0, 0] += 1
    precision = pixel_average_precision(histograms).item()
    assert 0 < precision <= 1
    fewer_wrong = histograms.clone()
    fewer_wrong[1, -2] = 0
    assert pixel_average_precision(fewer_wrong).item() >= precision - 1e-12


@pytest.mark.parametrize(
    ("maps", "masks", "ignore", "complaint"),
    [
        (torch.ones(1, 2, 2), torch.ones(1, 2, 3).bool(), torch.ones(1, 2, 2).bool(), r"masks is .* \(1, 2, 3\); give"),
        (torch.ones(1, 2, 2), torch.ones(1, 2, 2), torch.ones(1, 2, 2).bool(), r"masks is torch.float32 .* give bool"),
        (torch.ones(1, 2, 2), torch.ones(1, 2, 2).bool(), torch.ones(1, 2).bool(), r"ignore is .* \(1, 2\); give bool"),
        (torch.full((1, 2, 2), 1.5), torch.ones(1, 2, 2).bool(), torch.ones(1, 2, 2).bool(), "spans 1.5 to 1.5"),
    ],
)
def test_input_is_checked(maps: Tensor, masks: Tensor, ignore: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PxAP().update(maps, masks, ignore)


@pytest.mark.parametrize("interval", [0.0, 2.0])
def test_interval_is_checked(interval: float) -> None:
    with pytest.raises(ValueError, match=f"cam_curve_interval .* got {interval}"):
        PxAP(interval)


def split(maps: Tensor, masks: Tensor, ignore: Tensor) -> SplitOutcome:
    pixels = PxAP(0.1).update(maps, masks, ignore).values["pixels"]
    return SplitOutcome(
        [str(i) for i in range(len(maps))], torch.zeros(len(maps), dtype=torch.int64), {"pixels": pixels}
    )


def test_the_outcome_holds_the_pixels_of_counted_pairs() -> None:
    maps, masks, ignore = example(3)
    metric = PxAP(0.1)
    pixels = metric.update(maps, masks, ignore, torch.tensor([False, True, False])).values["pixels"]
    assert torch.equal(pixels, score_histograms(maps, masks, ignore, wsolevaluation_thresholds(0.1))[[0, 2]])
    assert torch.equal(pixels.sum(dim=0), metric.histograms)


def test_the_interval_equals_a_plain_bootstrap() -> None:
    outcome = split(*example(8))
    draw, _ = np.random.default_rng(0).spawn(2)
    plain = []
    for _ in range(1000):
        foreground, background = outcome.values["pixels"].numpy()[draw.integers(8, size=8)].sum(axis=0)
        area, true, wrong = 0.0, 0, 0
        for more_true, more_wrong in zip(foreground[::-1], background[::-1], strict=True):
            true, wrong = true + more_true, wrong + more_wrong
            area += more_true / foreground.sum() * true / max(true + wrong, 1)
        plain.append(area)
    found = PxAP(0.1).intervals(outcome, None)
    assert found == {"pxap": pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])))}


def test_without_foreground_there_is_no_interval() -> None:
    maps, masks, ignore = example(2)
    assert PxAP(0.1).intervals(split(maps, torch.zeros_like(masks), ignore), None) == {}
    assert PxAP(0.1).intervals(split(maps[:0], masks[:0], ignore[:0]), None) == {}


def test_its_row_has_no_threshold() -> None:
    (row,) = PxAP().rows
    assert (row.key, row.direction, row.threshold) == ("pxap", "max", "none")

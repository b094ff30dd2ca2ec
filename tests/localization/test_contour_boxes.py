import runpy
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from camloc.localization.contour_boxes import best_iou_per_threshold

REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "wsolevaluation.py"))
Array = NDArray[np.float64]


def grid(*rows: str) -> Tensor:
    """A map (1,H,W) with a digit for each pixel, nines becoming 1."""
    return torch.tensor([[[int(digit) / 9 for digit in row] for row in rows]], dtype=torch.float64)


def boxes_found(score_map: Tensor, threshold: float) -> tuple[list[list[int]], list[list[int]]]:
    """The single-contour and the multi-contour boxes of a small map, sorted: all those that some contour fits."""
    _, height, width = score_map.shape
    spans = [(a, b) for a in range(max(height, width)) for b in range(a, max(height, width))]
    candidates = [[x0, y0, x1, y1] for y0, y1 in spans for x0, x1 in spans if y1 < height and x1 < width]
    single, multi = best_iou_per_threshold(
        score_map.expand(len(candidates), -1, -1), [torch.tensor([box]) for box in candidates], [threshold]
    )
    exact = [sorted(box for box, iou in zip(candidates, ious, strict=True) if iou == 1) for ious in (single, multi)]
    return exact[0], exact[1]


def random_maps(seed: int, sizes: tuple[int, int]) -> Iterator[Array]:
    """One map of each kind, in [0,1]."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(*sizes, 2))
    y, x = np.mgrid[:height, :width]
    coarse = rng.standard_normal((7, 7))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    rings = np.cos(np.hypot(y - height / 2, x - width / 2) * rng.uniform(0.2, 1))
    maps = {
        "smooth": smooth,
        "smooth and negative": -10 + smooth,
        "noise": rng.random((height, width)),
        "smooth and noise": smooth + 0.2 * rng.standard_normal((height, width)),
        "blurred noise": cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 2),
        "few levels": rng.integers(0, 5, (height, width)).astype(float),
        "rings": rings + 0.2 * rng.random((height, width)),
        "holes": (rng.random((height, width)) < 0.7).astype(float),
        "lines": np.maximum(y % 4 == 0, x % rng.integers(3, 9) == 0) * rng.random((height, width)),
        "one pixel": (y * width + x == rng.integers(height * width)).astype(float),
    }
    for score_map in maps.values():
        lifted = score_map - score_map.min()
        yield lifted / lifted.max() if lifted.max() > 0 else lifted
    yield np.full((height, width), rng.random())
    yield np.zeros((height, width))


def random_boxes(rng: np.random.Generator, score_map: Array) -> NDArray[np.int64]:
    height, width = score_map.shape
    corners = rng.integers(0, [width, height], (rng.integers(1, 5), 2, 2))
    return np.sort(corners, axis=1).reshape(-1, 4)


def assert_equals_contours(score_map: Array, gt_boxes: NDArray[np.int64], interval: float) -> None:
    thresholds = np.arange(0, 1, interval)
    single, multi = best_iou_per_threshold(
        torch.from_numpy(score_map)[None], [torch.from_numpy(gt_boxes)], torch.from_numpy(thresholds)
    )
    expected_single, expected_multi = REFERENCE["best_ious"](score_map, gt_boxes, thresholds)
    assert single[0].tolist() == expected_single
    assert multi[0].tolist() == expected_multi


@pytest.mark.parametrize(("interval", "count", "sizes"), [(0.01, 2, (1, 70)), (0.001, 1, (15, 30))])
def test_equals_contours_at_every_threshold(interval: float, count: int, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for seed in range(count):
        for score_map in random_maps(seed, sizes):
            assert_equals_contours(score_map, random_boxes(rng, score_map), interval)


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0.01, 0.001])
@pytest.mark.parametrize(("sizes", "count"), [((1, 40), 24), ((40, 120), 4), ((224, 225), 1)])
def test_equals_contours_on_many_maps(sizes: tuple[int, int], count: int, interval: float) -> None:
    rng = np.random.default_rng(1)
    for seed in range(count):
        for score_map in random_maps(seed, sizes):
            assert_equals_contours(score_map, random_boxes(rng, score_map), interval)


shapes = st.tuples(st.integers(1, 12), st.integers(1, 15))
few_levels = st.integers(1, 6).flatmap(
    lambda top: hnp.arrays(np.int64, shapes, elements=st.integers(0, top)).map(lambda levels: levels / top)
)
any_values = hnp.arrays(np.float64, shapes, elements=st.floats(0, 1))


@settings(max_examples=200)
@given(st.one_of(few_levels, any_values), st.integers(0, 2**32))
def test_equals_contours_on_small_maps(score_map: Array, seed: int) -> None:
    assert_equals_contours(score_map, random_boxes(np.random.default_rng(seed), score_map), 0.05)


@settings(max_examples=300)
@given(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 1)))
@example(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8))  # a hole border of the same area as the outer one
def test_opencv_lists_the_largest_outer_border_that_starts_last_before_all_of_its_area(mask: NDArray[np.uint8]) -> None:
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return
    areas = [cv2.contourArea(contour) for contour in contours]
    outermost = [i for i, (_, _, _, outside) in enumerate(hierarchy[0]) if outside < 0]
    starts = {i: min((y, x) for x, y in contours[i][:, 0].tolist()) for i in outermost if areas[i] == max(areas)}
    assert max(starts, key=lambda i: starts[i]) == areas.index(max(areas))


def test_box_ends_one_pixel_after_the_contour_but_inside_the_image() -> None:
    blob = grid(
        "00000",
        "09900",
        "00000",
    )
    assert boxes_found(blob, 0.5) == ([[1, 1, 3, 2]], [[1, 1, 3, 2]])
    corner = grid(
        "000",
        "099",
    )
    assert boxes_found(corner, 0.5) == ([[1, 1, 2, 1]], [[1, 1, 2, 1]])


def test_hole_has_a_box_one_pixel_wider_than_itself() -> None:
    ring = grid(
        "999999",
        "999999",
        "990099",
        "999999",
        "999999",
        "000000",
    )
    single, multi = boxes_found(ring, 0.5)
    assert single == [[0, 0, 5, 5]]
    assert multi == [[0, 0, 5, 5], [1, 1, 5, 4]]


def test_a_background_that_reaches_the_border_of_the_image_is_no_hole() -> None:
    wide = grid(
        "9999999",
        "9900999",
        "9999999",
        "9999999",
        "0000000",
    )
    assert boxes_found(wide, 0.5)[1] == [[0, 0, 6, 4], [1, 0, 5, 3]]
    wide[0, 0, 2] = 0
    assert boxes_found(wide, 0.5)[1] == [[0, 0, 6, 4]]


def test_foreground_joins_across_corners_and_background_does_not() -> None:
    diagonal = grid(
        "999990",
        "999090",
        "990990",
        "999990",
        "000000",
    )
    assert boxes_found(diagonal, 0.5)[1] == [[0, 0, 5, 4], [1, 1, 4, 4], [2, 0, 5, 3]]
    corners = grid(
        "900",
        "090",
        "000",
    )
    assert boxes_found(corners, 0.5)[1] == [[0, 0, 2, 2]]


def test_single_contour_is_the_largest_polygon_not_the_most_pixels() -> None:
    outline_beats_solid = grid(
        "99999000",
        "90009000",
        "90009099",
        "90009099",
        "99999099",
    )
    assert boxes_found(outline_beats_solid, 0.5)[0] == [[0, 0, 5, 4]]
    # A line encloses nothing however long it is; a triangle encloses a half.
    line_and_triangle = grid(
        "99999999",
        "00000000",
        "09000000",
        "09900000",
        "00000000",
    )
    assert boxes_found(line_and_triangle, 0.5)[0] == [[1, 2, 3, 4]]


def test_of_equal_polygons_the_one_that_starts_last_is_taken() -> None:
    squares = grid(
        "00990",
        "00990",
        "00000",
        "99000",
        "99000",
        "00000",
    )
    assert boxes_found(squares, 0.5)[0] == [[0, 3, 2, 5]]
    points = grid(
        "90000",
        "00090",
        "00000",
    )
    assert boxes_found(points, 0.5)[0] == [[3, 1, 4, 2]]


def test_regions_merge_as_the_cut_falls_and_a_hole_opens_as_it_rises() -> None:
    arms = grid(
        "909000",
        "909000",
        "555000",
        "000000",
    )
    assert boxes_found(arms, 0.7)[1] == [[0, 0, 1, 2], [2, 0, 3, 2]]
    assert boxes_found(arms, 0.2)[1] == [[0, 0, 3, 3]]
    pit = grid(
        "9999",
        "9599",
        "9999",
        "0000",
    )
    assert boxes_found(pit, 0.2)[1] == [[0, 0, 3, 3]]
    assert boxes_found(pit, 0.7)[1] == [[0, 0, 3, 3]]
    assert boxes_found(pit, 0.7)[0] == [[0, 0, 3, 3]]


def test_without_a_contour_the_box_is_the_first_pixel() -> None:
    first_pixel, others = torch.tensor([[0, 0, 0, 0]]), torch.tensor([[0, 0, 1, 1], [1, 1, 2, 2]])
    for score_maps, threshold in ((torch.zeros(2, 4, 5), 0.0), (torch.ones(2, 4, 5), 1.0)):
        for ious in best_iou_per_threshold(score_maps, [first_pixel, others], [threshold]):
            assert ious.tolist() == [[1.0], [0.25]]


def test_a_flat_map_above_zero_is_the_whole_image() -> None:
    score_maps = torch.stack([torch.ones(4, 5), torch.full((4, 5), 0.3)])
    for ious in best_iou_per_threshold(score_maps, [torch.tensor([[0, 0, 4, 3]])] * 2, [0.0, 0.5, 0.999]):
        assert ious.tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), float("-inf")])
def test_a_map_that_is_not_finite_is_zeros_and_its_neighbours_are_not(pixel: float) -> None:
    score_maps = torch.ones(3, 4, 5)
    score_maps[1, 2, 3] = pixel
    single, multi = best_iou_per_threshold(score_maps, [torch.tensor([[0, 0, 4, 3]])] * 3, [0.5])
    assert single.tolist() == multi.tolist() == [[1.0], [1 / 20], [1.0]]


def test_levels_and_cuts_truncate_and_the_cut_is_strict() -> None:
    # Levels 255, 254, 254, 127: 0.999 * 255 is 254.7, and 0.5 * 255 = 127.5 cuts at 127.
    row = torch.tensor([[[1.0, 0.999, 254 / 255, 0.5]]], dtype=torch.float64)
    boxes = [torch.tensor([[0, 0, end, 0]]) for end in (1, 3)]
    single, _ = best_iou_per_threshold(row.expand(2, -1, -1), boxes, [126.9 / 255, 0.5, 253.9 / 255, 254 / 255])
    assert (single == 1).tolist() == [[False, False, False, True], [True, True, True, False]]


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def example_batch(count: int) -> tuple[Tensor, list[Tensor]]:
    rng = np.random.default_rng(0)
    maps = rng.random((count, 20, 30))
    return torch.from_numpy(maps), [torch.from_numpy(random_boxes(rng, score_map)) for score_map in maps]


@pytest.mark.usefixtures("restore_threads")
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_does_not_depend_on_the_number_of_threads(threads: int) -> None:
    score_maps, gt_boxes = example_batch(5)
    torch.set_num_threads(1)
    expected = torch.stack(best_iou_per_threshold(score_maps, gt_boxes, torch.arange(20) / 20))
    torch.set_num_threads(threads)
    assert torch.equal(torch.stack(best_iou_per_threshold(score_maps, gt_boxes, torch.arange(20) / 20)), expected)


def test_follows_the_order_of_maps_and_of_thresholds() -> None:
    score_maps, gt_boxes = example_batch(4)
    expected = torch.stack(best_iou_per_threshold(score_maps, gt_boxes, [0.1, 0.5, 0.9]))
    order = [2, 0, 3, 1]
    found = best_iou_per_threshold(score_maps[order], [gt_boxes[i] for i in order], [0.9, 0.1, 0.9, 0.5])
    assert torch.equal(torch.stack(found), expected[:, order][:, :, [2, 0, 2, 1]])


@pytest.mark.usefixtures("restore_threads")
def test_works_in_a_forked_loader_worker_after_threads_ran_here() -> None:
    score_maps, gt_boxes = example_batch(4)
    torch.set_num_threads(2)
    expected, _ = best_iou_per_threshold(score_maps, gt_boxes, [0.2, 0.5])
    loader: DataLoader[Tensor] = DataLoader(
        list(score_maps),  # type: ignore[arg-type]  # a list is all that a map-style data set needs to be
        batch_size=4,
        collate_fn=lambda maps: best_iou_per_threshold(torch.stack(maps), gt_boxes, [0.2, 0.5])[0],
        num_workers=1,
        multiprocessing_context="fork",
        timeout=60,
    )
    assert torch.equal(next(iter(loader)), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.bool])
def test_maps_of_any_real_type_and_layout_are_read(dtype: torch.dtype) -> None:
    score_maps = example_batch(3)[0].round().to(dtype).transpose(1, 2).flip(2)
    boxes = [torch.tensor([[2, 3, 9, 14]])] * 3
    found = best_iou_per_threshold(score_maps, boxes, [0.2])
    expected = best_iou_per_threshold(score_maps.double().contiguous(), boxes, [0.2])
    assert torch.equal(torch.stack(found), torch.stack(expected))


def test_no_maps_give_no_ious() -> None:
    single, multi = best_iou_per_threshold(torch.zeros(0, 4, 5), [], [0.2, 0.5])
    assert single.shape == multi.shape == (0, 2)


@pytest.mark.parametrize(
    ("score_maps", "complaint"),
    [
        (torch.ones(2, 2), r"score_maps has shape \(2, 2\); give \(P,H,W\)"),
        (torch.ones(1, 0, 2), r"score_maps has shape \(1, 0, 2\); give \(P,H,W\)"),
        (torch.tensor([[[0.0, 1.0]], [[0.0, 1.5]]]), r"score_maps\[1\] spans 0.0 to 1.5; normalize"),
        (torch.tensor([[[-0.5, 1.0]]]), r"score_maps\[0\] spans -0.5 to 1.0; normalize"),
    ],
)
def test_maps_are_checked(score_maps: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        best_iou_per_threshold(score_maps, [torch.tensor([[0, 0, 0, 0]])] * len(score_maps), [0.5])


@pytest.mark.parametrize(
    ("gt_boxes", "complaint"),
    [
        ([], "score_maps holds 1 maps, gt_boxes the boxes of 0"),
        ([torch.zeros(0, 4, dtype=torch.int64)], r"gt_boxes\[0\] has shape \(0, 4\); give \(M,4\) with at least one"),
        ([torch.tensor([0, 0, 1, 1])], r"gt_boxes\[0\] has shape \(4,\)"),
        ([torch.tensor([[0.0, 0.0, 1.0, 1.0]])], r"gt_boxes\[0\] is torch.float32; give inclusive whole pixels"),
        ([torch.tensor([[0, -1, 1, 1]])], r"gt_boxes\[0\] is \[\[0, -1, 1, 1\]\]; give 0 <= x0"),
        ([torch.tensor([[0, 2, 1, 1]])], r"gt_boxes\[0\] is \[\[0, 2, 1, 1\]\]; give 0 <= x0"),
    ],
)
def test_boxes_are_checked(gt_boxes: list[Tensor], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        best_iou_per_threshold(torch.ones(1, 2, 2), gt_boxes, [0.5])


@pytest.mark.parametrize(
    ("thresholds", "complaint"),
    [
        ([], r"thresholds has shape \(0,\); give a list"),
        (torch.tensor(0.2), r"thresholds has shape \(\); give a list"),
        ([0.2, float("nan")], "thresholds holds nan; give fractions"),
        ([-0.1], "thresholds holds -0.1; give fractions"),
        ([0.5, 1.1], "thresholds holds 1.1; give fractions"),
    ],
)
def test_thresholds_are_checked(thresholds: list[float] | Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        best_iou_per_threshold(torch.ones(1, 2, 2), [torch.tensor([[0, 0, 1, 1]])], thresholds)

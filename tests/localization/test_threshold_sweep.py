from collections.abc import Iterator, Sequence
from functools import partial

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

from camloc.localization.threshold_sweep import largest_component_boxes

NO_BOX = [0, 0, 0, 0]


def labelled_boxes(score_maps: NDArray[np.float32], thresholds: Sequence[float]) -> list[list[list[int]]]:
    """The same boxes from one labelling of each map at each threshold."""
    return [[labelled_box(score_map, threshold) for threshold in thresholds] for score_map in score_maps]


def labelled_box(score_map: NDArray[np.float32], threshold: float) -> list[int]:
    if not np.isfinite(score_map).all() or score_map.max() <= 0:
        return NO_BOX
    with np.errstate(over="ignore"):  # a cut of infinity, which nothing is above
        mask = score_map > np.float32(threshold) * score_map.max()
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if len(areas) == 0:
        return NO_BOX
    largest = 1 + np.flatnonzero(areas == areas.max())
    first_pixels = [int(np.flatnonzero(labels == label)[0]) for label in largest]
    x, y, width, height = stats[largest[np.argmin(first_pixels)], :4].tolist()
    return [x, y, x + width, y + height]


def grid(*rows: str) -> Tensor:
    """A map (1,H,W) with a digit for each pixel; its maximum must be 9 for the cuts below to read as digits."""
    assert max("".join(rows)) == "9"
    return torch.tensor([[[float(digit) for digit in row] for row in rows]])


def boxes_at(score_map: Tensor, *cuts: float) -> list[list[int]]:
    """Boxes of the pixels above each digit."""
    boxes: list[list[int]] = largest_component_boxes(score_map, [cut / 9 for cut in cuts])[0].tolist()
    return boxes


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# Few distinct values bring ties, plateaus and values right on a cut; many bring every order of merging.
shapes = st.tuples(st.integers(1, 3), st.integers(1, 17), st.integers(1, 17))
few_values = st.integers(1, 6).flatmap(lambda top: hnp.arrays(np.float32, shapes, elements=st.integers(-1, top)))
any_values = hnp.arrays(np.float32, shapes, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
random_values = st.builds(
    lambda shape, seed: np.random.default_rng(seed).random(shape, np.float32), shapes, st.integers(0, 2**32)
)
fractions = st.one_of(
    st.floats(-0.5, 1.5, width=32),
    st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    st.builds(lambda n: n / 6, st.integers(0, 6)),
)


@settings(max_examples=300)
@given(st.one_of(few_values, any_values, random_values), st.lists(fractions, min_size=1, max_size=12).map(sorted))
@example(np.full((1, 3, 2), 0.7, np.float32), [0.0, 0.0, 0.5, 1.0, 1.0])
@example(np.ones((1, 1, 1), np.float32), [-1.0, 0.0, 1.0, 2.0])
@example(np.full((1, 1, 2), 1e-45, np.float32), [0.2, 0.6, 1.0])  # the smallest number: t * max rounds to 0 or max
@example(np.full((1, 2, 2), 3e38, np.float32), [-3.0, 0.5, 3.0])  # t * max overflows
def test_equals_one_labelling_per_threshold(score_maps: NDArray[np.float32], thresholds: list[float]) -> None:
    boxes = largest_component_boxes(torch.from_numpy(score_maps), thresholds)
    assert boxes.tolist() == labelled_boxes(score_maps, thresholds)


@pytest.mark.parametrize(
    "score_map",
    [
        torch.nn.functional.interpolate(noise(1, 1, 7, 7), (60, 75), mode="bicubic")[:, 0],
        noise(1, 75, 63),
        noise(1, 50, 64).mul(20).floor(),
        noise(1, 40, 50) ** 4 - 0.1,
        noise(1, 1, 500),
        noise(1, 500, 1),
    ],
    ids=["smooth", "noise", "quantized", "peaky", "row", "column"],
)
@pytest.mark.parametrize(
    "thresholds",
    [torch.arange(256) / 255, torch.linspace(0.5, 0.5001, 300), torch.linspace(-0.5, 1.5, 7)],
    ids=["levels", "crowded", "beyond"],
)
def test_equals_labelling_on_larger_maps(score_map: Tensor, thresholds: Tensor) -> None:
    boxes = largest_component_boxes(score_map, thresholds)
    assert boxes.tolist() == labelled_boxes(score_map.numpy(), thresholds.tolist())


def test_two_blobs_swap_as_the_smaller_but_higher_one_is_all_that_remains() -> None:
    two_blobs = grid(
        "99000",
        "00000",
        "00444",
        "00440",
    )
    assert boxes_at(two_blobs, 0, 3, 4, 8, 9) == [[2, 2, 5, 4], [2, 2, 5, 4], [0, 0, 2, 1], [0, 0, 2, 1], NO_BOX]


def test_pixels_that_touch_at_a_corner_are_one_component() -> None:
    diagonal = grid(
        "90000",
        "09000",
        "00000",
        "00099",
    )
    # Two pixels each, so the first in raster order; with 4-connectivity the row at the bottom would be larger.
    assert boxes_at(diagonal, 0) == [[0, 0, 2, 2]]


def test_equal_areas_go_to_the_component_whose_first_pixel_comes_first() -> None:
    tie = grid(
        "00009",
        "55000",
        "00009",
        "55000",
    )
    # Areas 1, 2, 1, 2 and, where only the nines are left, 1 and 1.
    assert boxes_at(tie, 0, 5) == [[0, 1, 2, 2], [4, 0, 5, 1]]
    # The later blob is complete first: it grew from the higher value.
    late = grid(
        "30000",
        "30000",
        "00000",
        "00099",
    )
    assert boxes_at(late, 0, 3) == [[0, 0, 1, 2], [3, 3, 5, 4]]


def test_the_first_pixel_counts_not_the_corner_of_the_box() -> None:
    # Both span rows 0 to 2 with 3 pixels; the right one's pixel (2, 0) precedes the left one's (0, 1) by its row.
    slanted = grid(
        "00900",
        "90090",
        "90009",
        "90000",
    )
    assert boxes_at(slanted, 0) == [[2, 0, 5, 3]]


def test_arms_of_a_u_are_two_components_until_its_bottom_joins_them() -> None:
    u_shape = grid(
        "90007",
        "90007",
        "80006",
        "22222",
    )
    assert boxes_at(u_shape, 1, 2, 6, 8) == [[0, 0, 5, 4], [0, 0, 1, 3], [0, 0, 1, 3], [0, 0, 1, 2]]
    # Above 5 the right arm is the longer one; above 6 they tie, and it starts higher up.
    longer_right = grid(
        "00007",
        "90007",
        "90006",
        "22222",
    )
    assert boxes_at(longer_right, 0, 5, 6, 7) == [[0, 0, 5, 4], [4, 0, 5, 3], [4, 0, 5, 2], [0, 1, 1, 3]]


def test_cut_is_strict_and_exact_at_every_grey_level() -> None:
    grey_levels = torch.arange(256.0)[None, None]  # one row: above k lie the columns k + 1 to 255
    expected = [[k + 1, 0, 256, 1] for k in range(255)] + [NO_BOX]
    assert largest_component_boxes(grey_levels, [k / 255 for k in range(256)])[0].tolist() == expected
    assert largest_component_boxes(grey_levels / 255, torch.arange(256) / 255)[0].tolist() == expected


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), float("-inf")])
def test_a_map_that_is_not_finite_has_no_box_and_its_neighbours_keep_theirs(pixel: float) -> None:
    score_maps = noise(3, 4, 5)
    score_maps[1, 2, 3] = pixel
    boxes = largest_component_boxes(score_maps, [-1.0, 0.0, 0.5])
    assert boxes[1].tolist() == [NO_BOX] * 3
    assert boxes[[0, 2]].tolist() == labelled_boxes(score_maps[[0, 2]].numpy(), [-1.0, 0.0, 0.5])
    assert boxes[[0, 2]].any(dim=-1).all()


@pytest.mark.parametrize("value", [0.0, -0.0, -2.0])
def test_a_map_without_a_positive_pixel_has_no_box_at_any_threshold(value: float) -> None:
    assert not largest_component_boxes(torch.full((1, 4, 5), value), [-2.0, 0.0, 0.2, 1.0, 2.0]).any()


def test_negative_pixels_next_to_positive_ones_are_background() -> None:
    signed = torch.tensor([[[-9.0, -1.0, 2.0, 1.0, 0.0]]])
    assert largest_component_boxes(signed, [-1.0, 0.0, 0.5])[0].tolist() == [[1, 0, 5, 1], [2, 0, 4, 1], [2, 0, 3, 1]]


def test_boxes_follow_the_order_of_the_maps() -> None:
    score_maps, thresholds = noise(6, 9, 8), [0.2, 0.6, 0.9]
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    boxes = largest_component_boxes(score_maps, thresholds)
    assert len({tuple(row) for row in boxes.flatten(1).tolist()}) == 6
    assert torch.equal(largest_component_boxes(score_maps[order], thresholds), boxes[order])


@pytest.mark.usefixtures("restore_threads")
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_boxes_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    score_maps, thresholds = noise(5, 40, 30), torch.arange(100) / 99
    torch.set_num_threads(1)
    boxes = largest_component_boxes(score_maps, thresholds)
    torch.set_num_threads(threads)
    assert torch.equal(largest_component_boxes(score_maps, thresholds), boxes)


@pytest.mark.usefixtures("restore_threads")
def test_works_in_a_forked_loader_worker_after_threads_ran_here() -> None:
    score_maps, thresholds = noise(4, 6, 7), [0.2, 0.5]
    torch.set_num_threads(2)
    boxes = largest_component_boxes(score_maps, thresholds)
    loader: DataLoader[Tensor] = DataLoader(
        list(score_maps),  # type: ignore[arg-type]  # a list is all that a map-style data set needs to be
        batch_size=4,
        collate_fn=lambda maps: largest_component_boxes(torch.stack(maps), thresholds),
        num_workers=1,
        multiprocessing_context="fork",
        timeout=60,
    )
    assert torch.equal(next(iter(loader)), boxes)


def test_no_maps_give_no_boxes() -> None:
    boxes = largest_component_boxes(torch.zeros(0, 4, 5), [0.2, 0.5, 0.9])
    assert boxes.shape == (0, 3, 4)
    assert boxes.dtype == torch.int32


def test_input_is_left_alone() -> None:
    score_maps, thresholds = noise(2, 4, 5), torch.tensor([0.2, 0.5])
    before = score_maps.clone(), thresholds.clone()
    largest_component_boxes(score_maps, thresholds)
    assert torch.equal(score_maps, before[0])
    assert torch.equal(thresholds, before[1])


@pytest.mark.parametrize(
    "view",
    [
        partial(torch.transpose, dim0=1, dim1=2),
        partial(torch.flip, dims=(2,)),
        lambda maps: maps[::2, 1::2, ::3],
        lambda maps: maps[:1].expand(3, -1, -1),
    ],
    ids=["transposed", "flipped", "strided", "expanded"],
)
def test_layout_in_memory_does_not_matter(view: "partial[Tensor]") -> None:
    score_maps = view(noise(4, 9, 12))
    expected = labelled_boxes(score_maps.numpy(), [0.2, 0.7])
    assert largest_component_boxes(score_maps, [0.2, 0.7]).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8, torch.int64])
def test_maps_of_any_real_type_are_read_as_float32(dtype: torch.dtype) -> None:
    score_maps = noise(2, 6, 7).mul(50).to(dtype)
    expected = labelled_boxes(score_maps.float().numpy(), [0.2, 0.7])
    assert largest_component_boxes(score_maps, [0.2, 0.7]).tolist() == expected


def test_maps_inside_a_graph_are_accepted() -> None:
    assert largest_component_boxes(torch.ones(1, 2, 3, requires_grad=True), [0.5]).tolist() == [[[0, 0, 3, 2]]]


@pytest.mark.parametrize(
    ("thresholds", "complaint"),
    [
        ([], r"thresholds has shape \(0,\); give a list"),
        (torch.tensor(0.2), r"thresholds has shape \(\); give a list"),
        (torch.zeros(2, 1), r"thresholds has shape \(2, 1\); give a list"),
        ([0.2, float("nan")], "thresholds holds nan; give finite"),
        ([0.2, float("inf")], "thresholds holds inf; give finite"),
        ([0.25, 0.75, 0.5], "thresholds falls from 0.75 to 0.5 at 2; sort it"),
    ],
)
def test_thresholds_are_checked(thresholds: list[float] | Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        largest_component_boxes(torch.ones(1, 2, 2), thresholds)


@pytest.mark.parametrize("shape", [(2, 2), (1, 1, 2, 2), (1, 0, 2), (1, 2, 0)])
def test_shape_of_the_maps_is_checked(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"score_maps has shape \(.*\); give \(P,H,W\)"):
        largest_component_boxes(torch.ones(shape), [0.5])

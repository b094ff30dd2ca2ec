"""What a page stores of a pair: boxes as fractions, IoUs and causes at every threshold, a small map."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from camloc.metrics.functional.breakdown import Cause
from camloc.report.explorer.records import MAX_MAP_SIDE, shown_pair, shown_thresholds, small_map

TRUE = torch.tensor([[0.0, 0.0, 10.0, 5.0]])


def test_every_threshold_has_its_iou_and_cause() -> None:
    boxes = torch.tensor([[0, 0, 10, 5], [0, 0, 10, 10], [0, 0, 4, 5], [0, 0, 0, 0], [0, 0, 10, 5]])
    pair = shown_pair(0, boxes, (10, 20), gt_boxes=TRUE, iou_threshold=0.6, rank=0)
    assert pair.iou is not None
    assert pair.causes is not None
    assert pair.iou.tolist() == [1, 0.5, 0.4, 0, 1]
    assert pair.causes.tolist() == [Cause.HIT, Cause.CONTEXT, Cause.PART, Cause.NO_BOX, Cause.HIT]
    assert pair.boxes.tolist()[:2] == [[0, 0, 0.5, 0.5], [0, 0, 0.5, 1]]
    assert pair.gt_boxes.tolist() == [[0, 0, 0.5, 0.5]]


@pytest.mark.parametrize(("rank", "cause"), [(0, Cause.HIT), (None, Cause.HIT), (1, Cause.WRONG_CLASS)])
def test_a_box_that_fits_is_a_hit_only_for_the_right_class(rank: int | None, cause: Cause) -> None:
    pair = shown_pair(0, TRUE, (10, 10), gt_boxes=TRUE, iou_threshold=0.5, rank=rank)
    assert pair.causes is not None
    assert pair.causes.tolist() == [cause]


def test_without_true_boxes_nothing_is_measured() -> None:
    pair = shown_pair(0, TRUE, (10, 10), gt_boxes=torch.zeros(0, 4), iou_threshold=0.5)
    assert (pair.iou, pair.causes, pair.gt_boxes.shape) == (None, None, (0, 4))


def test_true_boxes_beyond_the_window_are_cut() -> None:
    reaching = torch.tensor([[-5.0, 0.0, 5.0, 20.0]])
    assert shown_pair(0, TRUE, (10, 10), gt_boxes=reaching, iou_threshold=0.5).gt_boxes.tolist() == [[0, 0, 0.5, 1]]


@pytest.mark.parametrize(("side", "stored_side"), [(7, 21), (14, 42), (28, 28), (56, 56)])
def test_a_stored_map_gives_back_the_score_map(side: int, stored_side: int) -> None:
    cam = torch.rand(side, side, generator=torch.Generator().manual_seed(0))
    score_map = interpolate(cam[None, None], (224, 224), mode="bilinear")[0, 0]
    stored = small_map(score_map, (side, side))
    assert stored.shape == (stored_side, stored_side)
    back = interpolate(torch.from_numpy(stored)[None, None] / 255.0, (224, 224), mode="bilinear")[0, 0]
    step = side / 224  # noise is as steep as a map can be: from a pixel to the next, where a cell's centre lies between
    assert float((back - score_map).abs().max()) < 2 * step + 1 / 255
    assert float((back - score_map).abs().mean()) < 0.5 * step + 1 / 255


@pytest.mark.parametrize(
    ("size", "cam_size", "stored"),
    [
        ((224, 224), None, (56, 56)),
        ((100, 200), None, (28, 56)),
        ((8, 8), None, (8, 8)),
        ((224, 224), (99, 99), (56, 56)),
    ],
)
def test_maps_are_stored_small(
    size: tuple[int, int], cam_size: tuple[int, int] | None, stored: tuple[int, int]
) -> None:
    assert max(stored) <= MAX_MAP_SIDE
    found = small_map(torch.ones(size), cam_size)
    assert found.shape == stored
    assert (found == 255).all()


def test_a_map_that_is_not_finite_is_stored_as_zeros() -> None:
    assert (small_map(torch.full((4, 4), torch.nan), None) == 0).all()


def test_of_a_fine_grid_the_reported_threshold_is_kept() -> None:
    grid = [step / 1000 for step in range(1000)]
    places = shown_thresholds(grid, 0.123)
    assert 123 in places
    assert len(places) < 256
    assert (np.diff(places) > 0).all()
    assert shown_thresholds(grid[:256], None) == list(range(256))
    assert shown_thresholds([], None) == []

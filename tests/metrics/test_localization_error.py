from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from camloc.boxes import iou
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.functional.classification import class_rank
from camloc.metrics.functional.per_image import PerImage
from camloc.metrics.functional.threshold_intervals import error_intervals
from camloc.metrics.localization_error import LocalizationError
from camloc.records import SplitOutcome


def plain_hits(
    logits: Tensor,
    target: Tensor,
    maps: Tensor,
    gt_boxes: list[Tensor],
    thresholds: Sequence[float],
    ious: Sequence[float],
) -> np.ndarray:
    """Count hits as the definition says it: one labelling per image and threshold, one IoU per box."""
    hits = np.zeros((3, len(ious), len(thresholds)), dtype=np.int64)
    for row, true, score_map, boxes in zip(logits.numpy(), target.tolist(), maps.numpy(), gt_boxes, strict=True):
        rank = int((row > row[true]).sum())
        for t, threshold in enumerate(thresholds):
            mask = (score_map > np.float32(threshold) * score_map.max()).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            if len(stats) == 1:
                continue
            x, y, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
            best = 0.0
            for x0, y0, x1, y1 in boxes.tolist():
                shared_width = max(0, min(x + width, x1) - max(x, x0))
                shared_height = max(0, min(y + height, y1) - max(y, y0))
                shared = shared_width * shared_height
                best = max(best, shared / (width * height + (x1 - x0) * (y1 - y0) - shared))
            for i, iou_threshold in enumerate(ious):
                if best >= iou_threshold:
                    hits[0, i, t] += 1
                    hits[1, i, t] += rank < 1
                    hits[2, i, t] += rank < 5
    return hits


def example(count: int, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 5, 6, generator=generator)
    maps = torch.nn.functional.interpolate(coarse, (40, 56), mode="bilinear")[:, 0]
    corners = torch.randint(0, 20, (count, 2), generator=generator)
    sides = torch.randint(8, 20, (count, 2), generator=generator)
    boxes = torch.cat([corners, corners + sides], dim=1).float()
    extra = torch.tensor([[0.0, 0.0, 56.0, 40.0]])
    return {
        "logits": torch.randn(count, 9, generator=generator),
        "target": torch.randint(0, 9, (count,), generator=generator),
        "score_maps": maps / maps.amax(dim=(1, 2), keepdim=True),
        "gt_boxes": [torch.cat([box[None], extra]) if i % 3 == 0 else box[None] for i, box in enumerate(boxes)],
    }


def test_every_count_equals_the_definition() -> None:
    batch = example(12)
    metric = LocalizationError(num_thresholds=20)
    metric.update(**batch)
    expected = plain_hits(
        batch["logits"], batch["target"], batch["score_maps"], batch["gt_boxes"], metric.cam_thresholds, [0.3, 0.5, 0.7]
    )
    assert metric.hits.dtype == torch.int64
    assert metric.hits.tolist() == expected.tolist()
    assert expected[0].any()
    assert (expected[0] > expected[1]).any()


def test_batches_and_padding_do_not_change_counts() -> None:
    batch = example(10)
    whole, parts = LocalizationError(), LocalizationError()
    whole.update(**batch)
    for start in (0, 4, 8):
        stop = min(start + 4, 10)
        part: dict[str, Any] = {name: value[start:stop] for name, value in batch.items()}
        repeated: dict[str, Any] = {
            name: [*value, value[0]] if isinstance(value, list) else torch.cat([value, value[:1]])
            for name, value in part.items()
        }
        parts.update(**repeated, is_padding=torch.tensor([False] * (stop - start) + [True]))
    assert torch.equal(whole.hits, parts.hits)
    assert whole.num_images.item() == parts.num_images.item() == 10


def square(low: int, high: int, ring: float) -> Tensor:
    """A map that is 1 inside and ``ring`` one pixel around, 12x16."""
    score_map = torch.zeros(1, 12, 16)
    score_map[0, low - 1 : high + 1, low - 1 : high + 1] = ring
    score_map[0, low:high, low:high] = 1
    return score_map


def test_reports_at_the_configured_threshold_and_finds_the_best() -> None:
    # Tight true boxes: right only above the ring's value, where the box is exact; IoU of the ring box is 16/36.
    batch: dict[str, Any] = {
        "logits": torch.tensor([[1.0, 0.0]]),
        "target": torch.tensor([0]),
        "score_maps": square(4, 8, ring=0.45),
        "gt_boxes": [torch.tensor([[4.0, 4.0, 8.0, 8.0]])],
    }
    metric = LocalizationError(cam_threshold=0.2, num_thresholds=10)
    metric.update(**batch)
    result = metric.compute()
    assert result["gt_known_error"].item() == 1
    assert result["cam_threshold"].item() == 0.2
    assert result["best_cam_threshold"].item() == 0.7  # the middle of 0.5 to 0.9
    assert result["gt_known_error_at_best"].item() == 0
    assert result["gt_known_curve"][1].tolist() == [1.0] * 5 + [0.0] * 5
    assert result["gt_known_curve"][0].tolist() == [0.0] * 10

    chosen = LocalizationError(cam_threshold=None, num_thresholds=10)
    chosen.update(**batch)
    assert chosen.compute()["cam_threshold"].item() == 0.7
    assert chosen.compute()["gt_known_hits"].item() == 1


def test_a_curve_without_any_hit_chooses_the_middle_of_the_grid() -> None:
    metric = LocalizationError(num_thresholds=10)
    metric.update(None, torch.tensor([0]), square(4, 8, ring=0.45), [torch.tensor([[0.0, 0.0, 1.0, 1.0]])])
    assert metric.compute()["gt_known_error_at_best"] == 1
    assert metric.compute()["best_cam_threshold"].item() == 0.4  # of two in the middle the lower


def test_a_configured_threshold_off_the_grid_is_measured_exactly() -> None:
    metric = LocalizationError(cam_threshold=0.123, num_thresholds=10)
    assert metric.cam_thresholds == [0.0, 0.1, 0.123, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_flat_and_non_finite_maps_are_misses() -> None:
    maps = torch.stack([torch.zeros(4, 6), torch.full((4, 6), float("nan"))])
    metric = LocalizationError()
    metric.update(torch.eye(2), torch.tensor([0, 1]), maps, [torch.tensor([[0.0, 0.0, 6.0, 4.0]])] * 2)
    assert metric.compute()["gt_known_error"].item() == 1
    assert metric.num_images.item() == 2


def test_a_batch_of_padding_alone_counts_nothing() -> None:
    batch = example(2)
    batch["gt_boxes"] = [torch.zeros(0, 4)] * 2  # boxes of padding are not looked at
    metric = LocalizationError()
    metric.update(**batch, is_padding=torch.tensor([True, True]))
    assert metric.num_images.item() == 0
    assert not metric.hits.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cam_threshold": 20}, r"cam_threshold is a fraction .* got 20"),
        ({"num_thresholds": 0}, r"num_thresholds must be at least 1, got 0"),
        ({"more_thresholds": (0.1, 1.0)}, r"more_thresholds is a fraction .* got 1.0"),
        ({"iou_thresholds": (0.5, 0.5)}, r"iou_thresholds=\[0\.5, 0\.5\] must differ from each other"),
        ({"iou_thresholds": (30, 50)}, r"iou_thresholds is a fraction .* got 30"),
        ({"iou_threshold": 0.6}, r"iou_threshold=0.6 must be one of"),
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalizationError(**options)


def test_a_threshold_that_was_not_measured_is_refused() -> None:
    metric = LocalizationError()
    metric.update(**example(2))
    metric.cam_threshold = 0.005
    with pytest.raises(ValueError, match=r"0\.005 is not among the 100 thresholds"):
        metric.compute()


def test_flat_and_non_finite_maps_are_misses_that_are_counted() -> None:
    score_maps = torch.zeros(5, 6, 6)
    score_maps[0, 1:3, 1:3] = 1  # fine
    score_maps[1] = 1  # flat, not empty: a box of the whole image
    score_maps[3, 0, 0] = torch.nan
    score_maps[4, 0, 0] = torch.inf
    metric = LocalizationError(cam_threshold=0.5)
    logits, target = torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64)
    metric.update(logits, target, score_maps, [torch.tensor([[0.0, 0.0, 6.0, 6.0]])] * 5)
    found = metric.compute()
    assert found["num_degenerate"].item() == 4
    assert found["gt_known_hits"].item() == 1  # the flat one


def test_boxes_that_were_made_already_are_not_made_again() -> None:
    score_maps = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    gt_boxes = [torch.tensor([[1.0, 1.0, 7.0, 7.0]])] * 3
    logits, target = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    is_padding = torch.tensor([False, True, False])
    made, given = LocalizationError(), LocalizationError()
    made.update(logits, target, score_maps, gt_boxes, is_padding)
    boxes = largest_component_boxes(score_maps, given.cam_thresholds)
    given.update(logits, target, score_maps, gt_boxes, is_padding, boxes)
    assert torch.equal(made.hits, given.hits)
    other = LocalizationError()
    other.update(logits, target, score_maps, gt_boxes, is_padding, torch.zeros_like(boxes))
    assert other.hits.sum() == 0


def test_the_outcome_holds_rank_and_iou_of_counted_pairs() -> None:
    batch = example(5)
    metric = LocalizationError(num_thresholds=10)
    is_padding = torch.tensor([False, True, False, False, True])
    values = metric.update(**batch, is_padding=is_padding).values
    kept = [0, 2, 3]
    boxes = largest_component_boxes(batch["score_maps"], metric.cam_thresholds)
    expected = torch.stack([iou(boxes[i], batch["gt_boxes"][i]).amax(dim=1) for i in kept])
    assert values.keys() == {"iou", "rank"}
    assert torch.equal(values["iou"], expected)
    assert values["iou"].dtype == torch.float64
    assert values["rank"].tolist() == class_rank(batch["logits"], batch["target"])[kept].tolist()
    # Hits are decided by these IoUs.
    assert metric.hits[0, 1].tolist() == (expected >= 0.5).sum(dim=0).tolist()


def test_without_logits_only_gt_known_is_reported() -> None:
    batch = example(6)
    ranked, unranked = LocalizationError(), LocalizationError()
    ranked.update(**batch)
    outcome = unranked.update(**batch | {"logits": None})
    assert outcome.values.keys() == {"iou"}
    with_ranks, without = ranked.compute(), unranked.compute()
    left_out = {f"top{k}_{name}" for k in (1, 5) for name in ("error", "hits", "curve")}
    assert with_ranks.keys() - without.keys() == left_out
    for key, value in without.items():
        assert torch.equal(value, with_ranks[key]), key
    split = SplitOutcome([str(i) for i in range(6)], batch["target"], outcome.values)
    assert unranked.intervals(split, None).keys() == {"gt_known_error", "gt_known_error_at_best"}


def test_where_nothing_is_counted_every_number_is_nan() -> None:
    metric = LocalizationError(cam_threshold=0.2)
    metric.update(**example(1), is_padding=torch.tensor([True]))
    found = metric.compute()
    assert all(found[f"{name}_error"].isnan() for name in ("top1", "top5", "gt_known"))
    assert found["num_images"].item() == 0


def test_a_threshold_that_is_set_later_changes_numbers_that_were_computed() -> None:
    metric = LocalizationError(num_thresholds=10)
    metric.update(**example(12))
    best, curve = metric.compute()["cam_threshold"], metric.compute()["gt_known_curve"][1]
    assert best != 0.9
    metric.set_threshold(0.9)
    assert metric.compute()["cam_threshold"].item() == 0.9
    assert metric.compute()["gt_known_error"] == curve[9]
    with pytest.raises(ValueError, match=r"0\.05 is not among the 10 thresholds"):
        metric.set_threshold(0.05)


@pytest.mark.parametrize(
    ("cam_threshold", "on_val"), [(0.2, False), (0.2, True), (None, False)], ids=["fixed", "val", "oracle"]
)
def test_intervals_follow_where_the_threshold_came_from(cam_threshold: float | None, on_val: bool) -> None:
    metric = LocalizationError(cam_threshold, num_thresholds=10)
    splits = []
    for seed in (0, 1):
        batch = example(15, seed)
        splits.append(SplitOutcome([f"{seed}-{i}" for i in range(15)], batch["target"], metric.update(**batch).values))
    test, val = splits
    kept_test, kept_val = (PerImage.of(part, metric.cam_thresholds) for part in splits)
    expected = error_intervals(kept_test, kept_val if on_val else None, cam_threshold=cam_threshold, iou_threshold=0.5)
    assert metric.intervals(test, val if on_val else None) == expected
    assert expected.keys() == {row.key for row in metric.rows}


def test_without_pairs_there_is_no_interval() -> None:
    empty = SplitOutcome([], torch.zeros(0, dtype=torch.int64), {"iou": torch.zeros(0, 100)})
    assert LocalizationError().intervals(empty, None) == {}


def test_its_rows_say_where_the_threshold_came_from() -> None:
    metric = LocalizationError(num_thresholds=10)
    metric.update(**example(2))
    found = metric.compute()
    assert [(row.key, row.threshold, row.threshold_key) for row in metric.rows] == [
        ("top1_error", "reported", "cam_threshold"),
        ("top5_error", "reported", "cam_threshold"),
        ("gt_known_error", "reported", "cam_threshold"),
        ("gt_known_error_at_best", "oracle", "best_cam_threshold"),
    ]
    assert all(row.key in found and row.threshold_key in found and row.direction == "min" for row in metric.rows)

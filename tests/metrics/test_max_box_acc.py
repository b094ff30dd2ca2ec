import os
import runpy
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from camloc.metrics.functional.max_box_acc import max_box_hits, wsolevaluation_boxes, wsolevaluation_thresholds
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.records import SplitOutcome

ROOT = Path(__file__).parents[2]
REFERENCE = runpy.run_path(str(ROOT / "tests" / "reference" / "wsolevaluation.py"))
METADATA = Path(os.environ.get("CAMLOC_SHARED_DATA", ROOT.parent / "shared" / "data")) / "wsolevaluation-metadata"
needs_metadata = pytest.mark.skipif(
    not METADATA.is_dir(), reason=f"{METADATA} is absent; set CAMLOC_SHARED_DATA to the folder that holds it"
)


def true_boxes(split: str) -> list[Tensor]:
    """The boxes of every image of a split, on 224x224 maps."""
    annotated = defaultdict(list)
    for line in (METADATA / split / "localization.txt").read_text(encoding="utf-8").split():
        image_id, *corners = line.split(",")
        annotated[image_id].append([int(corner) for corner in corners])
    boxes = []
    for line in (METADATA / split / "image_sizes.txt").read_text(encoding="utf-8").split():
        image_id, width, height = line.split(",")
        boxes.append(wsolevaluation_boxes(torch.tensor(annotated[image_id]), (int(height), int(width)), (224, 224)))
    return boxes


@needs_metadata
@pytest.mark.parametrize(
    ("split", "num_images", "expected"),
    [
        ("CUB/test", 5794, [53.95, 18.95, 4.56, 25.82]),
        ("ILSVRC/test", 50000, [63.06, 41.11, 22.59, 42.25]),
    ],
)
@pytest.mark.slow
def test_whole_images_score_what_the_evaluator_prints(split: str, num_images: int, expected: list[float]) -> None:
    metric = MaxBoxAcc()
    gt_boxes = true_boxes(split)
    for start in range(0, len(gt_boxes), 256):
        batch = gt_boxes[start : start + 256]
        metric.update(torch.ones(1, 224, 224).expand(len(batch), -1, -1), batch)
    found = {key: value.item() for key, value in metric.compute().items()}
    assert found["num_images"] == found["num_degenerate"] == num_images
    keys = ("max_box_acc_v2_30", "max_box_acc_v2_50", "max_box_acc_v2_70", "max_box_acc_v2")
    assert [round(100 * found[key], 2) for key in keys] == expected
    assert [found[f"max_box_acc_{percent}"] for percent in (30, 50, 70)] == [found[key] for key in keys[:3]]


def example(count: int, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    maps = interpolate(torch.rand(count, 1, 5, 6, generator=generator), (30, 42), mode="bicubic")[:, 0]
    maps = maps - maps.amin((1, 2), keepdim=True)
    maps = maps / maps.amax((1, 2), keepdim=True)
    corners = torch.randint(0, 20, (count, 3, 2), generator=generator)
    sides = torch.randint(0, 20, (count, 3, 2), generator=generator)
    boxes = torch.cat([corners, corners + sides], dim=2)
    return maps, [boxes[i, : 1 + i % 3] for i in range(count)]


@pytest.mark.parametrize("interval", [0.05, 0.01])
def test_counts_equal_those_of_contours_drawn_at_every_threshold(interval: float) -> None:
    maps, gt_boxes = example(12)
    metric = MaxBoxAcc(interval)
    metric.update(maps, gt_boxes)
    thresholds = np.arange(0, 1, interval)
    expected = np.zeros((2, 3, len(thresholds)), np.int64)
    for score_map, boxes in zip(maps.numpy(), gt_boxes, strict=True):
        for kind, best in enumerate(REFERENCE["best_ious"](score_map, boxes.tolist(), thresholds)):
            expected[kind] += REFERENCE["correct"](best)
    assert metric.hits.tolist() == expected.tolist()
    found = metric.compute()
    accuracies = expected.max(-1) * 100.0 / 12
    assert 100 * found["max_box_acc"].item() == pytest.approx(accuracies[0, 1], abs=1e-12)
    assert 100 * found["max_box_acc_v2"].item() == pytest.approx(np.average(accuracies[1]), abs=1e-12)
    assert found["max_box_acc_v2_70_cam_threshold"].item() == thresholds[expected[1, 2].argmax()]
    assert 0 < expected.max(-1).sum() < 6 * 12


def test_each_iou_threshold_has_its_own_best_threshold() -> None:
    # A core of 2x2 in a block of 6x6; the boxes are one pixel too large: 3x3 and 7x7.
    score_map = torch.zeros(1, 20, 20)
    score_map[0, 4:10, 4:10] = 0.5
    score_map[0, 4:6, 4:6] = 1
    metric = MaxBoxAcc(cam_curve_interval=0.25)
    metric.update(score_map.expand(2, -1, -1), [torch.tensor([[4, 4, 6, 6]]), torch.tensor([[4, 4, 8, 8]])])
    # Above 0 the IoUs are 9/49 and 25/49, above a half 1 and 9/25.
    found = {key: value.item() for key, value in metric.compute().items()}
    assert [found[f"max_box_acc_v2_{percent}"] for percent in (30, 50, 70)] == [1.0, 0.5, 0.5]
    assert [found[f"max_box_acc_v2_{percent}_cam_threshold"] for percent in (30, 50, 70)] == [0.5, 0.0, 0.5]
    assert found["max_box_acc_v2"] == pytest.approx(2 / 3)
    assert found["max_box_acc"] == 0.5


def test_v2_may_take_a_smaller_contour() -> None:
    score_map = torch.zeros(1, 12, 12)
    score_map[0, 0:6, 0:6] = 1
    score_map[0, 8:11, 8:11] = 1
    metric = MaxBoxAcc(cam_curve_interval=0.5)
    metric.update(score_map, [torch.tensor([[8, 8, 11, 11]])])
    found = metric.compute()
    assert found["max_box_acc"] == 0
    assert found["max_box_acc_v2"] == 1


def test_an_iou_of_exactly_the_threshold_is_right() -> None:
    score_map = torch.zeros(1, 12, 12)
    score_map[0, 0, 0:9] = 1  # box (0, 0, 9, 1): 20 pixels
    boxes = [[0, 0, 2, 1], [0, 0, 4, 1], [0, 0, 6, 1]]
    found = max_box_hits(score_map.expand(3, -1, -1), [torch.tensor([box]) for box in boxes], torch.tensor([0.0]))
    assert found[0, :, :, 0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_any_of_several_true_boxes_counts() -> None:
    score_map = torch.zeros(1, 8, 8)
    score_map[0, 2:6, 2:6] = 1
    far, near = [0, 7, 0, 7], [2, 2, 6, 6]
    for boxes in ([far, near], [near, far]):
        assert max_box_hits(score_map, [torch.tensor(boxes)], torch.tensor([0.5])).all()
    assert not max_box_hits(score_map, [torch.tensor([far])], torch.tensor([0.5])).any()


def test_batches_parts_and_padding_do_not_change_the_counts() -> None:
    maps, gt_boxes = example(9)
    whole, first, second = (MaxBoxAcc(0.05) for _ in range(3))
    whole.update(maps, gt_boxes)
    first.update(maps[:4], gt_boxes[:4])
    is_padding = torch.tensor([False] * 5 + [True])
    second.update(torch.cat([maps[4:], maps[:1]]), [*gt_boxes[4:], torch.zeros(0, 4)], is_padding)
    second.update(maps[:1], gt_boxes[:1], torch.tensor([True]))
    second.merge_state(first)
    assert torch.equal(second.hits, whole.hits)
    assert second.num_images == whole.num_images == 9
    assert second.hits.dtype == torch.int64


def test_flat_maps_and_maps_that_are_not_finite_are_counted() -> None:
    metric = MaxBoxAcc(0.5)
    maps = torch.stack([torch.zeros(4, 4), torch.ones(4, 4), torch.eye(4), torch.full((4, 4), torch.nan)])
    metric.update(maps, [torch.tensor([[0, 0, 3, 3]])] * 4)
    found = metric.compute()
    assert found["num_images"] == 4
    assert found["num_degenerate"] == 3
    assert found["max_box_acc"] == 0.5  # the ones and the diagonal


def test_nothing_counted_is_nan() -> None:
    metric = MaxBoxAcc(0.5)
    metric.update(torch.ones(1, 4, 4), [torch.zeros(0, 4)], torch.tensor([True]))
    found = metric.compute()
    assert found["max_box_acc"].isnan()
    assert found["max_box_acc_v2"].isnan()


def test_boxes_are_scaled_then_truncated_corner_by_corner() -> None:
    boxes = torch.tensor([[1, 2, 4, 3], [0, 0, 9, 19]])
    assert wsolevaluation_boxes(boxes, (20, 10), (10, 35)).tolist() == [[3, 1, 14, 1], [0, 0, 31, 9]]
    # An annotation that ends on the width goes to the map's width, which the evaluator leaves outside the map.
    assert wsolevaluation_boxes(torch.tensor([[0, 0, 500, 375]]), (375, 500), (224, 224)).tolist() == [[0, 0, 224, 224]]


def test_boxes_are_scaled_as_python_does_it_for_every_side() -> None:
    for side in range(1, 700, 7):
        corners = torch.arange(side)[:, None].expand(-1, 4)
        expected = [REFERENCE["resized_box"]([x] * 4, (side + 3, side), (224, 200)) for x in range(side)]
        assert wsolevaluation_boxes(corners, (side + 3, side), (224, 200)).tolist() == expected


@pytest.mark.parametrize(
    ("boxes", "complaint"),
    [
        (torch.tensor([0, 0, 1, 1]), r"boxes is torch.int64 of shape \(4,\); give integers of shape \(M,4\)"),
        (torch.tensor([[0, -1, 1, 1]]), r"boxes is \[\[0, -1, 1, 1\]\]"),
        (torch.tensor([[2, 0, 1, 1]]), r"boxes is \[\[2, 0, 1, 1\]\]"),
    ],
)
def test_boxes_are_checked(boxes: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        wsolevaluation_boxes(boxes, (4, 4), (4, 4))


@pytest.mark.parametrize(("interval", "count"), [(0.001, 1000), (0.01, 100), (0.3, 4), (1, 1)])
def test_thresholds_are_those_of_arange(interval: float, count: int) -> None:
    assert wsolevaluation_thresholds(interval).tolist() == list(np.arange(0, 1, interval))
    assert len(wsolevaluation_thresholds(interval)) == count


@pytest.mark.parametrize("interval", [0.0, -0.1, 1.5])
def test_interval_is_checked(interval: float) -> None:
    with pytest.raises(ValueError, match=f"cam_curve_interval .* got {interval}"):
        MaxBoxAcc(interval)


def test_one_version_is_reported_alone_and_each_pair_is_returned() -> None:
    score_maps = torch.zeros(3, 8, 8)
    score_maps[0, 2:6, 2:6] = 1
    score_maps[1, 0, 0] = 1
    boxes = [torch.tensor([[2, 2, 6, 6]]), torch.tensor([[4, 4, 7, 7]]), torch.zeros(0, 4)]
    both, first, second = MaxBoxAcc(0.5), MaxBoxAcc(0.5, v1=True), MaxBoxAcc(0.5, v2=True)
    for metric in (both, first, second):
        hits = metric.update(score_maps, boxes, torch.tensor([False, False, True])).values["hits"]
        assert hits.shape == (2, 2, 3, 2)
        assert torch.equal(hits.sum(dim=0), metric.hits)
        assert hits[:, 0, 1].tolist() == [[True, True], [False, False]]
    only_first, only_second = first.compute(), second.compute()
    assert {"max_box_acc", "max_box_acc_30"} <= only_first.keys()
    assert not any("v2" in name for name in only_first)
    assert all("v2" in name or name.startswith("num_") for name in only_second)
    assert only_first.keys() | only_second.keys() == both.compute().keys()
    assert [[row.key for row in metric.rows] for metric in (both, first, second)] == [
        ["max_box_acc", "max_box_acc_v2"],
        ["max_box_acc"],
        ["max_box_acc_v2"],
    ]


def test_its_rows_are_an_oracles_accuracies() -> None:
    metric = MaxBoxAcc(0.5)
    metric.update(torch.eye(4)[None], [torch.tensor([[0, 0, 3, 3]])])
    first, second = metric.rows
    assert {row.direction for row in metric.rows} == {"max"}
    assert {row.threshold for row in metric.rows} == {"oracle"}
    assert (first.threshold_key, second.threshold_key) == ("max_box_acc_50_cam_threshold", None)
    assert {first.key, second.key, first.threshold_key} <= metric.compute().keys()


def test_intervals_equal_a_plain_bootstrap() -> None:
    maps, gt_boxes = example(20)
    metric = MaxBoxAcc(0.05)
    hits = metric.update(maps, gt_boxes).values["hits"]
    outcome = SplitOutcome([str(i) for i in range(20)], torch.zeros(20, dtype=torch.int64), {"hits": hits})
    found = metric.intervals(outcome, None)
    draw, _ = np.random.default_rng(0).spawn(2)
    best = np.stack([hits.numpy()[draw.integers(20, size=20)].sum(axis=0).max(axis=-1) / 20 for _ in range(1000)])
    expected = {f"max_box_acc_{p}": best[:, 0, j] for j, p in enumerate((30, 50, 70))}
    expected |= {f"max_box_acc_v2_{p}": best[:, 1, j] for j, p in enumerate((30, 50, 70))}
    expected |= {"max_box_acc": best[:, 0, 1], "max_box_acc_v2": best[:, 1].mean(axis=1)}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(tuple(np.percentile(values, [2.5, 97.5]))), key
        assert found[key][0] <= metric.compute()[key] <= found[key][1]
    assert MaxBoxAcc(0.05, v2=True).intervals(outcome, None) == {k: v for k, v in found.items() if "v2" in k}


def test_without_pairs_there_is_no_interval() -> None:
    empty = SplitOutcome([], torch.zeros(0, dtype=torch.int64), {"hits": torch.zeros(0, 2, 3, 2, dtype=torch.bool)})
    assert MaxBoxAcc(0.5).intervals(empty, None) == {}

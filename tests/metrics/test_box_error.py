from typing import Any

import pytest
import torch

from camloc.metrics.box_error import BoxLocalizationError
from camloc.metrics.heuristic_error import HeuristicError
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.records import SplitOutcome

LOGITS = torch.tensor([[3.0, 2.0, 1.0, 0.0, -1.0, -2.0]]).repeat(4, 1)
TARGET = torch.tensor([0, 1, 5, 0])
BOXES = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 0, 0]]).double()
TRUE = [torch.tensor([[0.0, 0.0, 10.0, height], [90.0, 90.0, 99.0, 99.0]]) for height in (5.0, 10.0, 10.0, 10.0)]


def test_errors_are_those_counted_by_hand() -> None:
    """Hits: the first at IoU 1/2 and rank 0, the second at rank 1, the third at rank 5; the last has no box."""
    metric = BoxLocalizationError()
    outcome = metric.update(LOGITS, TARGET, BOXES, TRUE)
    assert outcome.values["iou"].tolist() == [0.5, 1, 1, 0]
    assert outcome.values["rank"].tolist() == [0, 1, 5, 0]
    found = {key: value.item() for key, value in metric.compute().items()}
    errors = {"top1_error": 0.75, "top5_error": 0.5, "gt_known_error": 0.25}
    assert found == errors | {"top1_hits": 1, "top5_hits": 2, "gt_known_hits": 3, "num_images": 4}


def test_there_is_no_threshold_anywhere() -> None:
    metric = BoxLocalizationError()
    metric.update(LOGITS, TARGET, BOXES, TRUE)
    assert not [key for key in metric.compute() if "threshold" in key or "curve" in key or "best" in key]
    assert {row.threshold for row in metric.rows} == {"none"}
    assert metric.cam_threshold is None
    assert not metric.cam_thresholds
    assert not metric.chooses_threshold


def test_batches_padding_and_merging_give_the_same_counts() -> None:
    whole, first, second = (BoxLocalizationError() for _ in range(3))
    whole.update(LOGITS, TARGET, BOXES, TRUE)
    first.update(LOGITS[:3], TARGET[:3], BOXES[:3], TRUE[:3], torch.tensor([False, False, True]))
    second.update(LOGITS[2:], TARGET[2:], BOXES[2:], TRUE[2:])
    first.merge_state(second)
    assert first.compute() == whole.compute()


def test_without_a_classifier_only_gt_known_is_reported() -> None:
    metric = BoxLocalizationError()
    metric.update(None, TARGET, BOXES, TRUE)
    assert metric.compute().keys() == {"num_images", "gt_known_hits", "gt_known_error"}


def test_intervals_are_around_the_errors_and_need_pairs() -> None:
    metric = BoxLocalizationError()
    values = metric.update(LOGITS, TARGET, BOXES, TRUE).values
    ends = metric.intervals(SplitOutcome(list("abcd"), TARGET, values), None)
    for key, (low, high) in ends.items():
        assert 0 <= low <= float(metric.compute()[key]) <= high <= 1
    assert ends.keys() == {"top1_error", "top5_error", "gt_known_error"}
    nothing = SplitOutcome([], TARGET[:0], {name: value[:0] for name, value in values.items()})
    assert metric.intervals(nothing, None) == {}


def test_protocols_say_what_they_are_without_thresholds() -> None:
    plain = LocalizationError(cam_threshold=0.2, iou_thresholds=[0.3, 0.7], iou_threshold=0.7).without_thresholds()
    assert isinstance(plain, BoxLocalizationError)
    assert plain.iou_threshold == 0.7
    ilsvrc = IlsvrcError(iou_threshold=0.6, cam_threshold=0.2).without_thresholds()
    assert isinstance(ilsvrc, IlsvrcError)
    assert (ilsvrc.cam_threshold, ilsvrc.iou_threshold) == (None, 0.6)
    for other in (MaxBoxAcc(v1=True), HeuristicError()):
        assert other.without_thresholds() is other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reported_boxes": BOXES[:2]}, "reported_boxes"),
        ({"reported_boxes": BOXES * float("nan")}, "boxes"),
        ({"image_boxes": [*TRUE[:3], torch.zeros(0, 4)]}, "boxes"),
        ({"logits": LOGITS[:1]}, "logits"),
        ({"target": TARGET.float()}, "target"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"logits": LOGITS, "target": TARGET, "reported_boxes": BOXES, "image_boxes": TRUE}
    with pytest.raises(ValueError, match=message):
        BoxLocalizationError().update(**(given | change))


def test_an_iou_threshold_is_a_fraction() -> None:
    with pytest.raises(ValueError, match=r"localization\.iou_threshold"):
        BoxLocalizationError(50)


def test_agrees_with_the_error_at_one_threshold() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.rand(50, 9, generator=generator), torch.randint(9, (50,), generator=generator)
    corners = torch.rand(50, 2, generator=generator) * 4
    boxes = torch.cat([corners, corners + 6], dim=1)
    true = [torch.tensor([[1.0, 1.0, 8.0, 8.0]])] * 50
    ours, swept = BoxLocalizationError(), LocalizationError(cam_threshold=0.0, num_thresholds=1)
    outcome = ours.update(logits, target, boxes, true)
    score_maps = torch.rand(50, 9, 9, generator=generator)
    swept_outcome = swept.update(logits, target, score_maps, true, boxes=boxes[:, None])
    found, expected = ours.compute(), swept.compute()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    ids = [str(number) for number in range(50)]
    intervals = ours.intervals(SplitOutcome(ids, target, outcome.values), None)
    same = swept.intervals(SplitOutcome(ids, target, swept_outcome.values), None)
    assert all(intervals[key] == pytest.approx(same[key]) for key in intervals)

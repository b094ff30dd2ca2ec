import numpy as np
import pytest
import torch

from camloc.metrics.classification_error import ClassificationError
from camloc.records import SplitOutcome


def test_errors_by_hand_over_two_batches_with_padding() -> None:
    metric = ClassificationError()
    logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0]])
    metric.update(logits, torch.tensor([0, 0, 5]))  # rank 0, rank 5, rank 5
    outcome = metric.update(logits, torch.tensor([1, 5, 0]), torch.tensor([False, True, True]))  # rank 1, two repeats
    assert outcome.values["rank"].tolist() == [1]
    errors = metric.compute()
    assert errors.keys() == {"top1_error", "top5_error"}
    assert errors["top1_error"].item() == 0.75
    assert errors["top5_error"].item() == 0.5
    assert metric.num_images.dtype == torch.int64


def test_with_few_classes_every_prediction_is_among_the_top_five() -> None:
    metric = ClassificationError()
    metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert metric.compute()["top5_error"].item() == 0


def test_intervals_equal_a_plain_bootstrap() -> None:
    rank = torch.tensor([0, 0, 1, 7, 0, 4, 5, 0, 2, 0])
    outcome = SplitOutcome([str(i) for i in range(10)], torch.zeros(10, dtype=torch.int64), {"rank": rank})
    found = ClassificationError().intervals(outcome, None)
    assert found.keys() == {"top1_error", "top5_error"}
    draw, _ = np.random.default_rng(0).spawn(2)
    drawn = [draw.integers(10, size=10) for _ in range(1000)]
    for k in (1, 5):
        errors = [float((rank.numpy()[places] >= k).mean()) for places in drawn]
        assert found[f"top{k}_error"] == pytest.approx(tuple(np.percentile(errors, [2.5, 97.5])))


def test_without_pairs_there_is_no_interval() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    assert ClassificationError().intervals(SplitOutcome([], empty, {"rank": empty}), None) == {}


def test_its_rows_are_errors_without_a_threshold() -> None:
    rows = ClassificationError().rows
    assert [(row.key, row.direction, row.threshold) for row in rows] == [
        ("top1_error", "min", "none"),
        ("top5_error", "min", "none"),
    ]

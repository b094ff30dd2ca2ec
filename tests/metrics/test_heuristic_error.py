from pathlib import Path

import pytest
import torch
from torch import Tensor

from camloc.metrics.functional.devkit import devkit_hits, devkit_pixels
from camloc.metrics.heuristic_error import HeuristicError
from camloc.records import SplitOutcome

WHOLE, PART = [0.0, 0.0, 20.0, 20.0], [5.0, 5.0, 10.0, 10.0]
TRUE_WHOLE, TRUE_PART = torch.tensor([WHOLE]), torch.tensor([PART])


def error(rank: int, true_boxes: Tensor, key: str = "heuristic_top5_error") -> float:
    """Of one image whose class has this rank; its loose box is the whole, its tight box a part."""
    metric = HeuristicError()
    logits = torch.arange(6, 0, -1.0)[None]
    metric.update(logits, torch.tensor([rank]), torch.tensor([[WHOLE, PART]]), [true_boxes], [0])
    return metric.compute()[key].item()


@pytest.mark.parametrize(("rank", "loose", "tight"), [(0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 1, 1), (5, 1, 1)])
def test_the_boxes_of_each_class_by_hand(rank: int, loose: float, tight: float) -> None:
    assert error(rank, TRUE_WHOLE) == loose
    assert error(rank, TRUE_PART) == tight
    assert error(rank, torch.cat([TRUE_PART + 30, TRUE_PART])) == tight  # any instance
    assert error(rank, TRUE_PART + 30) == 1
    # Three classes are named; the first prediction is the loose box of the first.
    assert error(rank, TRUE_PART, "heuristic_top5_classification_error") == (rank > 2)
    assert error(rank, TRUE_WHOLE, "heuristic_top1_error") == (rank > 0)
    assert error(rank, TRUE_PART, "heuristic_top1_error") == 1


def test_agrees_with_the_devkit_on_all_five_predictions(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    count, classes = 120, 7
    logits = torch.rand(count, classes, generator=generator)
    target = torch.randint(classes, (count,), generator=generator)
    corners = torch.rand(count, classes, 2, 2, generator=generator) * 5
    boxes = torch.cat([corners, corners + 8 + 15 * torch.rand(count, classes, 2, 2, generator=generator)], dim=3)
    true = [torch.tensor([[2.0, 2.0, 22.0, 20.0], [10.0, 10.0, 30.0, 30.0]])[: 1 + i % 2] for i in range(count)]
    blacklist = tmp_path / "blacklist.txt"
    blacklist.write_text("1\n7\n")

    first, second, third = logits.topk(3).indices.unbind(dim=1)
    of = torch.arange(count)
    labels = torch.stack([first, first, second, second, third], dim=1)
    named = [boxes[of, first, 0], boxes[of, first, 1], boxes[of, second, 0], boxes[of, second, 1], boxes[of, third, 0]]
    hits = devkit_hits(labels, devkit_pixels(torch.stack(named, dim=1)), target, true).localization[:, 1]
    counts = [bool(hit) for position, hit in enumerate(hits) if position not in (0, 6)]

    metric = HeuristicError(str(blacklist))
    own = boxes[of, target]
    found = [metric.update(logits[:70], target[:70], own[:70], true[:70], list(range(70))).values["counts"]]
    found.append(metric.update(logits[70:], target[70:], own[70:], true[70:], list(range(70, count))).values["counts"])
    metric.update(logits[:1], target[:1], own[:1], true[:1], [0], torch.tensor([True]))  # padding
    computed = metric.compute()
    assert computed["heuristic_top5_hits"].item() == sum(counts) > 10
    assert computed["heuristic_top5_error"].item() == pytest.approx(1 - sum(counts) / (count - 2))
    assert computed["heuristic_num_blacklisted"].item() == 2
    low, high = metric.intervals(
        SplitOutcome([str(i) for i in range(count)], target, {"counts": torch.cat(found)}), None
    )["heuristic_top5_error"]
    assert low < computed["heuristic_top5_error"].item() < high


def test_fewer_than_three_classes() -> None:
    metric = HeuristicError()
    metric.update(torch.tensor([[2.0, 1.0]]), torch.tensor([1]), torch.tensor([[WHOLE, PART]]), [TRUE_PART], [0])
    assert metric.compute()["heuristic_top5_error"].item() == 0


def test_the_row_names_no_threshold() -> None:
    assert [(row.key, row.threshold) for row in HeuristicError().rows] == [("heuristic_top5_error", "none")]

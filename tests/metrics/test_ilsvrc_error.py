from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from camloc.metrics.functional.devkit import DevkitCounts, devkit_hits, devkit_pixels
from camloc.metrics.ilsvrc_error import IlsvrcError, read_blacklist
from camloc.records import SplitOutcome


def devkit_errors(hits: DevkitCounts, blacklisted: Tensor) -> dict[str, float | int]:
    """Count image by image: localization without blacklisted images, classification over all."""
    found: dict[str, float | int] = {
        "ilsvrc_num_images": len(blacklisted),
        "ilsvrc_num_blacklisted": int(blacklisted.sum()),
    }
    for column, k in enumerate((1, 5)):
        kept = [bool(hit) for hit, listed in zip(hits.localization[:, column], blacklisted, strict=True) if not listed]
        classified = hits.classification[:, column].tolist()
        found |= {
            f"ilsvrc_top{k}_hits": sum(kept),
            f"ilsvrc_top{k}_error": 1 - sum(kept) / len(kept),
            f"ilsvrc_top{k}_classification_hits": sum(classified),
            f"ilsvrc_top{k}_classification_error": 1 - sum(classified) / len(classified),
        }
    return found


def test_the_true_classs_box_and_rank_give_the_error_of_five_predictions(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    count, classes = 200, 9
    logits = torch.rand(count, classes, generator=generator)
    target = torch.randint(classes, (count,), generator=generator)
    corners = torch.rand(count, classes, 2, generator=generator) * 20
    boxes = torch.cat([corners, corners + 1 + 20 * torch.rand(count, classes, 2, generator=generator)], dim=2)
    true = [torch.tensor([[2.0, 2.0, 22.0, 20.0], [10.0, 10.0, 30.0, 30.0]])[: 1 + i % 2] for i in range(count)]
    blacklist = tmp_path / "blacklist.txt"
    blacklist.write_text("3\n150\n\n200\n")

    predictions = logits.topk(5).indices
    prediction_boxes = devkit_pixels(boxes.gather(1, predictions[..., None].expand(-1, -1, 4)))
    blacklisted = torch.zeros(count, dtype=torch.bool)
    blacklisted[[2, 149, 199]] = True
    expected = devkit_errors(devkit_hits(predictions, prediction_boxes, target, true), blacklisted)

    metric = IlsvrcError(str(blacklist))
    own = boxes[torch.arange(count), target]
    for start in range(0, count, 64):
        part = slice(start, start + 64)
        positions = list(range(count))[part]
        metric.update(logits[part], target[part], own[part], true[part], positions)
    padding = torch.tensor([True])
    metric.update(logits[:1], target[:1], own[:1], true[:1], [0], padding)
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(expected)

    submitted = IlsvrcError(str(blacklist))
    submitted.update(
        None,
        target,
        None,
        true,
        range(count),
        predicted_classes=predictions,
        predicted_boxes=boxes.gather(1, predictions[..., None].expand(-1, -1, 4)),
    )
    assert submitted.compute() == metric.compute()
    assert 0 < expected["ilsvrc_top1_hits"] < expected["ilsvrc_top5_hits"] < count


@pytest.mark.parametrize("line", ["0", "-3", "seven", "2.5", "7" * 5000])
def test_a_blacklist_that_is_none_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"5\n{line}\n")
    with pytest.raises(ValueError, match=r"list.txt, line 2: expected the number of an image"):
        read_blacklist(str(path))
    with pytest.raises(FileNotFoundError, match=r"localization.protocols.ilsvrc.blacklist=nowhere is not a file"):
        read_blacklist("nowhere")


def test_a_blacklisted_hit_counts_for_classification_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("2\n")
    metric = IlsvrcError(str(path))
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [1.0, 2.0]])  # right, right and listed, second
    metric.update(logits, torch.tensor([0, 0, 0]), box.expand(3, -1), [box] * 3, [0, 1, 2])
    found = {name: value.item() for name, value in metric.compute().items()}
    assert (found["ilsvrc_num_images"], found["ilsvrc_num_blacklisted"]) == (3, 1)
    assert (found["ilsvrc_top1_hits"], found["ilsvrc_top5_hits"]) == (1, 2)
    assert (found["ilsvrc_top1_classification_hits"], found["ilsvrc_top5_classification_hits"]) == (2, 3)
    assert (found["ilsvrc_top1_error"], found["ilsvrc_top5_error"]) == (0.5, 0)
    assert found["ilsvrc_top1_classification_error"] == pytest.approx(1 / 3)


def test_a_list_that_goes_beyond_the_split_is_refused_before_it_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("5\n\n12\n")
    assert read_blacklist(str(path)) == {4, 11}
    metric = IlsvrcError(blacklist=str(path))
    metric.check_split(12)
    with pytest.raises(ValueError, match=r"list\.txt of the IlsvrcError names image 12, which is beyond"):
        metric.check_split(11)
    IlsvrcError().check_split(0)


def test_a_blacklist_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("5\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"list.txt, line 1: expected the number of an image"):
        read_blacklist(str(path))


@pytest.mark.parametrize("threshold", [-1, 50])
def test_thresholds_are_fractions(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf"localization.iou_threshold is a fraction in \(0, 1\], got {threshold}"):
        IlsvrcError(iou_threshold=threshold)
    with pytest.raises(ValueError, match=rf"localization.cam_threshold is a fraction .* got {threshold}"):
        IlsvrcError(cam_threshold=threshold)


def test_counts_of_processes_add_up_to_those_of_one(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    blacklist = tmp_path / "blacklist.txt"
    blacklist.write_text("2\n7\n")
    logits, target = torch.rand(13, 9, generator=generator), torch.randint(9, (13,), generator=generator)
    boxes = torch.tensor([[0.0, 0.0, 9.0, 6.0], [20.0, 20.0, 30.0, 30.0]])[torch.arange(13) % 3 % 2]
    true = [torch.tensor([[0.0, 0.0, 10.0, 6.0]])] * 13

    def counted(positions: list[int]) -> IlsvrcError:
        at, metric = torch.tensor([p % 13 for p in positions]), IlsvrcError(str(blacklist))
        padding = torch.tensor([p >= 13 for p in positions])
        metric.update(logits[at], target[at], boxes[at], [true[i] for i in at], positions, padding)
        return metric

    alone = counted(list(range(13)))
    shared = counted([0, 3, 6, 9, 12])
    for rank in (1, 2):
        shared.merge_state(counted(list(range(rank, 15, 3))))
    assert shared.localized.dtype == shared.classified.dtype == shared.num_images.dtype == torch.int64
    assert {k: v.item() for k, v in shared.compute().items()} == {k: v.item() for k, v in alone.compute().items()}
    assert shared.compute()["ilsvrc_num_images"] == 13
    assert shared.compute()["ilsvrc_num_blacklisted"] == 2
    assert 0 < shared.compute()["ilsvrc_top5_hits"] < 11


BOX = torch.tensor([[2.0, 2.0, 6.0, 6.0]])
FAR = torch.tensor([[7.0, 7.0, 9.0, 9.0]])


def test_predictions_of_a_file_decide_alone(tmp_path: Path) -> None:
    blacklist = tmp_path / "list.txt"
    blacklist.write_text("4\n")
    classes = torch.tensor([[3, 1, -1], [1, 3, -1], [3, 3, -1], [3, -1, -1], [-1, -1, -1]])
    boxes = BOX.expand(5, 3, 4).clone()
    boxes[2, 0] = FAR  # the right class twice, the second time with the right box
    metric = IlsvrcError(str(blacklist))
    target = torch.full((5,), 3)
    outcome = metric.update(None, target, None, [BOX] * 5, range(5), predicted_classes=classes, predicted_boxes=boxes)
    yes, no = True, False
    assert outcome.values["counts"].tolist() == [
        [yes, yes, yes, yes, no],
        [no, yes, no, yes, no],
        [no, yes, yes, yes, no],
        [no, no, yes, yes, yes],
        [no, no, no, no, no],
    ]
    found = {name: value.item() for name, value in metric.compute().items()}
    assert (found["ilsvrc_top1_hits"], found["ilsvrc_top5_hits"], found["ilsvrc_num_blacklisted"]) == (1, 3, 1)
    assert (found["ilsvrc_top1_error"], found["ilsvrc_top5_error"]) == (0.75, 0.25)
    assert found["ilsvrc_top1_classification_error"] == pytest.approx(0.4)


def test_without_a_chosen_threshold_nothing_is_counted() -> None:
    metric = IlsvrcError()
    outcome = metric.update(torch.eye(2), torch.tensor([0, 1]), None, [BOX, BOX], [0, 1])
    assert not outcome.values
    assert metric.compute()["ilsvrc_num_images"] == 0


def test_a_pair_without_true_box_is_refused_unless_it_is_padding() -> None:
    metric, none = IlsvrcError(), torch.zeros(0, 4)
    with pytest.raises(ValueError, match="has no true box"):
        metric.update(torch.eye(2), torch.tensor([0, 1]), BOX.expand(2, -1), [BOX, none], [0, 1])
    metric.update(
        torch.eye(2), torch.tensor([0, 1]), BOX.expand(2, -1), [BOX, none], [0, 0], torch.tensor([False, True])
    )
    assert metric.compute()["ilsvrc_num_images"] == 1


def test_intervals_equal_a_plain_bootstrap() -> None:
    generator = torch.Generator().manual_seed(3)
    counts = torch.rand(15, 5, generator=generator) < torch.tensor([0.4, 0.6, 0.5, 0.8, 0.2])
    counts[:, :2] &= ~counts[:, 4:]
    outcome = SplitOutcome([str(i) for i in range(15)], torch.zeros(15, dtype=torch.int64), {"counts": counts})
    draw, _ = np.random.default_rng(0).spawn(2)
    errors: dict[str, list[float]] = {}
    for _ in range(1000):
        drawn = counts.numpy()[draw.integers(15, size=15)]
        for column, k in enumerate((1, 5)):
            kept = drawn[~drawn[:, 4]]
            errors.setdefault(f"ilsvrc_top{k}_error", []).append(1 - kept[:, column].mean())
            errors.setdefault(f"ilsvrc_top{k}_classification_error", []).append(1 - drawn[:, 2 + column].mean())
    found = IlsvrcError().intervals(outcome, None)
    assert found.keys() == errors.keys()
    for key, values in errors.items():
        assert found[key] == pytest.approx(tuple(np.percentile(values, [2.5, 97.5]))), key


def test_where_nothing_counts_for_localization_there_is_no_interval() -> None:
    for count in (0, 3):
        counts = torch.ones(count, 5, dtype=torch.bool)
        outcome = SplitOutcome(["a", "b", "c"][:count], torch.zeros(count, dtype=torch.int64), {"counts": counts})
        assert IlsvrcError().intervals(outcome, None) == {}


def test_its_rows_are_in_its_numbers() -> None:
    metric = IlsvrcError()
    metric.update(torch.eye(2)[:1], torch.tensor([0]), BOX, [BOX], [0])
    assert {row.key for row in metric.rows} <= metric.compute().keys()
    assert [row.threshold for row in metric.rows] == ["none", "none", "reported", "reported"]

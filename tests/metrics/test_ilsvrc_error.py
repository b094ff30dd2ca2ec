from pathlib import Path

import pytest
import torch

from camloc.metrics.functional.devkit import devkit_errors, devkit_hits, devkit_pixels
from camloc.metrics.ilsvrc_error import IlsvrcError, read_blacklist


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
    assert 0 < expected["ilsvrc_top1_hits"] < expected["ilsvrc_top5_hits"] < count


@pytest.mark.parametrize("line", ["0", "-3", "seven", "2.5"])
def test_a_blacklist_that_is_none_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"5\n{line}\n")
    with pytest.raises(ValueError, match=r"list.txt, line 2: expected the number of an image"):
        read_blacklist(str(path))
    with pytest.raises(FileNotFoundError, match=r"blacklist=nowhere is no file"):
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


def test_a_number_beyond_the_split_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("5\n\n12\n")
    assert read_blacklist(str(path), num_images=12) == {4, 11}
    with pytest.raises(ValueError, match=r"list.txt, line 3: image 12 is beyond the split, which has 11"):
        read_blacklist(str(path), num_images=11)


def test_a_blacklist_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("5\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"list.txt, line 1: expected the number of an image"):
        read_blacklist(str(path))


@pytest.mark.parametrize("threshold", [0, 50])
def test_the_iou_threshold_is_a_fraction(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf"iou_threshold is a fraction in \(0, 1\], got {threshold}"):
        IlsvrcError(iou_threshold=threshold)


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

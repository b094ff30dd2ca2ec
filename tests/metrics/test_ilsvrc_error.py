from pathlib import Path

import pytest
import torch

from camloc.metrics.functional.devkit import devkit_errors, devkit_hits, devkit_pixels
from camloc.metrics.ilsvrc_error import IlsvrcError, read_blacklist


def test_the_true_classs_box_and_rank_give_the_error_of_five_guesses(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    count, classes = 200, 9
    logits = torch.rand(count, classes, generator=generator)
    target = torch.randint(classes, (count,), generator=generator)
    corners = torch.rand(count, classes, 2, generator=generator) * 20
    boxes = torch.cat([corners, corners + 1 + 20 * torch.rand(count, classes, 2, generator=generator)], dim=2)
    true = [torch.tensor([[2.0, 2.0, 22.0, 20.0], [10.0, 10.0, 30.0, 30.0]])[: 1 + i % 2] for i in range(count)]
    blacklist = tmp_path / "blacklist.txt"
    blacklist.write_text("3\n150\n\n200\n")

    guesses = logits.topk(5).indices
    guess_boxes = devkit_pixels(boxes.gather(1, guesses[..., None].expand(-1, -1, 4)))
    blacklisted = torch.zeros(count, dtype=torch.bool)
    blacklisted[[2, 149, 199]] = True
    expected = devkit_errors(devkit_hits(guesses, guess_boxes, target, true), blacklisted)

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
    with pytest.raises(ValueError, match=r"list.txt, line 2: expected the number of a picture"):
        read_blacklist(str(path))
    with pytest.raises(FileNotFoundError, match=r"blacklist=nowhere is no file"):
        read_blacklist("nowhere")

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from camloc.objectives.contract import Labelled
from camloc.objectives.has import HideAndSeek

NETWORKS = run_path(str(Path(__file__).parent / "networks.py"))
Seen: Callable[..., Any] = NETWORKS["Seen"]

LOGITS = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
TARGET = torch.tensor([0, 1])


def test_hidden_cells_are_zero_and_whole() -> None:
    torch.manual_seed(3)
    hidden = HideAndSeek([1, 1], grid_size=2, drop_rate=0.5).hide(torch.ones(4, 3, 4, 6))
    torch.manual_seed(3)
    draws = torch.rand(4, 2, 3)
    assert 0 < (draws < 0.5).sum() < 24
    for image in range(4):
        for row in range(2):
            for column in range(3):
                cell = hidden[image, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                assert (cell == float(draws[image, row, column] >= 0.5)).all()


def test_cells_at_the_edge_are_narrower() -> None:
    torch.manual_seed(0)
    hidden = HideAndSeek([1, 1], grid_size=4, drop_rate=0.5).hide(torch.ones(64, 3, 5, 9))
    cells = hidden[:, 0, ::4, ::4]
    assert hidden.shape == (64, 3, 5, 9)
    assert torch.equal(hidden[:, 0, 4, 8], cells[:, 1, 2])
    assert 0.4 < cells.mean() < 0.6
    assert torch.equal(cells.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :5, :9], hidden[:, 2])


@pytest.mark.parametrize(("drop_rate", "left"), [(0.0, 1.0), (1.0, 0.0)])
def test_none_and_all(drop_rate: float, left: float) -> None:
    images = torch.ones(2, 3, 3, 3)
    assert (HideAndSeek([1], grid_size=1, drop_rate=drop_rate).hide(images) == left).all()
    assert (images == 1).all()  # as they were


def test_the_loss_is_that_of_the_hidden_images() -> None:
    backbone = Seen(LOGITS)
    losses = HideAndSeek([1, 1], drop_rate=1.0)(backbone, Labelled(torch.ones(2, 3, 4, 4), TARGET))
    assert losses.by_name.keys() == {"cross_entropy"}
    assert torch.equal(losses.by_name["cross_entropy"], cross_entropy(LOGITS, TARGET))
    assert losses.logits is LOGITS
    assert not backbone.images.any()


def test_the_same_seed_hides_the_same() -> None:
    hide, images = HideAndSeek([1]).hide, torch.randn(2, 3, 16, 16)
    torch.manual_seed(1)
    first = hide(images)
    assert not torch.equal(first, hide(images))
    torch.manual_seed(1)
    assert torch.equal(first, hide(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid_size": 0}, r"objective\.grid_size is the side of a cell in pixels, at least 1, found 0"),
        ({"drop_rate": 1.5}, r"objective\.drop_rate must lie in \[0, 1\], found 1\.5"),
        ({"drop_rate": float("nan")}, r"objective\.drop_rate .* found nan"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HideAndSeek([1], **options)


def test_several_labels_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^objective=has trains on one class per image, found a target .* \(2, 2\)$"):
        HideAndSeek([1, 1])(nn.Identity(), Labelled(torch.ones(2, 3, 4, 4), torch.ones(2, 2).bool()))

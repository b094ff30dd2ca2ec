import math
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from camloc.objectives import cutmix
from camloc.objectives.contract import Labelled
from camloc.objectives.cutmix import CutMix, _covers

NETWORKS = run_path(str(Path(__file__).parent / "networks.py"))
Seen: Callable[..., Any] = NETWORKS["Seen"]

LOGITS = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 4.0]])
TARGET = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("side", "centre", "first", "last"),
    [
        (0.5, 0.5, 3, 7),  # half of 11 is 5, and half of that 2: two pixels to each end of pixel 5
        (0.5, 0.0, 0, 2),  # clipped at the left edge
        (0.5, 0.999, 8, 11),  # at the right edge
        (1.0, 0.5, 0, 10),
        (0.1, 0.5, 5, 5),  # one pixel: nothing, as in the released code
    ],
)
def test_one_axis_of_the_box(side: float, centre: float, first: int, last: int) -> None:
    covered = _covers(11, torch.tensor(side), torch.tensor(centre))
    expected = torch.zeros(11, dtype=torch.bool)
    expected[first:last] = True
    assert torch.equal(covered, expected)


def given(monkeypatch: pytest.MonkeyPatch, lam: float, draws: list[float], order: list[int]) -> None:
    """Replace what is drawn: the share that is left, whether a batch is mixed with the centre, and the other images."""

    class Drawn:
        def __init__(self, *parameters: Tensor) -> None:
            assert [float(one) for one in parameters] == [2.0, 2.0]

        def sample(self) -> Tensor:
            return torch.tensor(lam)

    monkeypatch.setattr(cutmix, "Beta", Drawn)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(draws))
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: torch.tensor(order))


def test_a_clipped_box_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # 1 - 0.75 of the area: half of each side; at 8x4 pixels 4x2, around row 6 and column 0: rows 4 to 7, column 0.
    given(monkeypatch, 0.75, [0.2, 0.75, 0.0], [1, 2, 0])
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 8, 4).contiguous()
    backbone = Seen(LOGITS)
    losses = CutMix([1, 1, 1], beta=2.0, probability=0.5)(backbone, Labelled(images, TARGET))
    expected = images.clone()
    expected[:, :, 4:8, 0:1] = images[[1, 2, 0], :, 4:8, 0:1]
    assert torch.equal(backbone.images, expected)
    share = 4 / 32  # not 1/4: the box was clipped
    torch.testing.assert_close(losses.by_name["own_label"], (1 - share) * cross_entropy(LOGITS, TARGET))
    torch.testing.assert_close(losses.by_name["pasted_label"], share * cross_entropy(LOGITS, torch.tensor([1, 2, 0])))
    assert losses.logits is LOGITS


def test_a_batch_that_is_not_mixed_is_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, 0.25, [0.5, 0.5, 0.5], [1, 2, 0])
    backbone, images = Seen(LOGITS), torch.randn(3, 3, 8, 8)
    losses = CutMix([1, 1, 1], beta=2.0, probability=0.5)(backbone, Labelled(images, TARGET))
    assert torch.equal(backbone.images, images)
    assert torch.equal(losses.by_name["own_label"], cross_entropy(LOGITS, TARGET))
    assert losses.by_name["pasted_label"] == 0


def test_areas_are_uniform_with_beta_one() -> None:
    torch.manual_seed(0)
    mix, images = CutMix([1]), torch.zeros(1, 3, 32, 32)
    shares = torch.tensor([mix.box(images).float().mean() for _ in range(2000)])
    # A box of area a, whose sides s = sqrt(a) are clipped: a side of s keeps s - s^2 / 4 on average.
    a = torch.linspace(0, 1, 10_001)
    expected = ((a.sqrt() - a / 4) ** 2).mean()
    assert shares.mean() == pytest.approx(float(expected), abs=0.03)


def test_the_same_seed_mixes_the_same() -> None:
    mix, images = CutMix([1]), torch.zeros(1, 3, 32, 32)
    torch.manual_seed(1)
    first = mix.box(images)
    torch.manual_seed(1)
    assert torch.equal(first, mix.box(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, r"objective\.beta must be above 0, found 0\.0"),
        ({"beta": math.nan}, r"objective\.beta must be above 0, found nan"),
        ({"probability": -0.1}, r"objective\.probability must lie in \[0, 1\], found -0\.1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CutMix([1], **options)


def test_several_labels_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^objective=cutmix trains on one class per image, found a target"):
        CutMix([1, 1])(nn.Identity(), Labelled(torch.ones(2, 3, 4, 4), torch.ones(2, 2).bool()))

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camloc.attribution.token_cut import WEAK_EDGE, normalized_cut, token_cut
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]


def directions(letters: list[str]) -> Tensor:
    """(2,h,w): tokens along the first axis for ``.``, along the second for ``#``."""
    is_object = torch.tensor([[letter == "#" for letter in row] for row in letters])
    return torch.stack([(~is_object).float(), is_object.float()])


def shown(found: Tensor) -> list[str]:
    return ["".join("#" if cell else "." for cell in row) for row in found.tolist()]


def test_by_hand_two_kinds_of_tokens_are_cut_apart_and_the_smaller_is_the_object() -> None:
    # Of two cliques of n and m tokens y is constant in each, with n y_n + m y_m = 0 up to the weak edges: the smaller
    # one has the larger |y|.
    blocks = ["......", ".##...", ".##...", "......"]
    assert shown(normalized_cut(directions(blocks))) == blocks
    swapped = ["######", "#..###", "#..###", "######"]
    assert shown(normalized_cut(directions(swapped))) == blocks


def test_length_and_sign_of_features_do_not_matter() -> None:
    blocks = [".....", "..##.", "....."]
    maps = directions(blocks)
    lengths = torch.rand(1, 3, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    assert shown(normalized_cut(100 * maps * lengths)) == blocks
    assert shown(normalized_cut(-maps)) == blocks


def test_one_component_of_the_part_is_kept() -> None:
    # All three tokens have the same |y| but for rounding, so either component may be the strongest one's.
    found = shown(normalized_cut(directions(["#....", "#....", ".....", "....#"])))
    assert found in (["#....", "#....", ".....", "....."], [".....", ".....", ".....", "....#"])
    diagonal = shown(normalized_cut(directions(["#...", ".#..", "...."])))
    assert diagonal in (["#...", "....", "...."], ["....", ".#..", "...."])


def test_tau_says_what_is_alike() -> None:
    half = math.cos(math.pi / 3)
    maps = torch.tensor([[[1.0, 1.0, half, 1.0]], [[0.0, 0.0, math.sqrt(1 - half**2), 0.0]]])
    assert shown(normalized_cut(maps, tau=0.51)) == ["..#."]
    assert shown(normalized_cut(maps, tau=0.49)) == ["...."]


@pytest.mark.parametrize(
    "maps",
    [
        torch.ones(3, 4, 5),
        torch.ones(3, 1, 1),
        torch.full((3, 2, 2), torch.nan),
        torch.eye(4).reshape(4, 2, 2).index_fill(0, torch.tensor([0]), torch.inf),
    ],
    ids=["constant", "one pixel", "NaN", "infinite"],
)
def test_where_there_is_no_cut_there_is_no_object(maps: Tensor) -> None:
    assert not normalized_cut(maps).any()


def test_a_map_of_zeros_is_alike_to_nothing_and_gives_one_token() -> None:
    # Every token is alone, also from itself: all edges weigh the same, and any cut is as good as any other.
    found = normalized_cut(torch.zeros(3, 2, 3))
    assert found.shape == (2, 3)
    assert set(found.flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_generalized_problem(seed: int) -> None:
    linalg = pytest.importorskip("scipy.linalg", reason="it solves the generalized problem, as the released code does")
    ndimage = pytest.importorskip("scipy.ndimage")
    maps = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(seed))
    tokens = maps.flatten(1).T.double().numpy()
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    edges = np.where(tokens @ tokens.T > 0.2, 1.0, WEAK_EDGE)
    degrees = np.diag(edges.sum(axis=1))
    _, vectors = linalg.eigh(degrees - edges, degrees, subset_by_index=[1, 1])
    second = vectors[:, 0].reshape(5, 6)
    part = second > second.mean()
    seed_place = np.unravel_index(np.abs(second).argmax(), second.shape)
    components, _ = ndimage.label(part if part[seed_place] else ~part)
    assert np.array_equal(normalized_cut(maps).numpy(), components == components[seed_place])


def test_pairs_of_an_image_share_its_map(halves: Halves) -> None:
    backbone = halves(nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    images = torch.stack([directions(["...", ".#."]), directions(["#..", "..."])])
    pairs = Pairs(image_index=torch.tensor([1, 0, 1]), classes=torch.tensor([0, 1, 1]))
    found = token_cut(backbone, images, lambda _: pairs)
    assert [shown(cam) for cam in found.cams] == [["#..", "..."], ["...", ".#."], ["#..", "..."]]
    assert found.cams.dtype == torch.float32
    none = Pairs(image_index=torch.zeros(0, dtype=torch.int64), classes=torch.zeros(0, dtype=torch.int64))
    assert token_cut(backbone, images, lambda _: none).cams.shape == (0, 2, 3)


def test_what_is_no_similarity_is_refused(halves: Halves) -> None:
    with pytest.raises(ValueError, match=r"attribution\.tau=1\.0 is a cosine similarity and must lie in \[-1, 1\)"):
        token_cut(halves(nn.Identity(), nn.Identity()), torch.zeros(1, 3, 2, 2), lambda _: None, tau=1.0)  # type: ignore[arg-type, return-value] # not reached

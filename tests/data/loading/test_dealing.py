"""Dealing images into splits."""

import hashlib
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camloc.data.loading.dealing import TEST, TRAIN, VAL, deal, groups_of, refuse_divided

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=30)
SHARES = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5))
SEEDS = st.integers(0, 2**40)


@given(NAMES, NAMES, SHARES, SEEDS)
def test_adding_images_moves_no_other(
    names: list[str], added: list[str], shares: tuple[float, float], seed: int
) -> None:
    mixed = sorted({*names, *added}, key=lambda name: name[::-1])
    after = dict(zip(mixed, deal(mixed, shares, seed).tolist(), strict=True))
    assert deal(names, shares, seed).tolist() == [after[name] for name in names]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=40), SHARES, SEEDS)
def test_a_group_is_never_split(numbers: list[tuple[int, int]], shares: tuple[float, float], seed: int) -> None:
    names = [f"class{image % 2}/p{patient}_{image}.png" for patient, image in numbers]
    groups = groups_of(names, r"^(p\d+)_")
    places: dict[int, set[int]] = {}
    for (patient, _), place in zip(numbers, deal(groups, shares, seed).tolist(), strict=True):
        places.setdefault(patient, set()).add(place)
    assert all(len(found) == 1 for found in places.values())


@given(NAMES, st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), SEEDS)
def test_more_for_val_takes_nothing_from_test(
    names: list[str], test: float, val: float, more: float, seed: int
) -> None:
    def tested(share: float) -> list[bool]:
        return [place == TEST for place in deal(names, (share, test), seed).tolist()]

    assert tested(val) == tested(min(val + more, 0.5))


@given(NAMES, SEEDS, st.floats(0, 1))
def test_nothing_is_left_to_train_on_where_val_and_test_take_all(names: list[str], seed: int, val: float) -> None:
    assert TRAIN not in deal(names, (val, 1 - val), seed)


def test_the_place_is_that_of_the_hash() -> None:
    names = [f"cat/{number}.jpg" for number in range(200)]
    expected = []
    for name in names:
        digest = hashlib.blake2b(name.encode(), digest_size=8, key=b"7").hexdigest()
        share = int(digest, 16) / 2**64
        expected.append(VAL if share < 0.2 else TEST if share >= 0.7 else TRAIN)
    assert deal(names, (0.2, 0.3), seed=7).tolist() == expected
    assert deal(names, (0.2, 0.3), seed=8).tolist() != expected


def test_shares_are_met_on_average() -> None:
    counts = np.bincount(deal([str(number) for number in range(10_000)], (0.15, 0.25), seed=0))
    assert np.abs(counts - [6000, 1500, 2500]).max() < 4 * np.sqrt(10_000 * 0.25)  # four standard deviations


def test_accents_may_be_composed_or_not() -> None:
    names = [f"café{number}" for number in range(60)]
    apart = [unicodedata.normalize("NFD", name) for name in names]
    assert names != apart
    assert deal(names, (0.3, 0.3), 0).tolist() == deal(apart, (0.3, 0.3), 0).tolist()
    assert groups_of(apart, "^(café.)") == groups_of(names, "^(café.)")


@pytest.mark.parametrize("shares", [(-0.1, 0.5), (0.6, 0.5), (float("nan"), 0.1)])
def test_shares_that_cannot_be_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="shares of val and test must be 0 or more and at most 1 together"):
        deal(["a"], shares, 0)


def test_a_group_may_be_a_folder() -> None:
    names = ["ill/p07/1.png", "ill/p12/1.png", "well/p07/2.png"]
    assert groups_of(names, r"([^/]+)/[^/]+$") == ["p07", "p12", "p07"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(p", r"datamodule\.group_by=\(p is no regular expression: missing \)"),
        (r"p\d+", r"has no group in parentheses, which names what stays together, as in"),
        (r"^(p\d+)", "finds no group in the names of 1 of 2 images, first ill/x2.png; give an expression that fits"),
        (r"^(\d*)[px]", "finds no group in the names of 2 of 2 images, first ill/p1.png, ill/x2.png"),
    ],
)
def test_an_expression_that_does_not_fit_is_one_clear_error(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        groups_of(["ill/p1.png", "ill/x2.png"], pattern)


def test_a_group_in_two_given_splits_is_an_error() -> None:
    refuse_divided(["p1", "p1", "p2"], ["train", "train", "test"], ["a", "b", "c"])
    with pytest.raises(
        ValueError, match=r"1 groups .* are in two splits, first p1: a in train and c in test; a network"
    ):
        refuse_divided(["p1", "p2", "p1"], ["train", "train", "test"], ["a", "b", "c"])

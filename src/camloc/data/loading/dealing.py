"""Dealing images into splits by a hash of their names, so that an image stays where it is when others are added."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.loading.split import SplitName

TRAIN, VAL, TEST = 0, 1, 2
SPLIT_NAMES: tuple[SplitName, SplitName, SplitName] = ("train", "val", "test")
"""Of the numbers that :func:`deal` returns."""
NUM_SHOWN = 3


class Dealt(NamedTuple):
    """Where images were dealt, which a run records in ``splits.csv``."""

    image_ids: Sequence[str]
    """N images."""
    splits: NDArray[np.int8]
    """(N,) 0 ``train``, 1 ``val``, 2 ``test``."""
    groups: Sequence[str]
    """N groups that were dealt as one; empty where each image was dealt on its own."""


def deal(names: Sequence[str], shares: tuple[float, float], seed: int) -> NDArray[np.int8]:
    """Deal each name by a hash of itself and the seed.

    BLAKE2b of the name, keyed by the seed, is taken for a number h in [0, 1): the name goes to ``val`` where
    h < ``shares[0]``, to ``test`` where h >= 1 - ``shares[1]``, and to ``train`` else. So no name depends on the
    others, and with more for ``val`` nothing leaves ``test``. Shares are met on average: the number of N names that go
    to ``val`` is binomial.

    Args:
        names: N names, of images or of groups; equal ones go together. Accents may be composed or not.
        shares: Of ``val`` and of ``test``, each 0 or more, together 1 at most.
        seed: Another one deals all names anew.

    Returns:
        (N,) 0 for ``train``, 1 for ``val``, 2 for ``test``.

    Raises:
        ValueError: If a share is below 0, or both exceed 1.

    Example:
        >>> deal([f"cat/{number}.jpg" for number in range(9)], (0.2, 0.2), seed=1).tolist()
        [0, 2, 0, 0, 0, 2, 1, 0, 0]
    """
    val, test = shares
    if not (val >= 0 and test >= 0 and val + test <= 1):
        raise ValueError(f"shares of val and test must be 0 or more and at most 1 together, found {val} and {test}")
    places = np.array([_place(name, seed) for name in names], np.float64)
    first_of_test = val if val + test == 1 else 1 - test  # where both take all, rounding must leave none for train
    return np.where(places < val, VAL, np.where(places >= first_of_test, TEST, TRAIN)).astype(np.int8)


def groups_of(names: Sequence[str], pattern: str, option: str = "datamodule.group_by") -> list[str]:
    r"""Return the group of each image: the first group of a regular expression that is searched in its file name.

    Args:
        names: N paths with forward slashes.
        pattern: The expression, with at least one group in parentheses. One with a slash is searched in the whole path,
            for groups that are folders.
        option: What gives the expression, for messages.

    Raises:
        ValueError: If it is no expression, has no group, or is not found in some name.

    Example:
        >>> groups_of(["ill/p07_1.png", "well/p12_1.png"], r"^(p\d+)_"), groups_of(["ill/p07/1.png"], "([^/]+)/[^/]+$")
        (['p07', 'p12'], ['p07'])
    """
    try:
        expression = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{option}={pattern} is no regular expression: {error}") from None
    if not expression.groups:
        raise ValueError(
            f"{option}={pattern} has no group in parentheses, which names what stays together, as in ^(patient\\d+)_"
        )
    searched = names if "/" in pattern else [PurePosixPath(name).name for name in names]
    found = [expression.search(unicodedata.normalize("NFC", name)) for name in searched]
    groups = [None if match is None else match[1] for match in found]
    if without := [name for name, group in zip(names, groups, strict=True) if not group]:
        shown = ", ".join(without[:NUM_SHOWN]) + (", ..." if len(without) > NUM_SHOWN else "")
        raise ValueError(
            f"{option}={pattern} finds no group in the names of {len(without)} of {len(names)} images, first {shown}; "
            "give an expression that fits all of them"
        )
    return [group for group in groups if group]


def refuse_divided(groups: Sequence[str], splits: Sequence[str], images: Sequence[str]) -> None:
    """Refuse groups of which some images lie in one split and some in another, as folders or a table place them.

    Args:
        groups: N groups.
        splits: N names of splits.
        images: N images, for the message.

    Raises:
        ValueError: If there are any, with their number and the first of them.

    Example:
        >>> refuse_divided(["p1", "p2"], ["train", "test"], ["1.jpg", "2.jpg"])
    """
    first: dict[str, dict[str, str]] = defaultdict(dict)
    for group, split, image in zip(groups, splits, images, strict=True):
        first[group].setdefault(split, image)
    if divided := [group for group, of_split in first.items() if len(of_split) > 1]:
        shown = " and ".join(f"{image} in {split}" for split, image in list(first[divided[0]].items())[:2])
        raise ValueError(
            f"{len(divided)} groups of datamodule.group_by are in two splits, first {divided[0]}: {shown}; a network "
            "must not be measured on a group that it was trained or tuned on, so keep each in one split"
        )


def _place(name: str, seed: int) -> float:
    text = unicodedata.normalize("NFC", name).encode(errors="surrogateescape")
    digest = hashlib.blake2b(text, digest_size=8, key=str(seed).encode()).digest()
    # 53 bits are what a float holds; more would round up to 1.
    return (int.from_bytes(digest) >> 11) / 2**53

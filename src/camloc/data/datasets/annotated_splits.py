"""Which split each image of an annotated data set belongs to."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.split_names import SPLITS, TRAINVAL
from camloc.data.loading.dealing import TEST, TRAIN, VAL, deal, groups_of, refuse_divided
from camloc.data.loading.split import SplitName

LEFT_OUT = -1


class Division(NamedTuple):
    """Where images belong."""

    splits: NDArray[np.int8]
    """(N,) 0 ``train``, 1 ``val``, 2 ``test``, -1 none."""
    names: tuple[SplitName, ...]
    """Of the splits that have images."""
    is_dealt: bool
    """Whether any image was dealt by a hash."""
    notes: list[str]


def grouped(group_by: str | None, files: NDArray[np.bytes_], columns: Sequence[str], reader: str) -> list[str]:
    """Return the group of each image; empty where each is one by itself.

    Args:
        group_by: A regular expression with a group in parentheses, or a column that the reader has read; null takes
            what the format says, as the patient of an X-ray.
        files: (N,) the images' paths.
        columns: (N,) what the reader says.
        reader: Name of the format, for the message.

    Raises:
        ValueError: If some image has no group.
    """
    if group_by is not None and "(" in group_by:
        return groups_of([os.fsdecode(file) for file in files.tolist()], group_by)
    if group_by is not None and not all(columns):
        raise ValueError(
            f"datamodule.group_by={group_by} is no regular expression with a group in parentheses, and no column that "
            f"{reader} has for all images"
        )
    return list(columns) if all(columns) else []


def divided(
    names: Sequence[str], splits: Sequence[str], groups: Sequence[str], shares: tuple[float, float], seed: int
) -> Division:
    """Divide images as the format says, and deal what it leaves open by a hash of each name or group.

    Without splits all images are dealt. ``trainval`` is dealt into ``train`` and ``val``. Where of ``val`` and ``test``
    one is missing, half of the other becomes it. Images of no split are left out where others have one.

    Args:
        names: N images.
        splits: (N,) ``train``, ``val``, ``test``, ``trainval`` or empty, as the format says.
        groups: (N,) what stays together; empty for nothing.
        shares: Of ``val`` and of ``test``.
        seed: Of the hash.

    Raises:
        ValueError: If a group is in two splits of the format.
    """
    keys = list(groups) or list(names)
    numbers = {"train": TRAIN, "val": VAL, "test": TEST, TRAINVAL: TRAIN}
    counts = Counter(splits)
    notes = []
    given = {split for split in counts if split}
    if given <= {"train"}:
        found, is_dealt = deal(keys, shares, seed), True
        notes.append(
            f"the format says no split{' but train' if given else 's'}: images were dealt by a hash of their "
            f"{'groups' if groups else 'names'}"
        )
    else:
        found, is_dealt = np.array([numbers.get(split, LEFT_OUT) for split in splits], np.int8), False
        if counts[""]:
            first = names[splits.index("")]
            notes.append(f"{counts['']} images are in no split of the format and were left out, first {first}")
        if TRAINVAL in given and "val" not in given:
            open_ones = np.array([split == TRAINVAL for split in splits])
            dealt = deal(keys, (shares[0], 0), seed)
            found[open_ones], is_dealt = dealt[open_ones], True
            notes.append("the format has trainval: val was dealt out of it by a hash")
        elif "train" in given or TRAINVAL in given:
            for missing, other in ((VAL, TEST), (TEST, VAL)):
                if not (found == missing).any():
                    halves = deal(keys, (0.5, 0.5), seed)
                    found, is_dealt = (
                        np.where((found == other) & (halves == missing), missing, found).astype(np.int8),
                        True,
                    )
                    notes.append(
                        f"the format has no {SPLITS[missing]}: half of {SPLITS[other]} was dealt to it by a hash"
                    )
        if groups:
            used = [place for place, number in enumerate(found.tolist()) if number != LEFT_OUT]
            spelt = [SPLITS[found[place]] for place in used]
            refuse_divided([groups[place] for place in used], spelt, [names[place] for place in used])
    present = tuple(split for number, split in enumerate(SPLITS) if (found == number).any())
    return Division(found, present, is_dealt, notes)

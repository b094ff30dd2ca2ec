"""Copies of images: one file in two splits, or in one split under two classes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.images.same_files import same_files
from camloc.data.loading.split import Split, SplitName, Track
from camloc.data.loading.whole_split import all_targets

OnCopies = Literal["error", "leave_out"]
NUM_SHOWN = 3


class Copy(NamedTuple):
    """An image and another one that is the same file."""

    image_id: str
    other: str


class Copies(NamedTuple):
    """What :func:`find_copies` found."""

    across: Mapping[tuple[SplitName, SplitName], Sequence[Copy]]
    """By the split that is not measured on its copies and the split that has them too: ``test`` and ``train``, ``val``
    and ``train``, ``val`` and ``test``."""
    within: Mapping[SplitName, Sequence[Copy]]
    """By split: images that it has under several classes, each with one of another class."""
    left_out: Mapping[SplitName, NDArray[np.int64]]
    """By split: indices of the images that ``on_copies=leave_out`` drops, ascending."""

    def notes(self, name: SplitName) -> list[str]:
        """Say how many images of a split are left out and why."""
        by = "left out by datamodule.on_copies=leave_out"
        notes = [f"{name}: {say_within(self.within[name])}: {by}"] if name in self.within else []
        return notes + [
            f"{say_across(name, other, copies)}: {by}" for (own, other), copies in self.across.items() if own == name
        ]


def find_copies(splits: Mapping[SplitName, Split], track: Track) -> Copies:
    """Compare the bytes of all files of some splits.

    A copy is left out of the split that is measured, of ``val`` where it is in ``test`` too, since ``test`` is what is
    reported. Of copies in one split under two classes nobody knows the right one, so all of them are left out.

    Args:
        splits: One or more. Images without a file are copies of none.
        track: Shows progress.
    """
    names = sorted(splits, key=("train", "test", "val").index)  # the later one leaves out
    offsets = np.cumsum([0, *(len(splits[name]) for name in names)])
    files = [splits[name].file(index) for name in names for index in range(len(splits[name]))]
    groups: dict[int, list[int]] = defaultdict(list)
    content = same_files(files, track)
    for position in np.flatnonzero(content >= 0).tolist():
        groups[content[position]].append(position)
    targets = {name: all_targets(splits[name]) for name in names}
    across: dict[tuple[SplitName, SplitName], list[Copy]] = defaultdict(list)
    within: dict[SplitName, list[Copy]] = defaultdict(list)
    left_out: dict[SplitName, list[int]] = defaultdict(list)
    for positions in groups.values():
        indices: dict[SplitName, list[int]] = defaultdict(list)
        for position in positions:
            place = int(np.searchsorted(offsets, position, "right")) - 1
            indices[names[place]].append(position - int(offsets[place]))
        for number, (name, own) in enumerate(indices.items()):
            split = splits[name]
            for earlier in list(indices)[:number]:
                other = splits[earlier].image_id(indices[earlier][0])
                across[name, earlier] += [Copy(split.image_id(index), other) for index in own]
            others = _of_another_class(targets[name], own)
            pairs = zip(own, others, strict=True) if others else ()
            within[name] += [Copy(split.image_id(index), split.image_id(other)) for index, other in pairs]
            if number or others:
                left_out[name] += own
    dropped = {name: np.array(sorted(indices), np.int64) for name, indices in left_out.items()}
    return Copies(dict(across), {name: copies for name, copies in within.items() if copies}, dropped)


def say_across(name: SplitName, other: SplitName, copies: Sequence[Copy]) -> str:
    """Return what is wrong with copies in two splits, with their number and the first of them."""
    return f"{len(copies)} files of {name} are copies of files of {other}, {_first(copies)}"


def say_within(copies: Sequence[Copy]) -> str:
    """Return what is wrong with copies under several classes, with their number and the first of them."""
    return f"{len(copies)} files are copies of files of another class, {_first(copies)}"


def _of_another_class(targets: NDArray[np.generic], copies: Sequence[int]) -> list[int]:
    """Return for each copy one of another class; nothing where all are of one."""
    differs = [bool(np.any(targets[index] != targets[copies[0]])) for index in copies]
    if not any(differs):
        return []
    other = copies[differs.index(True)]
    return [copies[0] if is_other else other for is_other in differs]


def _first(copies: Sequence[Copy]) -> str:
    shown = ", ".join(f"{copy.image_id} is {copy.other}" for copy in copies[:NUM_SHOWN])
    return f"first {shown}{', ...' if len(copies) > NUM_SHOWN else ''}"

"""Which images of a folder belong to which split and class, whatever annotates them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.loading.index import FolderIndex, index_class_folders
from camloc.data.loading.split import SplitName

ANNOTATIONS = "annotations"
SPLIT_FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Names that a split's folder may have."""
NO_CLASSES = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "images", "labels", "masks"}
)
"""Names that no class has: a network would be trained to distinguish splits, or masks."""
MASK = "_mask.png"
"""Ending of files that are never images where an image has the rest of their name."""


class Part(NamedTuple):
    """Some images of one folder."""

    source: str
    """``train``, ``val``, ``test`` or the folder's other name; empty where class folders lie in the root."""
    image_ids: NDArray[np.bytes_]
    targets: NDArray[np.int64]


class FolderLayout:
    """Class folders below ``train/`` and perhaps ``val/`` and ``test/``, or class folders at once.

    Args:
        root: Holds them.
        shares: Of each class, what is held out for ``val`` and for ``test`` where neither has a folder. Where one of
            them has, half of each class becomes the other.
        seed: Settles what is held out.
        mask_endings: Of mask files that lie next to their images, in small letters. With ``.png``, ``X.png`` next to
            ``X.jpg`` is a mask and not an image. ``X_mask.png`` next to an image ``X`` always is.

    Raises:
        ValueError: If the class folders do not look like classes, or are fewer than two.
    """

    def __init__(self, root: Path, shares: tuple[float, float], seed: int, mask_endings: Sequence[str] = ()) -> None:
        self.root, self._shares, self._seed, self._mask_endings = root, shares, seed, mask_endings
        self.notes: list[str] = []
        """Remarks for the summary before a run."""
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        self.sources = _sources(root, folders)
        if "train" in self.sources:
            unread = sorted(set(folders) - {*self.sources.values(), ANNOTATIONS})
            if unread:
                self.notes.append(f"{root}: not read, because they lie next to train/: {_some(unread)}")
        else:
            wrong = [name for name in folders if name.casefold() in NO_CLASSES]
            if wrong:
                raise ValueError(
                    f"datamodule.root={root} has no train/, so its folders are classes, and {_some(wrong)} does not "
                    "look like one; name the folder with the training images' class folders train"
                )
        self._indices: dict[str, FolderIndex] = {}
        train = self.sources.get("train", "")
        index, where = self.index(train), root / train
        self._train = Part(train, index.image_ids, index.targets)
        self.class_names = tuple(map(readable, index.classes))
        if not len(index.image_ids):
            raise ValueError(f"{where} has no class folder with images; put them in {where}/<class>/")
        if len(self.class_names) == 1:
            raise ValueError(
                f"{where} has one class folder, {self.class_names[0]}: there is nothing to distinguish it from; give "
                "the folder that holds the class folders, two or more"
            )

    def part(self, name: SplitName) -> Part:
        """Return the images of a split, held out where it has no folder of its own.

        Raises:
            ValueError: If it holds a class that is not trained on, or no image.
        """
        given = [split for split in ("val", "test") if split in self.sources]
        if not given:
            part = self._drawn(self._train, [*self._shares, 1.0], ("val", "test", "train").index(name))
        elif name == "train":
            part = self._train
        else:
            part = self._measured(self.sources[name] if name in given else self.sources[given[0]])
            if len(given) == 1:
                part = self._drawn(part, [0.5, 1.0], ("val", "test").index(name))
        if not len(part.targets):
            raise ValueError(
                f"no image is left for {name} in {self.root / part.source}; there must be at least "
                f"{'two of a class' if given else 'three of each class'}, or a folder {name}/ with class folders"
            )
        return part

    def index(self, source: str) -> FolderIndex:
        """Return the images below a folder of class folders, without masks."""
        if source not in self._indices:
            index = index_class_folders(self.root / source, self.root)
            if not source and ANNOTATIONS in index.classes:
                index = _without_class(index, ANNOTATIONS)
            self._indices[source] = self._without_masks(index, source)
        return self._indices[source]

    def _measured(self, source: str) -> Part:
        index = self.index(source)
        names = list(map(readable, index.classes))
        unknown = sorted({names[target] for target in np.unique(index.targets)} - set(self.class_names))
        if unknown:
            raise ValueError(
                f"{self.root / source}: no training image is of class {_some(unknown)}; found "
                f"{_some(self.class_names)} in {self.root / self._train.source}"
            )
        known = {name: target for target, name in enumerate(self.class_names)}
        renumbered = np.array([known.get(name, -1) for name in names], dtype=np.int64)[index.targets]
        return Part(source, index.image_ids, renumbered)

    def _drawn(self, part: Part, shares: Sequence[float], place: int) -> Part:
        """Divide each class's images in an order that follows from the seed, and return one of the parts.

        Args:
            part: The images.
            shares: Of each part; the last one takes the rest. None is empty where a class has enough images.
            place: Which part to return.
        """
        chosen = []
        for target in range(len(self.class_names)):
            members = np.flatnonzero(part.targets == target)
            order = np.random.default_rng([self._seed, target]).permutation(members)
            enough = len(members) >= len(shares)
            sizes = [max(round(share * len(members)), int(enough)) for share in shares[:-1]]
            while enough and sum(sizes) >= len(members):
                sizes[int(np.argmax(sizes))] -= 1
            chosen.append(np.split(order, np.cumsum(sizes))[place])
        places = np.sort(np.concatenate(chosen))
        return Part(part.source, part.image_ids[places], part.targets[places])

    def _without_masks(self, index: FolderIndex, source: str) -> FolderIndex:
        names = index.image_ids.tolist()
        endings = [ending.encode() for ending in {MASK, *self._mask_endings}]
        suspects = [(i, ending) for ending in endings for i in _ending_with(ending, names)]
        if not suspects:
            return index
        stems: dict[bytes, set[bytes]] = {}
        for name in names:
            stem, _, suffix = name.rpartition(b".")
            stems.setdefault(b"." + suffix.lower(), set()).add(stem)

        def is_mask(name: bytes, ending: bytes) -> bool:
            # With the ending .png, 1.png is the mask of 1.jpg and not of itself.
            return any(name[: -len(ending)] in having for suffix, having in stems.items() if suffix != ending)

        masks = {i for i, ending in suspects if is_mask(names[i], ending)}
        if not masks:
            return index
        if not self._mask_endings:
            self.notes.append(f"{self.root / source}: {len(masks)} files *{MASK} are not images and were left out")
        kept = np.setdiff1d(np.arange(len(names)), list(masks))
        return FolderIndex(index.classes, index.image_ids[kept], index.targets[kept])


def _ending_with(ending: bytes, names: Sequence[bytes]) -> list[int]:
    return [i for i, name in enumerate(names) if name[-len(ending) :].lower() == ending]


def readable(name: str) -> str:
    r"""Spell a file name for people; bytes that are not UTF-8 are written as ``\xe9``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _sources(root: Path, folders: Sequence[str]) -> dict[SplitName, str]:
    sources: dict[SplitName, str] = {}
    if "train" not in folders:
        return sources
    for split, names in SPLIT_FOLDERS.items():
        found = [name for name in folders if name.casefold() in names]
        if len(found) > 1:
            raise ValueError(f"datamodule.root={root}: {' and '.join(found)} are both {split}; keep one")
        if found and found[0] not in names:
            raise ValueError(f"datamodule.root={root}: rename the folder {found[0]} to {found[0].casefold()}")
        if found:
            sources[split] = found[0]
    return sources


def _without_class(index: FolderIndex, name: str) -> FolderIndex:
    place = index.classes.index(name)
    kept = index.targets != place
    targets = index.targets[kept]
    classes = tuple(other for other in index.classes if other != name)
    return FolderIndex(classes, index.image_ids[kept], targets - (targets > place))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")  # noqa: PLR2004 - enough to recognize the mistake

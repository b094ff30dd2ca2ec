"""Which images of a folder belong to which split and class; what annotates them is of no matter here."""

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
"""What a class folder is not called: trained on, such a mistake would give a network of splits, or of masks."""
MASK = b"_mask.png"


class Part(NamedTuple):
    """Some images of one folder."""

    source: str
    """``train``, ``val``, ``test`` or what the folder is called instead; empty where class folders lie in the root."""
    image_ids: NDArray[np.bytes_]
    targets: NDArray[np.int64]


class FolderLayout:
    """Class folders below ``train/`` and perhaps ``val/`` and ``test/``, or class folders at once.

    Args:
        root: Holds them.
        shares: Of each class, what is held out for ``val`` and for ``test`` where neither has a folder. Where one of
            them has, half of each class becomes the other.
        seed: Settles what is held out.
        masks_beside: Whether ``X.png`` beside another ``X`` is its mask and no image; ``X_mask.png`` always is.

    Raises:
        ValueError: If the class folders are no classes, or fewer than two.
    """

    def __init__(self, root: Path, shares: tuple[float, float], seed: int, *, masks_beside: bool) -> None:
        self.root, self._shares, self._seed, self._masks_beside = root, shares, seed, masks_beside
        self.notes: list[str] = []
        """What a reader of the summary should know."""
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        self.sources = _sources(root, folders)
        if "train" in self.sources:
            unread = sorted(set(folders) - {*self.sources.values(), ANNOTATIONS})
            if unread:
                self.notes.append(f"{root}: not read, as they are beside train/: {_some(unread)}")
        else:
            wrong = [name for name in folders if name.casefold() in NO_CLASSES]
            if wrong:
                raise ValueError(
                    f"datamodule.root={root} has no train/, so its folders are classes, and {_some(wrong)} does not "
                    "look like one; call the folder of the training images' class folders train"
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
                f"{where} has one class folder, {self.class_names[0]}: there is nothing to tell it apart from; give "
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
        """Return the images below a folder of class folders; masks are none."""
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
        """Deal each class's images in an order that follows from the seed, and return one of the hands.

        Args:
            part: The images.
            shares: Of each hand; the last one takes what is left. None is empty where a class has enough images.
            place: Which hand.
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
        pngs = [i for i, name in enumerate(names) if name.endswith((b".png", b".PNG"))]
        if not pngs:
            return index
        others = {name.rpartition(b".")[0] for name in names if not name.endswith((b".png", b".PNG"))}
        stems = others | {names[i][:-4] for i in pngs}
        masks = [
            i
            for i in pngs
            if (names[i].lower().endswith(MASK) and names[i][: -len(MASK)] in stems)
            or (self._masks_beside and names[i][:-4] in others)
        ]
        if not masks:
            return index
        if not self._masks_beside:
            self.notes.append(f"{self.root / source}: {len(masks)} files *_mask.png are no images and were left out")
        kept = np.setdiff1d(np.arange(len(names)), masks)
        return FolderIndex(index.classes, index.image_ids[kept], index.targets[kept])


def readable(name: str) -> str:
    r"""Spell a file name as people read it; bytes that are no UTF-8 are written ``\xe9``."""
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
            raise ValueError(f"datamodule.root={root}: call the folder {found[0]} {found[0].casefold()}")
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

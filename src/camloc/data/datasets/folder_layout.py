"""Which images of a folder belong to which split and class, whatever annotates them."""

import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.datasets.folder_shapes import ANNOTATIONS, SPLIT_FOLDERS, class_root, misnamed, refuse_nested, some
from camloc.data.loading.dealing import SPLIT_NAMES, Dealt, deal, groups_of, refuse_divided
from camloc.data.loading.index import FolderIndex, index_class_folders, is_junk
from camloc.data.loading.split import SplitName

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

    A root with nothing but ``val/`` or ``test/`` can be measured and not trained on.

    Args:
        root: Holds them.
        shares: Which part of the images is dealt to ``val`` and to ``test`` where neither has a folder. Where one of
            them has, half of its images become the other.
        seed: Settles who is dealt where, see :func:`camloc.data.loading.dealing.deal`.
        group_by: Finds the group of an image in its name, see :func:`camloc.data.loading.dealing.groups_of`; a group
            is in one split. Null deals each image on its own.
        mask_endings: Of mask files that lie next to their images, in small letters. With ``.png``, ``X.png`` next to
            ``X.jpg`` is a mask and not an image. ``X_mask.png`` next to an image ``X`` always is.
        annotation_suffixes: Of files that may lie next to images and are read as annotation.

    Attributes:
        sources: The folder of each split that has one.
        class_names: (C,) with accents composed, sorted.
        notes: Remarks for the summary before a run.
        dealt: Where images were dealt; null before the first was asked for, and where folders say it.

    Raises:
        ValueError: If the class folders do not look like classes, or are fewer than two.
    """

    def __init__(
        self,
        root: Path,
        shares: tuple[float, float],
        seed: int,
        group_by: str | None = None,
        mask_endings: Sequence[str] = (),
        annotation_suffixes: Collection[str] = (),
    ) -> None:
        self.root, self._shares, self._seed, self._group_by = root, shares, seed, group_by
        self._mask_endings, self._annotation_suffixes = mask_endings, annotation_suffixes
        self.notes: list[str] = []
        self.dealt: Dealt | None = None
        self._dealt_to: dict[SplitName, Part] | None = None
        self._indices: dict[str, FolderIndex] = {}
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_junk(entry.name))
        self.sources = _sources(root, folders)
        self._is_trained_on = not self.sources or "train" in self.sources
        self._given = [split for split in ("val", "test") if split in self.sources]
        self._is_halved = self._is_trained_on and len(self._given) == 1
        self._note_unread(folders)
        self.class_names = self._classes()
        if group_by is not None:
            self._refuse_divided_groups(group_by)

    @property
    def split_names(self) -> tuple[SplitName, ...]:
        """Return the splits that there are, with or without a folder of their own."""
        return tuple(name for name in SPLIT_NAMES if self._is_trained_on or name in self.sources)

    def part(self, name: SplitName) -> Part:
        """Return the images of a split, dealt where it has no folder of its own.

        Raises:
            ValueError: If there is no such split, it holds a class that is not trained on, or no image.
        """
        if name not in self.split_names:
            there = " and ".join(f"{folder}/" for folder in self.sources.values())
            fix = "give a folder with train/ or class folders" if name == "train" else "name the folder of it so"
            raise ValueError(f"datamodule.root={self.root} has {there} and no {name}/; {fix}")
        is_dealt = not self._given or (self._is_halved and name != "train")
        part = self._deal()[name] if is_dealt else self._measured(self.sources[name])
        if not len(part.targets):
            fix = f"put some into {self.root / part.source}/<class>/"
            if is_dealt:
                fix = f"add images, give another seed, or a folder {name}/ with class folders"
            raise ValueError(f"no image is left for {name} in {self.root / part.source}; {fix}")
        return part

    def index(self, source: str) -> FolderIndex:
        """Return the images below a folder of class folders, without masks; classes are named for people."""
        if source not in self._indices:
            where = self.root / source
            index = _named(index_class_folders(where, self.root, () if source else (ANNOTATIONS,)), where)
            left_out = [
                f"{kind.number} {kind.what}, first {readable(kind.first)}"
                for kind in index.skipped
                if kind.what.removeprefix("files *") not in self._annotation_suffixes
            ]
            if left_out:
                self.notes.append(f"{where}: left out: {'; '.join(left_out)}")
            self._indices[source] = self._without_masks(index, source)
        return self._indices[source]

    def _note_unread(self, folders: Sequence[str]) -> None:
        unread = sorted(set(folders) - {*self.sources.values(), ANNOTATIONS})
        if self.sources and unread:
            if found := misnamed(self.root, unread, list(self.sources)):
                raise ValueError(found)
            self.notes.append(f"{self.root}: not read, because they lie next to train/: {some(unread)}")

    def _classes(self) -> tuple[str, ...]:
        sources = [self.sources.get("train", "")] if self._is_trained_on else list(self.sources.values())
        names = tuple(sorted({name for source in sources for name in self.index(source).classes}))
        where = self.root / sources[0]
        if not any(len(self.index(source).targets) for source in sources):
            raise ValueError(self._nothing_found(where, self.index(sources[0])))
        if len(names) == 1:
            below = class_root(where / names[0])
            fix = "give the folder that holds the class folders, two or more"
            if below is not None and sources[0]:
                fix = f"move the class folders of {below} into {where}"
            elif below is not None:
                fix = f"give datamodule.root={below}"
            raise ValueError(
                f"{where} has one class folder, {names[0]}: there is nothing to distinguish it from; {fix}"
            )
        return names

    def _nothing_found(self, where: Path, index: FolderIndex) -> str:
        loose = next((kind for kind in index.skipped if "beside" in kind.what), None)
        message = f"{where} has no class folder with images; put them in {where}/<class>/"
        if loose is None:
            return message
        return f"{message}: it holds {loose.number} images, first {readable(loose.first)}, and nothing says their class"

    def _measured(self, source: str) -> Part:
        index = self.index(source)
        unknown = sorted({index.classes[target] for target in np.unique(index.targets)} - set(self.class_names))
        if unknown:
            raise ValueError(
                f"{self.root / source}: no training image is of class {some(unknown)}; found "
                f"{some(self.class_names)} in {self.root / self.sources.get('train', '')}"
            )
        known = {name: target for target, name in enumerate(self.class_names)}
        renumbered = np.array([known.get(name, -1) for name in index.classes], dtype=np.int64)[index.targets]
        return Part(source, index.image_ids, renumbered)

    def _deal(self) -> dict[SplitName, Part]:
        """Deal all images, or those of ``val`` or ``test`` where one of them has a folder."""
        if self._dealt_to is None:
            whole = self._measured(self.sources[self._given[0]] if self._given else self.sources.get("train", ""))
            names = self._names(whole)
            groups = None if self._group_by is None else groups_of(names, self._group_by)
            shares = (0.5, 0.5) if self._given else self._shares
            places = deal(names if groups is None else groups, shares, self._seed)
            image_ids = [readable(os.fsdecode(image_id)) for image_id in whole.image_ids.tolist()]
            self.dealt = Dealt(image_ids, places, groups or [""] * len(names))
            self._dealt_to = {
                split: Part(whole.source, whole.image_ids[places == place], whole.targets[places == place])
                for place, split in enumerate(SPLIT_NAMES)
            }
            self.notes.append(self._what_was_dealt(self._dealt_to))
        return self._dealt_to

    def _what_was_dealt(self, parts: Mapping[SplitName, Part]) -> str:
        splits = [split for split in SPLIT_NAMES if not (self._given and split == "train")]
        counts = ", ".join(f"{len(parts[split].targets):,} {split}" for split in splits)
        by = "names and the seed" if self._group_by is None else "groups and the seed"
        note = f"{self.root / parts['val'].source}: dealt by a hash of {by}: {counts}"
        for split in splits:
            there = set(parts[split].targets.tolist())
            absent = [name for target, name in enumerate(self.class_names) if target not in there]
            if absent:
                note += f"; {split} got no image of {some(absent)}: add images or give another seed"
        return note

    def _refuse_divided_groups(self, pattern: str) -> None:
        parts = {split: self._measured(source) for split, source in self.sources.items()}
        names = [(split, name) for split, part in parts.items() for name in self._names(part)]
        groups = groups_of([name for _, name in names], pattern)
        refuse_divided(groups, [split for split, _ in names], [readable(name) for _, name in names])

    def _names(self, part: Part) -> list[str]:
        """Return the images' paths below their split's folder."""
        start = f"{part.source}/" if part.source else ""
        return [os.fsdecode(image_id).removeprefix(start) for image_id in part.image_ids.tolist()]

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
        return index._replace(image_ids=index.image_ids[kept], targets=index.targets[kept])


def _ending_with(ending: bytes, names: Sequence[bytes]) -> list[int]:
    return [i for i, name in enumerate(names) if name[-len(ending) :].lower() == ending]


def readable(name: str) -> str:
    r"""Spell a file name for people; bytes that are not UTF-8 are written as ``\xe9``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _named(index: FolderIndex, where: Path) -> FolderIndex:
    """Name classes for people, with accents composed, in the order of these names."""
    names = [unicodedata.normalize("NFC", readable(name)) for name in index.classes]
    if twice := [name for name in names if names.count(name) > 1]:
        one, other = (ascii(raw)[1:-1] for raw, name in zip(index.classes, names, strict=True) if name == twice[0])
        raise ValueError(
            f"{where}: two class folders are called {twice[0]}, {one} and {other}, which differ in how the accents are "
            "written; put the images of both in one"
        )
    rank = np.argsort(np.argsort(np.array(names, dtype=object)))
    targets = rank.astype(np.int64)[index.targets] if names else index.targets
    order = np.argsort(targets, kind="stable")
    return index._replace(classes=tuple(sorted(names)), image_ids=index.image_ids[order], targets=targets[order])


def _sources(root: Path, folders: Sequence[str]) -> dict[SplitName, str]:
    measured = {name for split in ("val", "test") for name in SPLIT_FOLDERS[split]}
    only_measured = measured & set(folders) and set(folders) <= measured | {ANNOTATIONS}
    if "train" not in folders and not only_measured:
        refuse_nested(root, [name for name in folders if name != ANNOTATIONS])
        return {}
    sources: dict[SplitName, str] = {}
    for split, names in SPLIT_FOLDERS.items():
        found = [name for name in folders if name.casefold() in names]
        if len(found) > 1:
            raise ValueError(f"datamodule.root={root}: {' and '.join(found)} are both {split}; keep one")
        if found and found[0] not in names:
            raise ValueError(f"datamodule.root={root}: rename the folder {found[0]} to {found[0].casefold()}")
        if found:
            sources[split] = found[0]
    return sources

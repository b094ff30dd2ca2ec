"""Folders as other people name and nest them, recognized so that an error can say what to rename."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from camloc.data.loading.index import is_junk
from camloc.data.loading.split import SplitName

ANNOTATIONS = "annotations"
SPLIT_FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Names that a split's folder may have."""
NO_CLASSES = frozenset({"images", "labels", "masks"})
"""Names that no class has: a network would be trained to distinguish masks."""
_WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_SPLIT = re.compile(
    rf"(?P<before>.*[-_ .])?(?P<word>{'|'.join(sorted(_WORDS, key=len, reverse=True))})"
    r"(?:[-_ .]?(?:set|images?|imgs?|pictures?|photos?|data|dataset|folders?|split))?[-_ .]?\d*"
)
NUM_SHOWN = 5


def split_like(names: Sequence[str]) -> dict[str, SplitName]:
    """Return which folders are named like a split, such as ``training_set``, ``test_images`` or ``val2017``.

    Something before the split's name counts where several folders share it: ``seg_train`` and ``seg_test`` are splits,
    ``bullet_train`` alone may be a class.

    Example:
        >>> split_like(["training_set", "test_images", "cat"]), split_like(["seg_train", "seg_test"])
        ({'training_set': 'train', 'test_images': 'test'}, {'seg_train': 'train', 'seg_test': 'test'})
        >>> split_like(["bullet_train", "steam_engine"])
        {}
    """
    found = {name: match for name in names if (match := _SPLIT.fullmatch(name.casefold()))}
    sharing: dict[str, set[SplitName]] = defaultdict(set)
    for match in found.values():
        sharing[match["before"] or ""].add(_WORDS[match["word"]])
    return {
        name: _WORDS[match["word"]]
        for name, match in found.items()
        if not match["before"] or len(sharing[match["before"]]) > 1
    }


def class_root(folder: Path) -> Path | None:
    """Return where class folders lie: in a folder, or in the only one that it holds, and so on; null for none.

    Example:
        >>> class_root(Path("nowhere"))
    """
    while True:
        inside = list(_folders(folder))
        holding = [name for name in inside if next(_folders(folder / name), None) is None]
        if len(inside) > 1 or holding:
            return folder
        if not inside:
            return None
        folder = folder / inside[0]


def refuse_nested(root: Path, folders: Sequence[str]) -> None:
    """Refuse folders that are named like splits, or below which splits lie, where the root has no ``train/``.

    Args:
        root: Of the data set.
        folders: In it.

    Raises:
        ValueError: Naming what to rename, or the root to give.
    """
    if splits := split_like(folders):
        moves = [_move(root, name, split) for name, split in splits.items()]
        raise ValueError(
            f"datamodule.root={root} has no train/, and {some(list(splits))} look like splits and not like classes; "
            f"rename them so that class folders lie in {root}/train/ and {root}/test/: {'; '.join(moves)}"
        )
    if wrong := [name for name in folders if name.casefold() in NO_CLASSES]:
        raise ValueError(
            f"datamodule.root={root} has no train/, so its folders are classes, and {some(wrong)} does not look like "
            "one; name the folder with the training images' class folders train, or give the folder that holds train/ "
            "or the class folders"
        )
    inside = list(_folders(root / folders[0])) if len(folders) == 1 else []
    if split_like(inside):
        raise ValueError(
            f"datamodule.root={root} has one folder, and the splits lie in it; give datamodule.root={root / folders[0]}"
        )


def misnamed(root: Path, folders: Sequence[str], known: Sequence[SplitName]) -> str | None:
    """Say which folder next to ``train/`` is a split under another name; null where none is.

    Args:
        root: Of the data set.
        folders: That are not read.
        known: Splits that have a folder.
    """
    for name, split in split_like(folders).items():
        if split not in known and class_root(root / name) is not None:
            return (
                f"{root / name} holds class folders and looks like {split}, which has no folder; rename it: "
                f"{_move(root, name, split)}; or move it elsewhere"
            )
    return None


def some(names: Sequence[str]) -> str:
    """Return the first names, enough to recognize a mistake."""
    return ", ".join(names[:NUM_SHOWN]) + (", ..." if len(names) > NUM_SHOWN else "")


def _move(root: Path, name: str, split: SplitName) -> str:
    found = class_root(root / name) or root / name
    return f"{found.relative_to(root)} to {split}"


def _folders(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        yield from sorted(entry.name for entry in entries if entry.is_dir() and not is_junk(entry.name))

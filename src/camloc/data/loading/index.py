"""Which images lie in a folder of class folders: walked once, then read from a cache."""

import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from camloc.data.cache import SETTLED, cache_file, write_cache
from camloc.data.images.suffixes import IMAGE_SUFFIXES
from camloc.data.loading.folder_times import times_are_kept

_JUNK_FOLDERS = frozenset(
    ("@eadir", "@__thumb", "#recycle", "__macosx", "$recycle.bin", "system volume information", "lost+found")
)
"""Folders that network storages and operating systems make, in small letters; they may hold thumbnails of images."""
_JUNK_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))


class Skipped(NamedTuple):
    """Files or folders of one kind that are not read."""

    what: str
    """Such as ``folders @eaDir`` or ``files *.heic``."""
    number: int
    first: str
    """Path below the folder of class folders."""


class FolderIndex(NamedTuple):
    """The images of a folder of class folders, in arrays that loader workers share."""

    classes: tuple[str, ...]
    """(C,) the class folders' names, sorted."""
    image_ids: NDArray[np.bytes_]
    """(N,) paths with forward slashes, as the file system spells them (``os.fsdecode`` makes them text)."""
    targets: NDArray[np.int64]
    """(N,) true classes, 0-based; a class without images does not occur."""
    skipped: tuple[Skipped, ...] = ()
    """What lies there and was left out, by what it is."""


class _Walk(NamedTuple):
    found: FolderIndex
    folders: NDArray[np.bytes_]
    modified: NDArray[np.int64]
    devices: frozenset[int] = frozenset()


def is_junk(name: str) -> bool:
    """Return whether a folder is one that no person made: hidden, or left by an operating system or a storage.

    Example:
        >>> is_junk(".Trash-1000"), is_junk("@eaDir"), is_junk("cat")
        (True, True, False)
    """
    return name.startswith(".") or name.casefold() in _JUNK_FOLDERS


def index_class_folders(folder: Path, relative_to: Path, without: Collection[str] = ()) -> FolderIndex:
    """List the images below each sub-folder, at any depth, sorted by class and then by path.

    An image is a file with the extension of one; hidden files and folders are left out, and so is what storages and
    operating systems leave, images beside the class folders and files with other extensions. The list is cached below
    ``$XDG_CACHE_HOME/camloc`` or ``~/.cache/camloc``, and rebuilt when a folder's modification time has changed; where
    such times cannot be believed, there is no cache (:func:`camloc.data.loading.folder_times.times_are_kept`).

    Args:
        folder: Has one sub-folder per class.
        relative_to: The folder that image ids are relative to: ``folder`` or one above it.
        without: Sub-folders that are no classes and are not looked at.

    Returns:
        Classes, image ids, targets and what was left out. A class folder may be empty, and there may be none at all.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If ``folder`` does not lie below ``relative_to``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for image_id in ("train/dog/2.png", "train/cat/9.jpg", "train/dog/10.png"):
        ...         Path(root, image_id).parent.mkdir(parents=True, exist_ok=True)
        ...         Path(root, image_id).touch()
        ...     index = index_class_folders(Path(root, "train"), relative_to=Path(root))
        >>> index.classes, index.image_ids.tolist(), index.targets.tolist()
        (('cat', 'dog'), [b'train/cat/9.jpg', b'train/dog/10.png', b'train/dog/2.png'], [0, 1, 1])
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give one that has a sub-folder of images per class")
    inside = folder.relative_to(relative_to).as_posix()
    prefix = "" if inside == "." else f"{inside}/"
    cache = _cache_file(folder, prefix, without)
    walk = _load(cache, folder)
    if walk is None:
        walk = _Walker(folder, prefix, without).walk()
        _save(cache, walk)
    return walk.found


class _Walker:
    def __init__(self, folder: Path, prefix: str, without: Collection[str]) -> None:
        self._folder, self._prefix, self._without = folder, prefix, without
        self._modified: dict[str, int] = {}
        self._devices: set[int] = set()
        self._skipped: dict[str, tuple[int, str]] = {}

    def walk(self) -> _Walk:
        classes = sorted(self._class_folders())
        # On a console of its own, since another progress bar may be running.
        console = Console(stderr=True)
        bar = track(classes, f"indexing {escape(str(self._folder))}", console=console, transient=True)
        paths = [_byte_array(self._prefix + path for path in sorted(self._images(name, set()))) for name in bar]
        image_ids = np.concatenate([_byte_array([]), *paths])
        targets = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in paths])
        skipped = tuple(Skipped(what, *self._skipped[what]) for what in sorted(self._skipped))
        found = FolderIndex(tuple(classes), image_ids, targets, skipped)
        times = np.array(list(self._modified.values()), np.int64)
        return _Walk(found, _byte_array(self._modified), times, frozenset(self._devices))

    def _class_folders(self) -> Iterator[str]:
        self._note_time("", self._folder.stat())
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name in self._without or self._is_junk(entry, entry.name):
                    continue
                if entry.is_dir():
                    yield entry.name
                elif _is_image(entry.name):
                    self._skip("images beside the class folders", entry.name)

    def _images(self, path: str, seen: set[tuple[int, int]]) -> Iterator[str]:
        """Yield the images below a path, and note when each folder was modified."""
        status = Path(self._folder, path).stat()
        if (status.st_dev, status.st_ino) in seen:
            return  # a link that leads back
        seen.add((status.st_dev, status.st_ino))
        self._note_time(path, status)
        with os.scandir(Path(self._folder, path)) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}"
                if _is_image(entry.name) and entry.name[0] != "." and not entry.is_dir():
                    yield below  # a broken link or a FIFO too, which is reported when it is opened
                elif self._is_junk(entry, below):
                    continue
                elif entry.is_dir():
                    yield from self._images(below, seen)
                else:
                    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path for each takes its time
                    self._skip(f"files *{suffix}" if suffix else "files without an extension", below)

    def _note_time(self, path: str, status: os.stat_result) -> None:
        # Before the folder is read: a change during the walk then makes the cache invalid, not wrong.
        self._modified[path] = status.st_mtime_ns
        self._devices.add(status.st_dev)

    def _is_junk(self, entry: os.DirEntry[str], path: str) -> bool:
        """Return whether an entry is none of a data set's, and count it where it may hold images."""
        is_hidden = entry.name.startswith(".")
        if is_hidden and (entry.is_dir() or _is_image(entry.name)):
            self._skip("hidden folders" if entry.is_dir() else "hidden files with an image's extension", path)
        elif not is_hidden and is_junk(entry.name) and entry.is_dir():
            self._skip(f"folders {entry.name}", path)
        elif entry.name.casefold() in _JUNK_FILES:
            self._skip(f"files {entry.name}", path)
        else:
            return is_hidden
        return True

    def _skip(self, what: str, path: str) -> None:
        number, first = self._skipped.get(what, (0, path))
        self._skipped[what] = number + 1, min(first, path)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _byte_array(names: Iterable[str]) -> NDArray[np.bytes_]:
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)


def _cache_file(folder: Path, prefix: str, without: Collection[str]) -> Path | None:
    parts = [str(folder.resolve()), prefix, *sorted(without), *IMAGE_SUFFIXES]
    key = hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()
    return cache_file(f"index-{key[:32]}")


def _load(cache: Path | None, folder: Path) -> _Walk | None:
    """Read the cache; null unless it is intact and the folders have not changed."""
    if cache is None:
        return None
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            folders, modified = arrays["folders"], arrays["modified"]
            if not _unchanged(folder, folders, modified):
                return None
            classes, image_ids, targets = arrays["classes"], arrays["image_ids"], arrays["targets"]
            counts, texts = arrays["skipped_counts"].tolist(), list(map(os.fsdecode, arrays["skipped_texts"].tolist()))
            skipped = tuple(map(Skipped._make, zip(texts[::2], counts, texts[1::2], strict=True)))
    except Exception:  # noqa: BLE001 # however a cache is broken, it is rebuilt
        return None
    if image_ids.dtype.kind != "S" or image_ids.shape != targets.shape:
        return None
    found = FolderIndex(tuple(os.fsdecode(name) for name in classes), image_ids, targets, skipped)
    return _Walk(found, folders, modified)


def _unchanged(folder: Path, folders: NDArray[np.bytes_], modified: NDArray[np.int64]) -> bool:
    pairs = zip(folders.tolist(), modified.tolist(), strict=True)
    return all(Path(folder, os.fsdecode(path)).stat().st_mtime_ns == time_then for path, time_then in pairs)


def _save(cache: Path | None, walk: _Walk) -> None:
    if cache is None or time.time_ns() - walk.modified.max() < SETTLED:
        return  # a time that lies in the future is never settled
    if not times_are_kept(walk.modified, walk.devices):
        return
    arrays = {
        "folders": walk.folders,
        "modified": walk.modified,
        "classes": _byte_array(walk.found.classes),
        "image_ids": walk.found.image_ids,
        "targets": walk.found.targets,
        "skipped_counts": np.array([kind.number for kind in walk.found.skipped], np.int64),
        "skipped_texts": _byte_array(text for kind in walk.found.skipped for text in (kind.what, kind.first)),
    }
    write_cache(cache, arrays)

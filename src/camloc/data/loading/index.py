"""Which images lie in a folder of class folders: walked once, then read from a cache."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from camloc.data.images.suffixes import IMAGE_SUFFIXES

_SETTLED = 2_000_000_000
"""Nanoseconds after which a further change of a folder is certain to show in its modification time."""


class FolderIndex(NamedTuple):
    """The images of a folder of class folders, in arrays that loader workers share."""

    classes: tuple[str, ...]
    """(C,) the class folders' names, sorted."""
    image_ids: NDArray[np.bytes_]
    """(N,) paths with forward slashes, as the file system spells them (``os.fsdecode`` makes them text)."""
    targets: NDArray[np.int64]
    """(N,) true classes, 0-based; a class without images does not occur."""


class _Walk(NamedTuple):
    found: FolderIndex
    folders: NDArray[np.bytes_]
    modified: NDArray[np.int64]


def index_class_folders(folder: Path, relative_to: Path) -> FolderIndex:
    """List the images below each sub-folder, at any depth, sorted by class and then by path.

    An image is a file with the extension of one; hidden files and folders are left out. The list is cached below
    ``$XDG_CACHE_HOME/camloc`` or ``~/.cache/camloc``, and rebuilt when a folder's modification time has changed.

    Args:
        folder: Has one sub-folder per class.
        relative_to: The folder that image ids are relative to: ``folder`` or one above it.

    Returns:
        Classes, image ids and targets. A class folder may be empty, and there may be none at all.

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
    cache = _cache_file(folder, prefix)
    walk = _load(cache, folder)
    if walk is None:
        walk = _walk(folder, prefix)
        _save(cache, walk)
    return walk.found


def _walk(folder: Path, prefix: str) -> _Walk:
    # The time is read first: a change during the walk then makes the cache invalid, not wrong.
    modified = {"": folder.stat().st_mtime_ns}
    with os.scandir(folder) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    # On a console of its own, since another progress bar may be running.
    bar = track(classes, f"indexing {escape(str(folder))}", console=Console(stderr=True), transient=True)
    paths = [_byte_array(prefix + path for path in sorted(_images(folder, name, modified, set()))) for name in bar]
    image_ids = np.concatenate([_byte_array([]), *paths])
    targets = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in paths])
    found = FolderIndex(tuple(classes), image_ids, targets)
    return _Walk(found, _byte_array(modified), np.array(list(modified.values()), np.int64))


def _images(folder: Path, path: str, modified: dict[str, int], seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the images below a path, and note when each folder was modified."""
    status = Path(folder, path).stat()
    if (status.st_dev, status.st_ino) in seen:
        return  # a link that leads back
    seen.add((status.st_dev, status.st_ino))
    modified[path] = status.st_mtime_ns
    with os.scandir(Path(folder, path)) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            below = f"{path}/{entry.name}"
            if entry.is_dir():
                yield from _images(folder, below, modified, seen)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield below  # a broken link or a FIFO too, which is reported when it is opened


def _byte_array(names: Iterable[str]) -> NDArray[np.bytes_]:
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)


def _cache_file(folder: Path, prefix: str) -> Path | None:
    key = hashlib.sha256(os.fsencode(f"{folder.resolve()}\0{prefix}\0{IMAGE_SUFFIXES}")).hexdigest()
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None
    return base / "camloc" / f"index-{key[:32]}.npz"


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
    except Exception:  # noqa: BLE001 # however a cache is broken, it is rebuilt
        return None
    if image_ids.dtype.kind != "S" or image_ids.shape != targets.shape:
        return None
    return _Walk(FolderIndex(tuple(os.fsdecode(name) for name in classes), image_ids, targets), folders, modified)


def _unchanged(folder: Path, folders: NDArray[np.bytes_], modified: NDArray[np.int64]) -> bool:
    pairs = zip(folders.tolist(), modified.tolist(), strict=True)
    return all(Path(folder, os.fsdecode(path)).stat().st_mtime_ns == time_then for path, time_then in pairs)


def _save(cache: Path | None, walk: _Walk) -> None:
    """Write the cache atomically, since several processes may do it at once; on failure there is none."""
    if cache is None or time.time_ns() - walk.modified.max() < _SETTLED:
        return
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=cache.parent, prefix=cache.stem, suffix=".tmp", delete=False) as file:
            try:
                np.savez(
                    file,
                    folders=walk.folders,
                    modified=walk.modified,
                    classes=_byte_array(walk.found.classes),
                    image_ids=walk.found.image_ids,
                    targets=walk.found.targets,
                )
                file.close()
                Path(file.name).replace(cache)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError:
        return

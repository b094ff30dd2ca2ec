"""Image files that a person means by a file, a folder, a pattern or a list."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from camloc.data.images.regular import MAX_TABLE_BYTES, read_regular
from camloc.data.images.suffixes import IMAGE_SUFFIXES, unread_note
from camloc.data.loading.index import is_junk

LIST_SUFFIXES = frozenset({".txt", ".list", ".lst"})
PATTERN = frozenset("*?[")


class FoundFiles(NamedTuple):
    """Image files in the order in which they are predicted."""

    root: Path
    names: list[str]
    """Paths below ``root`` with forward slashes, sorted; of a list in its order. Each once."""
    unreadable: list[tuple[str, str]]
    """Folders that could not be entered, each with the reason."""
    notes: list[str]
    """What was left out, counted, for people."""


def find_files(source: str) -> FoundFiles:
    """Find the images that a path means.

    Args:
        source: A file; a folder, at any depth; a pattern with ``*``, ``?``, ``[...]`` and ``**``; or a text file
            (``.txt``, ``.list``, ``.lst``) with a path in each line, from its own folder where it is relative.

    Raises:
        FileNotFoundError: If there is no such path.
        ValueError: If it means no image.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = _in_folder(path)
    elif path.suffix.lower() in LIST_SUFFIXES and path.exists():
        found = _listed(path)
    elif os.path.lexists(path):
        found = FoundFiles(path.parent, [path.name], [], [])
    elif PATTERN & set(source):
        found = _matching(str(path))
    else:
        raise FileNotFoundError(
            f"source={source}: there is no such file or folder; give a file, a folder, a pattern in quotes, a list of "
            "paths (.txt), a video, a camera's number, a stream's address, or val or test for a split"
        )
    if not found.names and not found.unreadable:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"source={source} holds no image ({kinds}){''.join(f'; {note}' for note in found.notes)}")
    return found


def _in_folder(folder: Path) -> FoundFiles:
    unreadable: list[tuple[str, str]] = []
    files = [os.path.relpath(path, folder).replace(os.sep, "/") for path in _walk(folder, unreadable)]
    named = sorted((os.path.relpath(name, folder).replace(os.sep, "/"), reason) for name, reason in unreadable)
    note = unread_note(str(folder), files)
    names = sorted(name for name in files if name.lower().endswith(IMAGE_SUFFIXES))
    return FoundFiles(folder, names, named, [] if note is None else [note])


def _walk(folder: Path, unreadable: list[tuple[str, str]]) -> Iterator[str]:
    """Yield files at any depth, but hidden ones and what systems leave; no folder is entered again within itself."""
    above: set[tuple[int, int]] = set()

    def inside(current: str) -> Iterator[str]:
        try:
            status = os.stat(current)  # noqa: PTH116 - as os.scandir below
            key = (status.st_dev, status.st_ino)
            if key in above:
                unreadable.append((current, "the folder is a link to one that it lies in; it was not followed"))
                return
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            unreadable.append((current, f"the folder cannot be read: {error.strerror}"))
            return
        above.add(key)
        for entry in entries:
            is_folder = os.path.isdir(entry.path)  # noqa: PTH112 - false for a link to itself, on which entry.is_dir() raises
            if entry.name.startswith(".") or (is_folder and is_junk(entry.name)):
                continue
            if is_folder:
                yield from inside(entry.path)
            else:
                yield entry.path
        above.discard(key)

    yield from inside(str(folder))


def _listed(path: Path) -> FoundFiles:
    text = read_regular(path, MAX_TABLE_BYTES).decode("utf-8-sig", errors="surrogateescape")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return _below_common_folder([os.path.normpath(path.parent / os.path.expanduser(line)) for line in lines])  # noqa: PTH111 - of text


def _matching(pattern: str) -> FoundFiles:
    matches = sorted(match for match in glob.glob(pattern, recursive=True) if not Path(match).is_dir())  # noqa: PTH207 - absolute patterns too
    return _below_common_folder([os.path.normpath(match) for match in matches])


def _below_common_folder(paths: list[str]) -> FoundFiles:
    """Name files by what differs between them."""
    if not paths:
        return FoundFiles(Path(), [], [], [])
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - links stay as they are
    once = list(dict.fromkeys(absolute))
    root = os.path.commonpath([os.path.dirname(path) for path in once])  # noqa: PTH120 - of text
    repeats = len(absolute) - len(once)
    notes = [f"{repeats:,} repeated paths were left out"] if repeats else []
    return FoundFiles(Path(root), [os.path.relpath(path, root).replace(os.sep, "/") for path in once], [], notes)

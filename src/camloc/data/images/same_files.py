"""Files of the same bytes, whatever their names."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TAIL = 4096
"""Bytes at a file's end that are compared before all of it: those of different images hardly ever agree, while headers
often do.
"""


def same_files(
    files: Sequence[Path | None], track: Callable[[Iterable[Any], str, int], Iterable[Any]]
) -> NDArray[np.int64]:
    """Find files of the same bytes: files of one size are compared by their last bytes, and by all if those agree.

    Args:
        files: N files, or null for what is no file; links are followed. Empty and unreadable files equal none: they are
            reported when they are opened.
        track: Shows progress over items, given what they are and how many.

    Returns:
        (N,) a number of the content, shared by the files that have it; -1 where no other file has it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = [Path(folder, name) for name in "abc"]
        ...     for file, text in zip(files, ["one", "two", "one"]):
        ...         _ = file.write_text(text)
        ...     same_files(files, lambda items, what, total: items).tolist()
        [0, -1, 0]
    """
    keys: list[tuple[int, bytes]] = [(_size(file), b"") for file in files]
    suspects = _occurring_twice(keys, [index for index, (size, _) in enumerate(keys) if size > 0])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for whole, what in ((False, "looking for copies"), (True, "comparing files that end alike")):
            # Where the tail is the file, there is no more to compare.
            compared = [i for i in suspects if not whole or keys[i][0] > TAIL]
            digests = track(pool.map(lambda i, all_of=whole: _digest(files[i], all_of), compared), what, len(compared))
            for index, digest in zip(compared, digests, strict=True):
                keys[index] = keys[index][0], digest
            suspects = _occurring_twice(keys, [i for i in suspects if keys[i][1]])
    numbers: dict[tuple[int, bytes], int] = {}
    content = np.full(len(files), -1, np.int64)
    for index in suspects:
        content[index] = numbers.setdefault(keys[index], len(numbers))
    return content


def _occurring_twice(keys: Sequence[tuple[int, bytes]], among: Sequence[int]) -> list[int]:
    first: dict[tuple[int, bytes], int] = {}
    shared = {keys[index] for index in among if first.setdefault(keys[index], index) != index}
    return [index for index in among if keys[index] in shared]


def _size(file: Path | None) -> int:
    try:
        return -1 if file is None else file.stat().st_size
    except OSError:
        return -1


def _digest(file: Path | None, whole: bool) -> bytes:
    """Return a digest of a file or of its tail; empty where it cannot be read."""
    if file is None:
        return b""
    try:
        with file.open("rb") as content:
            if not whole:
                content.seek(-min(TAIL, file.stat().st_size), os.SEEK_END)
            return hashlib.file_digest(content, "blake2b").digest()
    except OSError:
        return b""

"""Copies of one file in two splits, whatever their names."""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from camloc.data.loading.split import Split, SplitName, Track


def same_files(splits: Mapping[SplitName, Split], track: Track) -> dict[tuple[SplitName, SplitName], list[list[Path]]]:
    """Compare the bytes of files of equal size in different splits; links are followed.

    Args:
        splits: Two or more. Images without a file are left out, and so are unreadable files, which are reported when
            they are opened.
        track: Shows progress.

    Returns:
        For each two splits that share content, a file of the second and the file of the first that it equals.
    """
    files = {name: [file for i in range(len(split)) if (file := split.file(i))] for name, split in splits.items()}
    sizes = {name: np.array([_size(file) for file in of_split], np.int64) for name, of_split in files.items()}
    where = np.concatenate([np.unique(of_split) for of_split in sizes.values()])
    values, counts = np.unique(where, return_counts=True)
    in_two = values[(counts > 1) & (values >= 0)]
    seen: dict[bytes, tuple[SplitName, Path]] = {}
    found: dict[tuple[SplitName, SplitName], list[list[Path]]] = {}
    for name, of_split in files.items():
        suspects = [of_split[i] for i in np.flatnonzero(np.isin(sizes[name], in_two))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = track(pool.map(_digest, suspects), f"{name}: looking for copies", len(suspects))
            for file, digest in zip(suspects, digests, strict=True):
                if digest is not None:
                    first, other = seen.setdefault(digest, (name, file))
                    if first != name:
                        found.setdefault((first, name), []).append([file, other])
    return found


def _size(file: Path) -> int:
    try:
        return file.stat().st_size or -1  # an empty file is neither an image nor a copy of one
    except OSError:
        return -1


def _digest(file: Path) -> bytes | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").digest()
    except OSError:
        return None

"""Classes and files of all images of a split at once, from arrays where the split holds arrays."""

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, Subset


def all_targets(split: Split) -> NDArray[np.int64]:
    """Return the (N,) true classes, 0-based.

    Example:
        >>> from pathlib import Path
        >>> all_targets(Subset(FileSplit(Path(), ["a", "b", "c"], [4, 5, 6]), np.array([0, 2]))).tolist()
        [4, 6]
    """
    if isinstance(split, FileSplit):
        return split.targets
    if isinstance(split, Subset):
        return all_targets(split.whole)[split.indices]
    return np.fromiter((split.target(index) for index in range(len(split))), np.int64, len(split))


def all_files(split: Split) -> Iterator[bytes]:
    """Yield the path of every image that is a file, in the file system's bytes; images made in memory are left out.

    Example:
        >>> from pathlib import Path
        >>> list(all_files(Subset(FileSplit(Path("root"), ["a", "b", "c"], [4, 5, 6]), np.array([0, 2]))))
        [b'root/a', b'root/c']
    """
    indices = None
    while isinstance(split, Subset):
        indices = split.indices if indices is None else split.indices[indices]
        split = split.whole
    if isinstance(split, FileSplit):
        folder = os.fsencode(split.root / "_")[:-1]
        chosen = split.files if indices is None else split.files[indices]
        # A Path for each of a million files would take seconds.
        yield from (folder + file for file in chosen.tolist())
        return
    for index in range(len(split)) if indices is None else indices.tolist():
        file = split.file(index)
        if file is not None:
            yield os.fsencode(file)

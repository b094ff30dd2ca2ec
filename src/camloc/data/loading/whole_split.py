"""Classes and files of all images of a split at once, from arrays where the split holds arrays."""

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, Subset


def all_targets(split: Split) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Return the (N,) true classes, 0-based, or (N,C) bool where images have several labels.

    Example:
        >>> from pathlib import Path
        >>> all_targets(Subset(FileSplit(Path(), ["a", "b", "c"], [4, 5, 6]), np.array([0, 2]))).tolist()
        [4, 6]
    """
    if isinstance(split, FileSplit):
        return split.targets
    if isinstance(split, Subset):
        return all_targets(split.whole)[split.indices]
    return np.array([split.target(index) for index in range(len(split))])


def class_counts(split: Split, num_classes: int) -> NDArray[np.int64]:
    """Return the (C,) numbers of images that show each class.

    Example:
        >>> from pathlib import Path
        >>> targets = np.array([[True, True, False], [True, False, False]])
        >>> class_counts(FileSplit(Path(), ["a", "b"], targets), 3).tolist()
        [2, 1, 0]
    """
    targets = all_targets(split)
    if targets.ndim == 1:
        return np.bincount(targets, minlength=num_classes)
    counts: NDArray[np.int64] = targets.sum(axis=0, dtype=np.int64)
    return counts


def pairs_of(targets: NDArray[np.int64] | NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (P,) images and classes of all pairs, by image and then by class.

    Example:
        >>> images, classes = pairs_of(np.array([[True, False, True], [False, False, False], [False, True, False]]))
        >>> images.tolist(), classes.tolist()
        ([0, 0, 2], [0, 2, 1])
    """
    if targets.ndim == 1:
        return np.arange(len(targets)), targets.astype(np.int64)
    images, classes = np.nonzero(targets)
    return images, classes


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

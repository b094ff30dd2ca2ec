"""Which images a network was trained on, compactly: the name and the size of each file, of which nothing is read.

A checkpoint carries the fingerprint of its training images, so that measuring on them can be refused even when they
are found in another folder.
"""

import os
import time
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.loading.split import Split
from camloc.data.loading.whole_split import all_files

CHUNK = 2_000
"""Files that a thread looks at in one go."""
SLOW = 1e-4
"""Seconds per file from which threads pay; a local disk answers in a tenth, and threads only wait for each other."""
THREADS = 16
"""Network file systems are slow to answer, but answer many requests at once."""
COMMON = 0.05
"""Share of the training files above which a size is no evidence: uncompressed files all have one size."""
FEW = 3
"""Files of one size that are not many, however few there are in all."""
_SHIFT = np.uint64(32)
RARE = 1e-3
"""Probability below which matches are not taken for chance."""


def fingerprint(split: Split) -> Tensor | None:
    """Return two numbers for each image file of a split: one of its name and size, one of its path.

    The first holds 32 bits of the name's CRC-32, then 32 bits of the size in bytes. The name is the last part of the
    path, with accents composed, so that neither a copied folder nor macOS changes it. The second is the CRC-32 of the
    whole path. Missing files are left out.

    Args:
        split: The training images.

    Returns:
        (N,2) int64, sorted by name and then by size; 16 bytes per image. Null where no image is a file.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from camloc.data.loading.files import FileSplit
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "1.jpg").write_bytes(b"12345")
        ...     numbers = fingerprint(FileSplit(Path(folder), ["1.jpg"], [0]))
        >>> (numbers[0, 0] >> 32).item() & 0xFFFFFFFF == zlib.crc32(b"1.jpg"), (numbers[0, 0] & 0xFFFFFFFF).item()
        (True, 5)
    """
    found = _numbers(all_files(split))
    ordered = found[np.lexsort((found[:, 1], found[:, 0]))]
    return torch.from_numpy(ordered.view(np.int64)) if len(ordered) else None


def num_trained_on(trained: Tensor, split: Split) -> int:
    """Return how many images of a split were trained on; 0 where chance explains the matches.

    An image that has the path, name and size of a training file was trained on. In another place, an image matches if a
    training file has the same name and the same size. Different images may agree in both by chance: every class folder
    may have its own ``001.bmp``. So images of a size that more than one in twenty of the
    other training files have are not counted at all. For the rest, the number of matches is compared with what chance
    would give: if p is the probability that two different training files have equal sizes, an image with k namesakes
    in the training set matches by chance with probability 1 - (1 - p)^k, and the number of chance matches is Poisson
    distributed with the sum of these as its mean. If it reaches the number that was found with a probability of one in
    a thousand or more, the matches are taken for chance.

    Args:
        trained: (N,2) as :func:`fingerprint` returned it for the training images.
        split: The images to evaluate; those made in memory never match.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from camloc.data.loading.files import FileSplit
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(3):
        ...         _ = Path(folder, f"{number}.jpg").write_bytes(b"." * (number + 9))
        ...     trained = fingerprint(FileSplit(Path(folder), ["0.jpg", "1.jpg"], [0, 0]))
        ...     num_trained_on(trained, FileSplit(Path(folder), ["1.jpg", "2.jpg"], [0, 0]))
        1
    """
    known, paths = (np.ascontiguousarray(column) for column in trained.cpu().numpy().view(np.uint64).T)
    names = known >> _SHIFT
    files = list(all_files(split))
    hashes = np.fromiter((_hash(file.rpartition(b"/")[2]) for file in files), np.uint64, len(files))
    has_namesake = _occurrences(hashes, names) > 0
    numbers = _numbers(compress(files, has_namesake.tolist()))
    keys = np.ascontiguousarray(numbers[:, 0])
    first, last = np.searchsorted(known, keys, "left"), np.searchsorted(known, keys, "right")
    places = zip(numbers[:, 1].tolist(), first.tolist(), last.tolist(), strict=True)
    at_same_path = sum(path in paths[start:end] for path, start, end in places if start < end)

    sizes, counts = np.unique(_size(known), return_counts=True)
    others = (counts - 1) / max(len(known) - 1, 1)  # share of the other training files that have a file's size
    is_common = (others > COMMON) & (counts > FEW)
    keys = keys[~np.isin(_size(keys), sizes[is_common])]
    found = int((_occurrences(keys, known) > 0).sum())
    if found == 0:
        return at_same_path
    p = np.average(others[~is_common], weights=counts[~is_common])
    by_chance = np.sum(1 - (1 - p) ** _occurrences(keys >> _SHIFT, names))
    at_least_found = torch.special.gammainc(torch.tensor(float(found)), torch.tensor(float(by_chance))).item()
    return max(found, at_same_path) if at_least_found < RARE else at_same_path


def _occurrences(values: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return how often each value occurs; ``numpy.isin`` hashes, which takes seconds for a million such numbers."""
    return np.searchsorted(ascending, values, "right") - np.searchsorted(ascending, values, "left")


def _numbers(files: Iterator[bytes]) -> NDArray[np.uint64]:
    """Return the (N,2) numbers of files, in their order."""
    chunks = iter(lambda: list(islice(files, CHUNK)), [])
    folders: dict[bytes, int] = {}
    found = [np.zeros((0, 2), np.uint64)]
    for chunk in chunks:
        started = time.perf_counter()
        found.append(_numbers_of(chunk, folders))
        if time.perf_counter() - started > SLOW * len(chunk):
            with ThreadPoolExecutor(THREADS) as pool:
                found += pool.map(lambda chunk: _numbers_of(chunk, folders), chunks)
    return np.concatenate(found)


def _numbers_of(files: Sequence[bytes], folders: dict[bytes, int]) -> NDArray[np.uint64]:
    """Return the (N,2) numbers of some files; ``folders`` keeps the CRC-32 of their folders' whole paths."""
    parts = [file.rpartition(b"/") for file in files]
    for folder in {part[0] for part in parts} - folders.keys():
        folders[folder] = zlib.crc32(os.path.realpath(folder))
    names = np.fromiter((_hash(part[2]) for part in parts), np.uint64, len(parts))
    paths = np.fromiter((zlib.crc32(name, folders[folder]) for folder, _, name in parts), np.uint64, len(parts))
    sizes = np.fromiter(map(_stored_size, files), np.int64, len(files))
    numbers = np.stack([names << _SHIFT | _size(sizes.view(np.uint64)), paths], axis=1)
    return numbers[sizes >= 0]


def _stored_size(file: bytes) -> int:
    """Return the bytes of a file; -1 where there is none."""
    try:
        return os.stat(file).st_size  # noqa: PTH116 - a Path for each of a million files would take seconds
    except OSError:
        return -1


def _hash(name: bytes) -> int:
    if not name.isascii():
        name = os.fsencode(unicodedata.normalize("NFC", os.fsdecode(name)))
    return zlib.crc32(name)


def _size(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return keys & np.uint64(0xFFFFFFFF)

"""Features of images that a frozen trunk has made, kept in one file that is read where it lies."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.cache import cache_file
from camloc.data.loading.split import Split
from camloc.data.loading.whole_split import all_files

Rows: TypeAlias = NDArray[np.float32]


class FeatureFile:
    """A float32 array (R,F) on the disk, whole or absent.

    It is written as a partial file of its full size, by several processes perhaps, and renamed when it is whole.

    Args:
        path: Where it is to lie.
        num_rows: R.
        width: F.
    """

    def __init__(self, path: Path, num_rows: int, width: int) -> None:
        self.path, self.shape = path, (num_rows, width)

    @property
    def exists(self) -> bool:
        """Whether it is whole."""
        return self.path.is_file()

    @property
    def num_bytes(self) -> int:
        """Of the array."""
        return self.shape[0] * self.shape[1] * np.dtype(np.float32).itemsize

    @cached_property
    def rows(self) -> Rows:
        """The array, which is read as it is used.

        Raises:
            ValueError: If the file is damaged.
        """
        try:
            found: Rows = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{self.path} is damaged; delete it, and it is made again") from error
        if found.shape != self.shape or found.dtype != np.float32:
            raise ValueError(
                f"{self.path} holds {found.shape} {found.dtype} where {self.shape} float32 is due; delete it, and it "
                "is made again"
            )
        return found

    def take(self, rows: Iterable[int]) -> Tensor:
        """Return a copy of some rows, (B,F) float32."""
        return torch.from_numpy(self.rows[list(rows)])

    def begin(self) -> Path:
        """Create the partial file with room for all of it.

        Raises:
            OSError: If the disk has no room for it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        try:
            np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=self.shape).flush()
            if hasattr(os, "posix_fallocate"):  # else a full disk would end the process at some row without a word
                with partial.open("r+b") as stream:
                    os.posix_fallocate(stream.fileno(), 0, partial.stat().st_size)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return partial

    def end(self, partial: Path) -> None:
        """Put the partial file, of which every row was written, in its place."""
        partial.replace(self.path)


def feature_file(split: Split, num_rows: int, width: int, made_by: Iterable[bytes]) -> FeatureFile:
    """Return the file of a split's features in the user's cache.

    Args:
        split: The images; the names, sizes and times of change of their files are part of the key, and the pixels of
            images that are made in memory.
        num_rows: R.
        width: F.
        made_by: Whatever else decides the features: weights, size, normalization.

    Raises:
        ValueError: If the user has no home, so that there is no cache.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in made_by:
        _add(digest, part)
    for index in range(len(split)):
        _add(digest, split.image_id(index).encode("utf-8", "surrogateescape"))
    num_files = 0
    for file in all_files(split):
        found = os.stat(file)  # noqa: PTH116 - a Path for each of a million files would take seconds
        _add(digest, f"{found.st_size} {found.st_mtime_ns}".encode())
        num_files += 1
    if num_files < len(split):
        for index in range(len(split)):
            if split.file(index) is None:
                _add(digest, split.image(index).contiguous().numpy().tobytes())
    path = cache_file(f"features-{digest.hexdigest()}", ".npy")
    if path is None:
        raise ValueError("features are kept in the user's cache, and this user has no home; set XDG_CACHE_HOME=FOLDER")
    return FeatureFile(path, num_rows, width)


def check_room(files: Iterable[FeatureFile]) -> None:
    """Refuse to begin files that the disk has no room for.

    Raises:
        ValueError: With what is needed and what is free, or with what is in the way of the folder or a file.
    """
    missing = [file for file in files if not file.exists]
    if not missing:
        return
    folder = missing[0].path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder}, the folder of the frozen trunk's features, cannot be made ({error.strerror}); set "
            "XDG_CACHE_HOME to one that can, or classifier.cached_views=0, which keeps none"
        ) from error
    if blocked := next((file.path for file in missing if file.path.is_dir()), None):
        raise ValueError(f"{blocked} is a folder where the frozen trunk's features are kept; remove it")
    needed, free = sum(file.num_bytes for file in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"the frozen trunk's features take {needed / 1e9:.2f} GB and {folder} has {free / 1e9:.2f} GB free; set "
            "XDG_CACHE_HOME to a folder on a larger disk, fewer classifier.cached_views, or classifier.cached_views=0, "
            "which keeps none"
        )


def _add(digest: Any, part: bytes) -> None:  # noqa: ANN401 - hashlib's have no common type
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)

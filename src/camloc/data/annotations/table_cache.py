"""Tables of large annotation files, kept after the first reading."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.table import AnnotatedImages, Units
from camloc.data.cache import SETTLED, cache_file, write_cache

VERSION = 2
"""Of what is kept; another one makes all that was kept before invalid."""
LARGE = 2**22
"""Bytes of files from which they are kept: smaller ones are read in a second."""
_SAMPLED = 2**16
"""Bytes at the start and at the end of a file, and at 64 places between, that must be the same."""
_TEXTS = ("class_names", "names", "splits", "groups", "sources", "masks", "notes")
_ARRAYS = ("sizes", "labels", "boxes", "box_image", "box_class", "mask_labels")


def cached_table(files: Sequence[Path], reader: str, read: Callable[[], AnnotatedImages]) -> AnnotatedImages:
    """Read a table, or take it from ``$XDG_CACHE_HOME/camloc`` or ``~/.cache/camloc`` where the files are the same.

    The same are files with the same paths, sizes and modification times, whose bytes at the start, at the end and at 64
    places between are the same too: some network mounts never change the times.

    Args:
        files: All that is read.
        reader: Names the format, and its options.
        read: Reads them.
    """
    cache = _cache_file(files, reader)
    if cache is None:
        return read()
    table = _load(cache)
    if table is None:
        table = read()
        _save(cache, table)
    return table


def _cache_file(files: Sequence[Path], reader: str) -> Path | None:
    """Return where the table lies, which depends on all that makes it; null where none is kept."""
    digest = hashlib.sha256(f"{VERSION}\0{reader}".encode())
    try:
        status = [file.stat() for file in files]
        if sum(one.st_size for one in status) < LARGE:
            return None
        if time.time_ns() - max(one.st_mtime_ns for one in status) < SETTLED:
            return None
        for file, one in zip(files, status, strict=True):
            digest.update(os.fsencode(f"\0{file.resolve()}\0{one.st_size}\0{one.st_mtime_ns}\0"))
            digest.update(_sample(file, one.st_size))
    except OSError:
        return None
    return cache_file(f"table-{digest.hexdigest()[:32]}")


def _sample(file: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        for place in (0, *np.linspace(0, max(size - _SAMPLED, 0), 66, dtype=np.int64).tolist()[1:]):
            content.seek(place)
            digest.update(content.read(_SAMPLED))
    return digest.digest()


def _load(cache: Path) -> AnnotatedImages | None:
    """Read the cache; null unless it is intact."""
    try:
        with np.load(cache, allow_pickle=False) as kept:
            texts = {name: _unpacked(kept[name]) for name in _TEXTS}
            arrays = {name: kept[name] for name in _ARRAYS}
            units = cast(Units, str(kept["units"]))
        table = AnnotatedImages(
            tuple(texts.pop("class_names")),
            units=units,
            **texts,  # type: ignore[arg-type] # two kinds of values
            **arrays,
        )
        return table if len(table.names) == len(table.sizes) else None
    except Exception:  # noqa: BLE001 # however a cache is broken, it is rebuilt
        return None


def _save(cache: Path, table: AnnotatedImages) -> None:
    values = table._asdict()
    texts = {name: _packed(values[name]) for name in _TEXTS}
    write_cache(cache, {**texts, **{name: values[name] for name in _ARRAYS}, "units": np.array(table.units)})


def _packed(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts as bytes, each with a zero at its end, which no path has."""
    return np.frombuffer("".join(f"{text}\0" for text in texts).encode(errors="surrogatepass"), np.uint8)


def _unpacked(packed: NDArray[np.uint8]) -> list[str]:
    return packed.tobytes().decode(errors="surrogatepass").split("\0")[:-1]

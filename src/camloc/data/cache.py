"""Arrays that are kept between runs, below ``$XDG_CACHE_HOME/camloc`` or ``~/.cache/camloc``."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

SETTLED = 2_000_000_000
"""Nanoseconds after which a further change of a file or folder is certain to show in its modification time."""


def cache_file(name: str) -> Path | None:
    """Return where arrays of a name lie; null for a user without a home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "camloc" / f"{name}.npz"


def write_cache(file: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays atomically, since several processes may do it at once; on failure there are none.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_cache(Path(folder, "new", "a.npz"), {"numbers": np.arange(3)})
        ...     np.load(Path(folder, "new", "a.npz"))["numbers"].tolist(), len(list(Path(folder, "new").iterdir()))
        ([0, 1, 2], 1)
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=file.parent, prefix=file.stem, suffix=".tmp", delete=False) as partial:
            try:
                np.savez(partial, **arrays)  # type: ignore[arg-type] # its other argument is no array
                partial.close()
                Path(partial.name).replace(file)
            except BaseException:
                Path(partial.name).unlink(missing_ok=True)
                raise
    except OSError:
        return

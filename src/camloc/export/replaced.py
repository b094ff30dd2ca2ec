"""Files that are replaced whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a file next to another to write to, which replaces the other in one step once it is whole.

    A reader never meets half a file, and a full disk costs the new file, not the old one. What lies at the place of the
    new file is removed first: a link that came with a stranger's directory would be written through to what it names.

    Args:
        path: The file to replace, or to make.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

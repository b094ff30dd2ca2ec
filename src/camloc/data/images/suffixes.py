"""Which files are images, by their names."""

import os
from collections import Counter
from collections.abc import Iterable

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jfif")
IMAGE_SUFFIXES = (
    *JPEG_SUFFIXES,
    *(".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".dcm", ".dicom"),
)
"""Of files that are listed as images, in small letters. What a file holds decides how it is read, not its name."""
ALWAYS_EIGHT_BITS = (*JPEG_SUFFIXES, ".bmp", ".webp", ".gif", ".avif")
"""Of formats that are read with 8 bits per channel, whatever they hold."""
_NOT_DATA = frozenset({"thumbs.db", "desktop.ini", "readme", "license"})


def unread(names: Iterable[str]) -> Counter[str]:
    """Count files beside images that are not read, by their suffix in small letters; empty for a name without one.

    Hidden files, and those that systems leave in folders, do not count.

    Args:
        names: Of files, with or without their folders.

    Example:
        >>> unread(["1.jpg", "2.HEIC", "3.heic", "train/notes.txt", ".DS_Store"])
        Counter({'.heic': 2, '.txt': 1})
    """
    return Counter(os.path.splitext(name)[1].lower() for name in names if _is_unread(name))  # noqa: PTH122 - as below


def _is_unread(path: str) -> bool:
    name = os.path.basename(path).lower()  # noqa: PTH119 - a Path for each of a million files would take seconds
    return not name.endswith(IMAGE_SUFFIXES) and not name.startswith(".") and name not in _NOT_DATA


def unread_note(where: str, names: Iterable[str]) -> str | None:
    """Say what :func:`unread` counts, for people; null where that is nothing.

    Args:
        where: The folder.
        names: Of its files.

    Example:
        >>> unread_note("mine/train", ["cat/1.heic", "2.heic", "3.jpg", "notes"])
        'mine/train: 3 files are not read (2 .heic, 1 without a suffix), first 2.heic'
    """
    others = [name for name in names if _is_unread(name)]
    if not others:
        return None
    counts = unread(others)
    kinds = ", ".join(f"{count:,} {suffix or 'without a suffix'}" for suffix, count in counts.most_common())
    said = "1 file is" if len(others) == 1 else f"{len(others):,} files are"
    return f"{where}: {said} not read ({kinds}), first {min(others)}"

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
    found: Counter[str] = Counter()
    for path in names:
        name = os.path.basename(path).lower()  # noqa: PTH119 - a Path for each of a million files would take seconds
        if not name.endswith(IMAGE_SUFFIXES) and not name.startswith(".") and name not in _NOT_DATA:
            found[os.path.splitext(name)[1]] += 1  # noqa: PTH122 - the same
    return found


def unread_note(where: str, counts: Counter[str], first: str) -> str:
    """Say what :func:`unread` counted, for the summary before a run.

    Args:
        where: The folder.
        counts: By suffix; not empty.
        first: The first file's name.

    Example:
        >>> unread_note("mine/train", Counter({".heic": 2, "": 1}), "cat/1.heic")
        'mine/train: 3 files are not read (2 .heic, 1 without a suffix), first cat/1.heic'
    """
    kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in counts.most_common())
    return f"{where}: {counts.total()} files are not read ({kinds}), first {first}"

"""Where the files of formats that describe a whole data set lie, and whose images they are of."""

from pathlib import Path

from camloc.data.annotations.split_names import split_of
from camloc.data.images.regular import open_regular
from camloc.data.images.suffixes import IMAGE_SUFFIXES

BEGINNING = 2**13
"""Bytes that tell a format."""


def in_places(root: Path, suffix: str) -> list[Path]:
    """Return the files of a suffix in a folder, its ``annotations/`` and the folders of splits, sorted; no hidden ones.

    Example:
        >>> in_places(Path("nowhere"), ".json")
        []
    """
    if not root.is_dir():
        return []
    places = [p for p in _folders(root) if p.name.casefold() in ("annotations", "labels") or split_of(p.name)]
    return sorted(
        file
        for place in (root, *places)
        for file in place.iterdir()
        if file.suffix.lower() == suffix and not file.name.startswith(".") and file.is_file()
    )


def has_class_folders(root: Path) -> bool:
    """Tell whether two folders or more hold images, each of its own class, in a folder or in those of its splits.

    Example:
        >>> has_class_folders(Path("nowhere"))
        False
    """
    splits = [place for place in _folders(root) if split_of(place.name)]
    return any(
        sum(_holds_images(folder) for folder in _folders(place) if not split_of(folder.name)) > 1
        for place in (root, *splits)
    )


def _folders(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []


def _holds_images(folder: Path) -> bool:
    try:
        return any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir())
    except OSError:
        return False


def beginning(file: Path) -> bytes:
    """Return the first bytes of a file; none where it cannot be read or is no regular file."""
    try:
        with open_regular(file) as content:
            return content.read(BEGINNING).removeprefix(b"\xef\xbb\xbf")
    except (OSError, ValueError):
        return b""


def image_folder(root: Path, file: Path) -> tuple[str, str]:
    """Return the folder that an annotation file's names are relative to, below the root, and the split of its images.

    A file in a split's folder names images there. Another one names its folder by its own name: for
    ``annotations/instances_val2017.json`` it is ``val2017`` or ``images/val2017``, if there is one.
    """
    inside = file.relative_to(root).parent.as_posix()
    if split := split_of(inside):
        images = f"{inside}/images"
        return (images if (root / images).is_dir() else inside), split
    stem = file.stem
    for lead in ("instances_", "annotations_", "_annotations.", "labels_"):
        stem = stem.removeprefix(lead)
    for folder in (stem, f"images/{stem}", f"{stem}/images"):
        if stem and (root / folder).is_dir():
            return folder, split_of(stem)
    return "", split_of(stem)

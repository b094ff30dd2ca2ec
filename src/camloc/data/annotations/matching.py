"""Which annotation belongs to which image: by the path below the class folders, else by a name that is unique."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

Value = TypeVar("Value")


def match(
    images: Sequence[str], annotated: Mapping[str, Value], key: Callable[[str], Sequence[str]], where: str
) -> tuple[list[Value | None], list[str]]:
    """Find each image's annotation; accents may be composed in one name and not in the other, as macOS does it.

    Args:
        images: N paths below the root or the split's folder, such as ``cat/1.jpg``.
        annotated: By name as the annotation gives it: a path or a bare name.
        key: From an image to the names it may have there, the most specific first.
        where: The annotation's file or folder, for messages.

    Returns:
        N annotations, None for images without, and the names that belong to no image.

    Raises:
        ValueError: If one name could be that of two images.

    Example:
        >>> match(["cat/1.jpg", "dog/2.jpg"], {"1.jpg": "a", "3.jpg": "b"}, lambda p: [p, p.split("/")[1]], "x.csv")
        (['a', None], ['3.jpg'])
    """
    composed = {_composed(name): name for name in annotated}
    found: list[Value | None] = []
    users: dict[str, list[str]] = defaultdict(list)
    for image in images:
        name = next((composed[name] for name in map(_composed, key(image)) if name in composed), None)
        found.append(None if name is None else annotated[name])
        if name is not None:
            users[name].append(image)
    shared = next(((name, owners) for name, owners in users.items() if len(owners) > 1), None)
    if shared is not None:
        one, other = shared[1][:2]
        together = PurePosixPath(one).parent == PurePosixPath(other).parent
        fix = "rename one of the images" if together else "name the folder as well"
        raise ValueError(f"{where}: {shared[0]} could belong to {one} or to {other}; {fix}")
    return found, [name for name in annotated if name not in users]


def file_names(image: str, source: str = "") -> list[str]:
    """Return the names that a table may give an image.

    Args:
        image: Its path.
        source: The split's folder, which the path may begin with and the table may leave out.

    Example:
        >>> file_names("val/cat/1.jpg", "val")
        ['val/cat/1.jpg', 'cat/1.jpg', '1.jpg']
    """
    inside = image.removeprefix(f"{source}/") if source else image
    return list(dict.fromkeys([image, inside, PurePosixPath(image).name]))


def stems(image: str, endings: Sequence[str], source: str = "") -> list[str]:
    """Return the names that an image's own annotation file may have, with its folders first.

    Args:
        image: Its path.
        endings: Of the file, in small letters.
        source: See :func:`file_names`.

    Example:
        >>> stems("cat/1.jpg", [".png", "_mask.png"])
        ['cat/1.png', 'cat/1_mask.png', '1.png', '1_mask.png']
    """
    without = [name[: len(name) - len(PurePosixPath(name).suffix)] for name in file_names(image, source)]
    return [name + ending for name in without for ending in endings]


def files_below(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Return the files of some suffixes by their path below a folder; hidden ones are left out, links are followed.

    The path's suffix is given in small letters, whatever the file's is.

    Example:
        >>> files_below(Path("nowhere"), [".xml"])
        {}
    """
    found = {}
    for path in sorted(_walk(folder, frozenset())):
        suffix = path.suffix.lower()
        if suffix in suffixes:
            found[path.relative_to(folder).with_suffix(suffix).as_posix()] = path
    return found


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    if not folder.is_dir():
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link that leads back
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), above | {here})
            else:
                yield Path(entry.path)  # a broken link or a FIFO too, which is reported when it is opened


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)

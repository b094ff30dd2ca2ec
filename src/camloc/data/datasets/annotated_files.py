"""Which files below a root the images of a table are."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.image_names import ImageNames
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.split_names import split_of
from camloc.data.annotations.table import AnnotatedImages
from camloc.data.images.suffixes import IMAGE_SUFFIXES
from camloc.data.loading.index import is_junk

MANY = 0.5
"""Share of the annotated images from which missing ones are an error: the images lie elsewhere."""


class FoundImages(NamedTuple):
    """The images that are there."""

    kept: NDArray[np.int64]
    """(K,) their places in the table."""
    files: NDArray[np.bytes_]
    """(K,) paths below the root."""


def find_images(root: Path, table: AnnotatedImages) -> tuple[FoundImages, list[str]]:
    """Find the files of a table's images, and say what is left out.

    Args:
        root: The data set's folder; hidden folders and what storages and operating systems leave are not looked at.
        table: What the annotation says.

    Raises:
        DataProblems: If a name could be of two files.
        FileNotFoundError: If there is none of half the images or more.
    """
    masks = set(table.masks)
    files = [file for file in sorted(_images_below(root, "", frozenset())) if file not in masks]
    found = ImageNames(files).find(table.names, str(root))
    if found.problems:
        raise DataProblems(found.problems)
    # A bare name must not be found in the folder of another split.
    places = [
        None if place is None or _is_of_another_split(files[place], split) else place
        for place, split in zip(found.places, table.splits, strict=True)
    ]
    kept = np.array([image for image, place in enumerate(places) if place is not None], np.int64)
    missing = [name for name, place in zip(table.names, places, strict=True) if place is None]
    if len(missing) > MANY * len(places) or not len(kept):
        shown = f"; there are {', '.join(files[:3])}" if files else "; there is no image at all"
        raise FileNotFoundError(
            f"{root}: there is no file of {len(missing)} of {len(places)} annotated images, first "
            f"{', '.join(missing[:3])}{shown}; give the folder that holds the images and the annotation"
        )
    notes = []
    if missing:
        notes.append(f"{len(missing)} of {len(places)} annotated images are not there, first {', '.join(missing[:3])}")
    used = {place for place in places if place is not None}
    if len(used) < len(files):
        left = [file for place, file in enumerate(files) if place not in used]
        folders = Counter(file.rpartition("/")[0] or "." for file in left)
        most = ", ".join(f"{count} in {folder}" for folder, count in folders.most_common(3))
        notes.append(f"{len(left)} images have no annotation and were left out, first {left[0]} ({most})")
    encoded = [os.fsencode(files[place]) for place in places if place is not None]
    return FoundImages(kept, np.array(encoded, dtype=np.bytes_)), notes


def _images_below(root: Path, path: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    status = (root / path).stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link that leads back
    with os.scandir(root / path) as entries:
        for entry in entries:
            if is_junk(entry.name):
                continue
            inside = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir():
                yield from _images_below(root, inside, above | {here})
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield inside  # a broken link or a FIFO too, which is reported when it is opened


def _is_of_another_split(file: str, split: str) -> bool:
    folders = {split_of(folder) for folder in file.split("/")[:-1]} & {"train", "val", "test"}
    return bool(split in ("train", "val", "test") and folders and split not in folders)

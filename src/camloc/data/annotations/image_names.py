"""Which file an annotation means by a name, as tools and operating systems spell one file in many ways."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""


class Found(NamedTuple):
    """What names refer to."""

    places: list[int | None]
    """(N,) the file of each name by its place, null where there is none."""
    problems: list[tuple[str, str]]
    """The names that could be of two files, and why."""


class ImageNames:
    r"""Finds files by the names that annotations give them.

    Compared are names with their accents composed and backslashes turned, as they stand or without URL quoting, without
    an upload's prefix or without a suffix, in this order; the first way that finds a file counts. The last part must
    be the same; of files whose last part is the same, the one is taken that has most of the folders before it. So
    ``C:\data\cat\1.jpg`` is ``cat/1.jpg`` where there is also ``dog/1.jpg``, and a bare name must be unique. Small and
    capital letters are told apart only where both exist. Nothing is opened by a name of an annotation.

    Args:
        files: N paths with forward slashes.

    Example:
        >>> names = ImageNames(["train/cat 1.jpg", "train/x/2.jpg", "val/x/2.jpg"])
        >>> names.find(["images\\cat%201.jpg", "/home/me/data/val/x/2.jpg", "3.jpg"], "a.json")
        Found(places=[0, 2, None], problems=[])
        >>> names.find(["2.jpg"], "a.json").problems
        [('a.json', '2.jpg could be train/x/2.jpg or val/x/2.jpg; name the folder as well, or rename one')]
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files
        self._parts = [_parts(file) for file in files]
        self._by_name: dict[str, list[int]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for place, parts in enumerate(self._parts):
            self._by_name[parts[-1].casefold()].append(place)
            self._by_stem[os.path.splitext(parts[-1])[0].casefold()].append(place)  # noqa: PTH122 - a tenth of the time

    def find(self, names: Sequence[str], where: str) -> Found:
        """Find files by their names.

        Args:
            names: As annotations give them; different names of one file are a problem.
            where: The annotation's file, for messages.
        """
        places: list[int | None] = []
        problems: list[tuple[str, str]] = []
        owners: dict[int, str] = {}
        for name in names:
            best = self._best(name)
            if len(best) > 1:
                one, other = (self.files[place] for place in best[:2])
                fix = "name the folder as well, or rename one"
                problems.append((where, f"{name} could be {one} or {other}; {fix}"))
            place = best[0] if best else None
            if place is not None and owners.setdefault(place, name) != name:
                message = f"{owners[place]} and {name} could both be {self.files[place]}; name the folders as well"
                problems.append((where, message))
            places.append(place)
        return Found(places, problems)

    def _best(self, name: str) -> list[int]:
        """Return the files that fit a name best, two or more where it could be any of them."""
        for spelt, index in self._spellings(name):
            parts = _parts(spelt)
            candidates = index.get(parts[-1].casefold())
            if candidates:
                if len(candidates) == 1:
                    return candidates
                scores = [_agreement(parts, self._parts[place], index is self._by_stem) for place in candidates]
                best = max(scores)
                return [place for place, score in zip(candidates, scores, strict=True) if score == best]
        return []

    def _spellings(self, name: str) -> Iterator[tuple[str, dict[str, list[int]]]]:
        yield name, self._by_name
        unquoted = unquote(name)
        if unquoted != name:
            yield unquoted, self._by_name
        folder, slash, last = unquoted.replace("\\", "/").rpartition("/")
        plain = UPLOAD_PREFIX.sub("", last)
        if plain != last:
            yield f"{folder}{slash}{plain}", self._by_name
        yield name, self._by_stem


def _parts(path: str) -> list[str]:
    normal = unicodedata.normalize("NFC", path) if not path.isascii() else path
    parts = [part for part in normal.replace("\\", "/").split("/") if part not in ("", ".")]
    return parts or [""]


def _agreement(name: Sequence[str], file: Sequence[str], is_stem: bool) -> tuple[int, int, bool]:
    """Return how well a name fits a file whose last part is the same: folders in common, then the letters' case."""
    count = 0
    for one, other in zip(reversed(name[:-1]), reversed(file[:-1]), strict=False):
        if one.casefold() != other.casefold():
            break
        count += 1
    # A name as long as the file's path means this file and none further down.
    exact = len(file) - 1 == count
    last = os.path.splitext(file[-1])[0] if is_stem else file[-1]  # noqa: PTH122 - as above
    return count, int(exact), name[-1] == last and list(name[-count - 1 : -1]) == list(file[-count - 1 : -1])

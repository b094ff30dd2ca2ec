"""``predictions.jsonl``: a line for every image, appended as it is predicted; what else is written is made from it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from camloc.localized import LocalizedImage, from_json, to_json


class PredictionLines:
    r"""Appends lines to a file, whole ones in one write each, so that a killed process leaves at most one torn line.

    Args:
        path: The file; opened on entering, where a torn line at its end is cut off.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "predictions.jsonl")
        ...     _ = file.write_text('{"image": "a.jpg", "height": 1, "width": 2, "classes": []}\n{"image": "b.')
        ...     with PredictionLines(file) as lines:
        ...         print(sorted(lines.done))
        ...         lines.append([LocalizedImage("b.jpg", (8, 12))])
        ...     [image.name for image in Predictions(file)]
        ['a.jpg']
        ['a.jpg', 'b.jpg']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[str] = set()
        """Names of the images that the file had when it was opened."""
        self.number = 0
        """Lines that the file has."""

    def __enter__(self) -> Self:
        whole = _whole_bytes(self.path)
        self._file = self.path.open("ab", buffering=0)
        self._file.truncate(whole)
        names = [image.name for image in Predictions(self.path)]
        self.done, self.number = set(names), len(names)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, images: Iterable[LocalizedImage]) -> None:
        """Write images.

        Raises:
            OSError: If there is no room.
        """
        new = [f"{json.dumps(to_json(image))}\n" for image in images]
        text = "".join(new).encode()
        written = 0
        while written < len(text):
            written += self._file.write(text[written:])
        self.number += len(new)


class Predictions:
    """The images of a ``predictions.jsonl``, read one by one, as often as wanted.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[LocalizedImage]:
        """Yield the images in their order.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If a line is none that predicting writes.
        """
        with self.path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield from_json(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{self.path}, line {number} is no prediction: {error!r:.80}") from None


def _whole_bytes(path: Path) -> int:
    """Return where the last whole line ends."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
    return 0

"""``predictions.csv`` of images without labels: a row for every box, and one for an image or a class without any."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from camloc.export.csv_file import write_csv
from camloc.localized import LocalizedImage

COLUMNS = (
    "image",
    "class",  # empty where no class was probable enough
    "probability",
    "score",  # of the box; empty, as the following four, where there is none
    "x0",
    "y0",
    "x1",
    "y1",  # half-open pixels of the image as it is shown
    "peak_x",
    "peak_y",
    "seconds",  # of a frame
    "error",  # why the image could not be read
)


def write_found(path: Path, images: Iterable[LocalizedImage]) -> None:
    """Write all boxes of all images; :func:`camloc.export.csv_file.read_csv` reads them.

    Args:
        path: The file; it appears when it is whole.
        images: In their order.
    """
    write_csv(path, COLUMNS, (row for image in images for row in _rows(image)))


def _rows(image: LocalizedImage) -> Iterator[list[object]]:
    end: list[object] = ["" if image.seconds is None else image.seconds, image.error or ""]
    if not image.classes:
        yield [image.name, *[""] * 9, *end]
    for found in image.classes:
        peak: list[object] = ["", ""] if found.peak is None else list(found.peak)
        boxes: list[list[object]] = [[box.score, *box.box] for box in found.boxes] or [[""] * 5]
        for box in boxes:
            yield [image.name, found.name, found.probability, *box, *peak, *end]

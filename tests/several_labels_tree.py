"""A small data set with several labels per image, none, or one of a class without objects, as images and a table."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 60)
COLOURS = {"blue": 2, "green": 1, "red": 0}
COUNTS = {"train": 24, "val": 14, "test": 15}
NUM_NEGATIVE = 4
"""Of each split, its first ones: a batch of them has no pair."""
GOOD = 3
"""Each split's images from here on, as many, are of the class without objects."""


def objects(index: int) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Yield classes with half-open boxes; of one class there may be two."""
    for place, name in enumerate(COLOURS):
        if (index + place) % 3 and (index + place) % 4:
            x0, y0 = 3 + 20 * place, 2 + index % 7
            yield name, (x0, y0, x0 + 12, y0 + 10)
            if index % 5 == 0:
                yield name, (x0 + 2, y0 + 15, x0 + 9, y0 + 25)


def write_tree(root: Path) -> Path:
    """Write ``images/`` and ``labels.csv``; objects are bright in one channel, and there is noise."""
    (root / "images").mkdir(parents=True)
    rows: list[tuple[str, ...]] = [("file", "split", "class", "x0", "y0", "x1", "y1")]
    for split, count in COUNTS.items():
        for index in range(count):
            name = f"{split}{index:02}.png"
            pixels = np.random.default_rng([index, count]).integers(0, 60, (*SIZE, 3))
            if index < NUM_NEGATIVE:
                rows.append((name, split, *[""] * 5))
            elif index < NUM_NEGATIVE + GOOD:
                pixels += 90
                rows.append((name, split, "good", *[""] * 4))
            else:
                for label, (x0, y0, x1, y1) in objects(index):
                    pixels[y0:y1, x0:x1, COLOURS[label]] = 250
                    rows.append((name, split, label, *map(str, (x0, y0, x1, y1))))
            Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / name)
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root

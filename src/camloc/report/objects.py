"""Are the images of two runs the same? Names may be equal where objects are not, as in ``textures`` of two seeds."""

import csv
from collections.abc import Mapping
from pathlib import Path

_MAX_DIFFERENCE = 1e-4
"""Of an object's share of its image; ``predictions.csv`` has six digits of it."""


def object_shares(run: Path) -> dict[tuple[str, str], float]:
    """Read which share of its image the largest true box of each pair takes.

    Args:
        run: Its directory.

    Returns:
        By image and class as they stand in ``predictions.csv``; none where there is no such file, or no true box.

    Raises:
        ValueError: If the file cannot be read; the message names it.
    """
    path = run / "predictions.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return {
                (row["image_id"], row["true_class"]): float(row["object_share"])
                for row in csv.DictReader(file)
                if row["object_share"]
            }
    except (ValueError, KeyError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read: {error}; evaluate the run again") from error


def are_same_objects(a: Mapping[tuple[str, str], float], b: Mapping[tuple[str, str], float]) -> bool:
    """Return whether what both know of the same pairs agrees.

    Example:
        >>> are_same_objects({("a.jpg", "cat"): 0.25}, {("a.jpg", "cat"): 0.25, ("b.jpg", "cat"): 0.5})
        True
        >>> are_same_objects({("a.jpg", "cat"): 0.25}, {("a.jpg", "cat"): 0.35})
        False
    """
    return all(abs(share - b[pair]) <= _MAX_DIFFERENCE for pair, share in a.items() if pair in b)

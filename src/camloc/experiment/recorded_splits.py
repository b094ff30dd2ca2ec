"""``splits.csv``: where images were dealt by a hash of their names, so that a later run can tell what has moved."""

import csv
from collections.abc import Sequence
from pathlib import Path

from camloc.data.loading.dealing import SPLIT_NAMES, Dealt
from camloc.experiment.run_directory import RunDirectory, is_first_process
from camloc.export.replaced import replaced

HEADER = ("image", "split", "group")


def record_splits(dealt: Dealt | None, run: RunDirectory) -> None:
    """Write where each image was dealt, if any was."""
    if dealt is None or not is_first_process():
        return
    with replaced(run.splits) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        splits = (SPLIT_NAMES[place] for place in dealt.splits.tolist())
        writer.writerows(zip(dealt.image_ids, splits, dealt.groups, strict=True))


def moved_since(recorded: Path, dealt: Dealt | None, measured: Sequence[str]) -> list[str]:
    """Say which images of the measured splits were in another split of the run that is evaluated.

    Args:
        recorded: ``splits.csv`` of that run; there may be none.
        dealt: Where images are now; null where they were not dealt.
        measured: Names of the splits that are measured.

    Returns:
        One note, or none.

    Raises:
        ValueError: If the file is not one that a run wrote.
    """
    if dealt is None or not recorded.is_file():
        return []
    with recorded.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows or tuple(rows[0]) != HEADER or any(len(row) != len(HEADER) for row in rows):
        raise ValueError(f"{recorded} does not have the columns {','.join(HEADER)} that a run wrote; take the original")
    before = {image: split for image, split, _ in rows[1:]}
    now = ((image, SPLIT_NAMES[place]) for image, place in zip(dealt.image_ids, dealt.splits.tolist(), strict=True))
    moved = [
        f"{image} from {before[image]} to {split}"
        for image, split in now
        if split in measured and before.get(image, split) != split
    ]
    if not moved:
        return []
    why = f"they were dealt with another seed, share or group ({recorded})"
    return [f"{len(moved)} images were in another split when the network was trained, first {moved[0]}: {why}."]

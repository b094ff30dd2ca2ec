"""``predictions.csv``: a row for every pair of a split, for people and spreadsheets."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from camloc.export.csv_file import write_csv
from camloc.metrics.functional.breakdown import CAUSES, NO_CAUSE
from camloc.metrics.functional.threshold_choice import middle_of_best
from camloc.records import NUM_PREDICTIONS, PairRecords

COLUMNS = (
    "image_id",
    "true_class",
    # The most likely classes, best first; empty without a classifier, and where there are fewer classes:
    *(f"prediction_{place}" for place in range(1, NUM_PREDICTIONS + 1)),
    "rank",  # of the true class among those the image does not show, 0 when it is first; empty without a classifier
    "x0",
    "y0",
    "x1",
    "y1",  # half-open pixels of the image as stored; all 0 where the map gave no box
    # Empty for a pair without true boxes:
    "iou",  # at the reported CAM threshold, with the best true box
    "best_iou",  # over all CAM thresholds: a diagnostic, not a result; empty where boxes have none
    "best_cam_threshold",  # of several the middle of their longest run
    "cause",  # hit, or why it is no top-1 hit, see camloc.metrics.functional.breakdown
    "object_share",  # of the image's area, the largest true box
)


def write_predictions(path: Path, pairs: PairRecords, class_names: Sequence[str]) -> None:
    """Write a row for every pair; :func:`camloc.export.csv_file.read_csv` reads them.

    Args:
        path: The file; it appears when it is whole.
        pairs: Of a split.
        class_names: (C,).
    """
    write_csv(path, COLUMNS, (_row(pairs, index, class_names) for index in range(len(pairs.image_ids))))


def _row(pairs: PairRecords, index: int, class_names: Sequence[str]) -> list[object]:
    row: list[object] = [pairs.image_ids[index], class_names[int(pairs.classes[index])]]
    predicted = [] if pairs.predicted is None else [class_names[one] for one in pairs.predicted[index].tolist()]
    row += [*predicted, *[""] * (NUM_PREDICTIONS - len(predicted))]
    row.append("" if pairs.rank is None else int(pairs.rank[index]))
    row += [""] * 4 if pairs.boxes is None else [f"{value:g}" for value in pairs.boxes[index].tolist()]
    is_measured = pairs.causes is not None and int(pairs.causes[index]) != NO_CAUSE
    if pairs.iou is None or pairs.causes is None or pairs.object_shares is None or not is_measured:
        return [*row, *[""] * (len(COLUMNS) - len(row))]
    return [
        *row,
        *_overlaps(pairs.iou[index], pairs),
        CAUSES[int(pairs.causes[index])],
        f"{pairs.object_shares[index]:.6f}",
    ]


def _overlaps(iou: Tensor, pairs: PairRecords) -> list[object]:
    """Return the reported IoU, the best one and its CAM threshold, of (T,) IoUs."""
    if pairs.cam_threshold is None:
        return [f"{iou[0]:.6f}", "", ""]
    best = int(middle_of_best(iou.numpy()))
    reported = iou[list(pairs.cam_thresholds).index(pairs.cam_threshold)]
    return [f"{reported:.6f}", f"{iou[best]:.6f}", pairs.cam_thresholds[best]]

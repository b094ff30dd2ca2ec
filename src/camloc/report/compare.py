"""Whether two runs differ by more than chance: ``python -m camloc.report.compare RUN_A RUN_B``."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from camloc.metrics.functional.bootstrap import (
    NUM_RESAMPLES,
    Interval,
    Outcome,
    Select,
    localization_outcome,
    paired_difference,
)
from camloc.metrics.functional.per_image import Condition, PerImage

_CONDITIONS: dict[str, Condition] = {
    "test/localization/top1_error": "top1",
    "test/localization/top5_error": "top5",
    "test/localization/gt_known_error": "gt_known",
}
_NAMES = {
    "test/classification/top1_error": "top-1 classification",
    "test/localization/top1_error": "top-1 localization",
    "test/localization/top5_error": "top-5 localization",
    "test/localization/gt_known_error": "GT-known localization",
}
_NOTE = (
    f"A - B in percentage points; below zero A is better. 95% intervals over the images ({NUM_RESAMPLES:,} paired "
    "resamples); a threshold that was chosen is chosen again in each. Each row stands for itself. What another "
    "training of the same configuration would change is not in them."
)


@dataclass(frozen=True)
class ComparedRow:
    """An error of both runs.

    Example:
        >>> row = ComparedRow("GT-known localization", 0.40, 0.45, Interval(-0.05, -0.08, -0.02))
        >>> row.difference_text, row.interval_text, row.verdict
        ('-5.00', '[-8.00, -2.00]', 'told apart from zero')
    """

    name: str
    error_a: float
    error_b: float
    difference: Interval
    """``error_a`` minus ``error_b``, fractions."""

    @property
    def difference_text(self) -> str:
        """Percentage points."""
        return f"{100 * self.difference.value:+.2f}"

    @property
    def interval_text(self) -> str:
        """Percentage points."""
        return f"[{100 * self.difference.low:+.2f}, {100 * self.difference.high:+.2f}]"

    @property
    def verdict(self) -> str:
        """Whether zero lies outside the interval."""
        return "told apart from zero" if self.difference.excludes_zero else "not told apart from zero"


@dataclass(frozen=True)
class Measured:
    """A run's errors on test, as counts per image.

    Example:
        >>> Measured("runs/a", 0.2, "val", {}).label
        'runs/a (CAM threshold 0.2, val)'
    """

    run: str
    cam_threshold: float
    threshold_source: Select
    outcomes: dict[str, Outcome]
    """By key of ``metrics.json``."""

    @property
    def label(self) -> str:
        """The run, and where its threshold came from."""
        return f"{self.run} (CAM threshold {self.cam_threshold:.3g}, {self.threshold_source})"


def read_run(run: Path, iou_threshold: float) -> Measured:
    """Read ``metrics.json`` and ``per_image/{val,test}.npz`` of a run, which must tell the same errors.

    Args:
        run: Its directory.
        iou_threshold: Fraction, the one that the run's errors were measured at.

    Returns:
        What there is to compare.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file cannot be read, or they do not belong together.
    """
    metrics = _read_metrics(run / "metrics.json")
    threshold = _number(run, metrics, "test/localization/cam_threshold")
    source = metrics.get("test/localization/threshold_source")
    if source not in get_args(Select):
        raise ValueError(
            f"{run / 'metrics.json'}: test/localization/threshold_source must be one of {get_args(Select)}, "
            f"got {source!r}"
        )
    select = cast("Select", source)
    test = PerImage.load(run / "per_image" / "test.npz")
    val = PerImage.load(run / "per_image" / "val.npz") if select == "val" else None
    try:
        outcomes = {"test/classification/top1_error": Outcome(test.image_ids, test.rank < 1)}
        for key, condition in _CONDITIONS.items():
            outcomes[key] = localization_outcome(
                test, condition, select, iou_threshold=iou_threshold, cam_threshold=threshold, val=val
            )
    except ValueError as error:
        raise ValueError(f"{run / 'per_image'}: {error}") from error
    for key, outcome in outcomes.items():
        reported = _number(run, metrics, key)
        if not math.isclose(reported, outcome.error, abs_tol=1e-9):
            raise ValueError(
                f"{run}: metrics.json has {key} {reported:.6g}, its per_image files give {outcome.error:.6g} at IoU "
                f"{iou_threshold:g}; evaluate the run again, or give --iou-threshold as it was configured"
            )
    return Measured(str(run), threshold, select, outcomes)


def compare(a: Measured, b: Measured) -> list[ComparedRow]:
    """Compare every error of two runs.

    Args:
        a: One run.
        b: Another, measured on the same images.

    Returns:
        A row per error.

    Raises:
        ValueError: If the images differ.

    Example:
        >>> import numpy as np
        >>> key, ids = "test/localization/top1_error", np.array(["a", "b"])
        >>> run = Measured("runs/a", 0.2, "fixed", {key: Outcome(ids, np.array([True, False]))})
        >>> [(row.name, row.difference.value) for row in compare(run, run)]
        [('top-1 localization', 0.0)]
    """
    rows = []
    for key, outcome in a.outcomes.items():
        other = b.outcomes[key]
        rows.append(ComparedRow(_NAMES[key], outcome.error, other.error, paired_difference(outcome, other)))
    return rows


def comparison_table(rows: Sequence[ComparedRow]) -> Table:
    """Lay out rows for a terminal; at 80 columns only the names are broken.

    Example:
        >>> comparison_table([ComparedRow("top-1 localization", 0.4, 0.4, Interval(0, 0, 0))]).row_count
        1
    """
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("error (%)")
    for name in ("A", "B", "A - B", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        errors = (f"{100 * error:.2f}" for error in (row.error_a, row.error_b))
        # Not markup: brackets would be read as styles.
        table.add_row(row.name, *errors, row.difference_text, Text(row.interval_text), row.verdict)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison of two run directories; return the exit code, 1 when they cannot be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m camloc.report.compare",
        description="Whether two runs' errors on test differ by more than chance.",
    )
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="run directory")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="run directory, measured on the same images")
    parser.add_argument(
        "--iou-threshold", type=float, default=0.5, help="the one the runs were measured at, a fraction (default: 0.5)"
    )
    options = parser.parse_args(arguments)
    try:
        a, b = (read_run(run, options.iou_threshold) for run in (options.run_a, options.run_b))
        rows = compare(a, b)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot compare: {' '.join(str(error).split())}\n")
        return 1
    console = Console(highlight=False)
    console.print(Text(f"A: {a.label}\nB: {b.label}"), soft_wrap=True)
    console.print(comparison_table(rows))
    console.print(Text(_NOTE))
    return 0


def _read_metrics(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; give the directory of a run that has finished")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(metrics, dict):
        raise ValueError(f"{path} must hold an object of metrics, got {type(metrics).__name__}")  # noqa: TRY004 - a file's content, not an argument
    return metrics


def _number(run: Path, metrics: dict[str, object], key: str) -> float:
    value = metrics.get(key)
    if not isinstance(value, int | float):
        raise ValueError(f"{run / 'metrics.json'} holds no number under {key}, got {value!r}")  # noqa: TRY004 - the same
    return float(value)


if __name__ == "__main__":
    sys.exit(main())

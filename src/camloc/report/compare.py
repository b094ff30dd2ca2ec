"""Do two runs differ by more than chance? ``camloc compare RUN_A RUN_B``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from camloc.metrics.functional.bootstrap import Interval, paired_difference
from camloc.metrics.functional.resampling import NUM_RESAMPLES
from camloc.report.explorer.reading import labels_of, side_by_side
from camloc.report.measured_run import CLASSIFICATION, LOCALIZATION, Measured, read_run
from camloc.report.objects import are_same_objects
from camloc.report.one_line_parser import OneLineParser
from camloc.report.page import write_page

_NAMES = {
    CLASSIFICATION: "top-1 classification",
    LOCALIZATION["top1"]: "top-1 localization",
    LOCALIZATION["top5"]: "top-5 localization",
    LOCALIZATION["gt_known"]: "GT-known localization",
    "test/localization/ilsvrc_top1_error": "top-1, devkit",
    "test/localization/ilsvrc_top5_error": "top-5, devkit",
    "test/localization/heuristic_top5_error": "top-5, heuristic",
}
_NOTE = (
    f"A - B in percentage points; below zero, A is better. The 95% intervals are bootstrapped over the images "
    f"({NUM_RESAMPLES:,} paired resamples); a threshold that was chosen is chosen again in each resample, but for the "
    "devkit's errors. They are not corrected for the number of rows, and they do not include the variation between "
    "trainings with different seeds."
)


@dataclass(frozen=True)
class ComparedRow:
    """An error of both runs and their difference.

    Example:
        >>> row = ComparedRow("GT-known localization", 0.40, 0.45, Interval(-0.05, -0.08, -0.02))
        >>> row.difference_text, row.interval_text, row.verdict
        ('-5.00', '[-8.00, -2.00]', 'significant')
    """

    name: str
    error_a: float
    error_b: float
    difference: Interval
    """``error_a`` minus ``error_b``, fractions."""

    @property
    def difference_text(self) -> str:
        """``difference`` in percentage points."""
        return f"{100 * self.difference.value:+.2f}"

    @property
    def interval_text(self) -> str:
        """Its 95% interval in percentage points."""
        return f"[{100 * self.difference.low:+.2f}, {100 * self.difference.high:+.2f}]"

    @property
    def verdict(self) -> str:
        """``significant`` if zero is outside the interval."""
        return "significant" if self.difference.excludes_zero else "not significant"


def compare(a: Measured, b: Measured) -> list[ComparedRow]:
    """Compare the errors of two runs.

    Args:
        a: One run.
        b: Another, measured on the same images.

    Returns:
        A row for each error that both runs have.

    Raises:
        ValueError: If the images, their objects or the IoU thresholds differ.

    Example:
        >>> import numpy as np
        >>> from camloc.metrics.functional.bootstrap import Outcome
        >>> key, ids = "test/localization/top1_error", np.array(["a", "b"])
        >>> run = Measured("runs/a", 0.2, "fixed", {key: Outcome(ids, np.array([True, False]))}, iou_threshold=0.5)
        >>> [(row.name, row.difference.value) for row in compare(run, run)]
        [('top-1 localization', 0.0)]
    """
    if a.iou_threshold != b.iou_threshold:
        raise ValueError(
            f"{a.run} was measured at IoU {a.iou_threshold:g} and {b.run} at IoU {b.iou_threshold:g}; evaluate both at "
            "the same localization.iou_threshold"
        )
    if not are_same_objects(a.object_shares, b.object_shares):
        raise ValueError(
            f"{a.run} and {b.run} cannot be paired: the images share names but not their objects; measure both on the "
            "same data"
        )
    rows = []
    for key, outcome in a.outcomes.items():
        if key not in b.outcomes:
            continue
        other = b.outcomes[key]
        rows.append(ComparedRow(_NAMES[key], outcome.error, other.error, paired_difference(outcome, other)))
    return rows


def comparison_table(rows: Sequence[ComparedRow]) -> Table:
    """Lay out rows for a terminal; at 80 columns only names are broken.

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


def main(arguments: Sequence[str]) -> int:
    """Print the comparison of two runs.

    Args:
        arguments: Two run directories, or ``--help``.

    Returns:
        The exit code: 1 if the runs cannot be compared, with one line on stderr that says why.

    Raises:
        SystemExit: With code 0 after ``--help``, with code 1 if the arguments are wrong.
    """
    parser = OneLineParser(
        "error",
        "camloc compare RUN_A RUN_B",
        prog="camloc compare",
        description="Do two runs' errors on test differ by more than chance?",
    )
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="directory of a finished run")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="the same, measured on the same images")
    parser.add_argument(
        "--page", type=Path, metavar="DIR", help="write DIR/index.html with the images of both runs side by side"
    )
    options = parser.parse_args(arguments)
    page = None
    try:
        a, b = read_run(options.run_a), read_run(options.run_b)
        rows = compare(a, b)
        if options.page is not None:
            page = comparison_page(options.page, a, b, rows)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    console = Console(highlight=False)
    console.print(Text(f"A: {a.label}\nB: {b.label}"), soft_wrap=True)
    console.print(comparison_table(rows))
    console.print(Text(_NOTE))
    if page is not None:
        console.print(Text(f"Page: {page}"), soft_wrap=True)
    return 0


def comparison_page(directory: Path, a: Measured, b: Measured, rows: Sequence[ComparedRow]) -> Path:
    """Write a page with the images of both runs side by side.

    Args:
        directory: Where the page goes; made where it is missing.
        a: One run, whose report has images to explore.
        b: The other.
        rows: From :func:`compare`.

    Returns:
        Path of the page.

    Raises:
        FileExistsError: If there is a page already.
        FileNotFoundError: If a run's report has no images to explore.
        ValueError: If the reports show no image in common, or their data are damaged.
    """
    if (directory / "index.html").exists():
        raise FileExistsError(f"{directory} has a page already; give --page another directory")
    labels = labels_of([Path(a.run), Path(b.run)])
    reports = {label: Path(run.run) / "report" for label, run in zip(labels, (a, b), strict=True)}
    explored = side_by_side(reports, directory)
    differences = [
        f"{row.name}: {100 * row.error_a:.2f}% and {100 * row.error_b:.2f}%, difference {row.difference_text} "
        f"{row.interval_text}, {row.verdict}."
        for row in rows
    ]
    return write_page(
        directory,
        title=f"{labels[0]} and {labels[1]}",
        notes=[f"A, left: {a.label}", f"B, right: {b.label}", *differences, _NOTE],
        explorer=explored,
    )

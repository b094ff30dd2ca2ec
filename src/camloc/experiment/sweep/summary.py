"""What became of a sweep's jobs: ``sweep_summary.csv`` and the table on the terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from camloc.experiment.run_directory import ReportedRow
from camloc.export.csv_file import write_csv

JobStatus = Literal["completed", "failed", "interrupted", "skipped"]
Metrics = Mapping[str, float | int | str]

_SOURCES = ("cam_threshold", "threshold_source", "supervision")
"""Ends of the keys that say at which CAM threshold a number was taken, or that training saw boxes."""
_FIXED_COLUMNS = 30
"""Characters of the columns that every table has: number, status, the mark of the best."""


@dataclass(frozen=True)
class JobResult:
    """One row of the summary.

    Example:
        >>> JobResult(2, "1", {"backbone": "vgg_gap"}, "failed", 12.3, error="no GPU").swept_text
        'backbone=vgg_gap'
    """

    job: int
    """1-based."""
    directory: str
    """Below the sweep's directory."""
    swept: Mapping[str, str]
    """The overrides in which jobs differ."""
    status: JobStatus
    """``skipped`` had completed in an earlier sweep, and has its numbers."""
    seconds: float | None
    error: str | None = None
    metrics: Metrics = field(default_factory=dict)
    """Contents of the job's ``metrics.json``; empty unless it has completed."""
    rows: Sequence[ReportedRow] = ()
    """Contents of the job's ``rows.json``: which of the numbers it reports."""

    @property
    def swept_text(self) -> str:
        """See :func:`overrides_text`."""
        return overrides_text(self.swept)


def overrides_text(overrides: Mapping[str, str]) -> str:
    """Return overrides as they are given on the command line.

    Example:
        >>> overrides_text({"backbone": "vgg_gap", "seed": "1"})
        'backbone=vgg_gap seed=1'
    """
    return " ".join(f"{key}={value}" for key, value in overrides.items())


def reported_rows(results: Sequence[JobResult]) -> dict[str, ReportedRow]:
    """Return the numbers that any job reports, by key, in their order."""
    return {row.key: row for result in results for row in result.rows}


def chosen_metric(results: Sequence[JobResult], preferred: Sequence[str]) -> str | None:
    """Return the first of some keys that every job with numbers has and reports, or None.

    Example:
        >>> row = ReportedRow("val/loss", "loss", "min")
        >>> result = JobResult(1, "0", {}, "completed", 1.0, metrics={"val/loss": 0.5}, rows=[row])
        >>> chosen_metric([result], ["test/localization/gt_known_error", "val/loss"])
        'val/loss'
    """
    measured, rows = [result.metrics for result in results if result.metrics], reported_rows(results)
    in_all = (key for key in preferred if all(_number(metrics, key) is not None for metrics in measured))
    return next((key for key in in_all if key in rows), None)


def best_job(results: Sequence[JobResult], metric: str) -> JobResult | None:
    """Return the job with the best value in the direction that the jobs report; the first of equals.

    Args:
        results: Jobs without the number, and numbers that are not finite, do not take part.
        metric: Key in ``metrics.json``.

    Returns:
        None where no job reports the number.

    Example:
        >>> row = ReportedRow("pxap", "PxAP", "max")
        >>> jobs = [JobResult(i, "", {}, "completed", 1.0, metrics={"pxap": i / 4}, rows=[row]) for i in (1, 2)]
        >>> best_job(jobs, "pxap").job
        2
    """
    row = reported_rows(results).get(metric)
    if row is None:
        return None
    sign = 1 if row.direction == "min" else -1
    values = [(sign * value, result) for result in results if (value := _number(result.metrics, metric)) is not None]
    return min(values, key=lambda pair: pair[0], default=(0.0, None))[1]


def write_summary(path: Path, results: Sequence[JobResult]) -> None:
    """Write a row per job, or leave the old file as it was; errors and accuracies are fractions.

    Args:
        path: ``sweep_summary.csv``.
        results: So far; each number that a job reports has a column, and each CAM threshold with its source, and
            whether training saw boxes; where only part of a split was measured, so have its numbers of images.
    """
    swept = list(dict.fromkeys(name for result in results for name in result.swept))
    sources = (key for result in results for key in result.metrics if key.endswith(_SOURCES))
    splits = (row.key.partition("/")[0] for result in results for row in result.rows if row.part)
    parts = (f"{split}/{count}" for split in splits for count in ("num_images", "num_images_in_split"))
    numbers = [key for key in dict.fromkeys((*reported_rows(results), *sources, *parts)) if _in_any(key, results)]
    rows = []
    for result in results:
        seconds = "" if result.seconds is None else f"{result.seconds:.1f}"
        row: list[object] = [result.job, result.directory, result.status, result.error or "", seconds]
        row += [result.swept.get(name, "") for name in swept]
        rows.append(row + [result.metrics.get(key, "") for key in numbers])
    write_csv(path, ["job", "directory", "status", "error", "seconds", *swept, *numbers], rows)


def summary_table(results: Sequence[JobResult], metric: str | None, width: int) -> Table:
    """Lay out the jobs for a terminal: errors and accuracies in percent with their threshold's source.

    Args:
        results: Of all jobs.
        metric: What they are compared by: the first column of numbers, with its best job marked.
        width: Of the terminal; as many of the numbers on test are shown as fit, first the one that jobs are compared by
            on val. All are in ``sweep_summary.csv``.

    Example:
        >>> summary_table([JobResult(1, "0", {"seed": "1"}, "failed", None, error="no GPU")], None, 80).row_count
        1
    """
    best = best_job(results, metric) if metric else None
    swept = list(dict.fromkeys(name for result in results for name in result.swept))
    columns = _columns(results, metric, width - _FIXED_COLUMNS - sum(_swept_width(name, results) for name in swept))
    table = Table(title="%", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("job", justify="right", no_wrap=True)
    for name in swept:
        table.add_column(Text(name), overflow="fold", min_width=8)
    table.add_column("status", no_wrap=True)
    for row in columns:
        table.add_column(Text("\n".join(_heading(row))), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for result in results:
        cells = [str(result.job), *(result.swept.get(name, "") for name in swept), result.status]
        cells += [_shown(row.key, result) for row in columns]
        # Not markup: brackets of an override would be read as styles.
        table.add_row(*map(Text, [*cells, "best" if result is best else ""]), style="bold" if result is best else None)
    return table


def _columns(results: Sequence[JobResult], metric: str | None, room: int) -> list[ReportedRow]:
    rows = reported_rows(results)
    on_test = [key for key in rows if key.startswith("test/")]
    same_on_test = f"test/{(metric or '').partition('/')[2]}"
    columns: list[ReportedRow] = []
    for key in dict.fromkeys((metric, same_on_test, *on_test)):
        if key not in rows or not _in_any(key, results):
            continue
        row = rows[key]
        room -= 1 + max(len(part) for part in (*_heading(row), *(_shown(row.key, result) for result in results)))
        if columns and room < 0:
            break
        columns.append(row)
    return columns


def _heading(row: ReportedRow) -> list[str]:
    return [row.key.partition("/")[0], *row.title.split()]


def _swept_width(name: str, results: Sequence[JobResult]) -> int:
    return 1 + max(8, len(name), *(len(result.swept.get(name, "")) for result in results))


def _in_any(key: str, results: Sequence[JobResult]) -> bool:
    return any(key in result.metrics for result in results)


def _number(metrics: Metrics, key: str) -> float | None:
    value = metrics.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _shown(key: str, result: JobResult) -> str:
    value = _number(result.metrics, key)
    if value is None:
        return ""
    if key.endswith("loss"):  # the only reported numbers that are no fractions
        return f"{value:.3g}"
    row = next((row for row in result.rows if row.key == key), None)
    words = (row.threshold_source, "part" if row.part else "", row.supervision) if row else ()
    return " ".join([f"{100 * value:.2f}", *filter(None, words)])

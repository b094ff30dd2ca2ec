"""What became of a sweep's jobs: ``sweep_summary.csv`` and the table on the terminal."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from camloc.experiment.run_directory import replaced

_SOURCE = "test/localization/threshold_source"
# Key in metrics.json, and its name in the table, where the source stands beside the threshold.
_NUMBERS = {
    "test/classification/top1_error": "top-1 cls",
    "test/localization/top1_error": "top-1 loc",
    "test/localization/gt_known_error": "GT-known",
    "test/localization/cam_threshold": "threshold",
    _SOURCE: "",
    "test/localization/max_box_acc_v2": "BoxAccV2",
    "test/localization/pxap": "PxAP",
}

Metrics = Mapping[str, float | int | str]


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
    status: Literal["completed", "failed", "interrupted", "skipped"]
    """``skipped`` had been completed before, and has its numbers."""
    seconds: float | None
    error: str | None = None
    metrics: Metrics = field(default_factory=dict)
    """Contents of the job's ``metrics.json``; empty unless it has completed."""

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


def chosen_metric(results: Sequence[JobResult], preferred: Sequence[str]) -> str | None:
    """Return the first of some keys that every job with numbers has, or None.

    Example:
        >>> result = JobResult(1, "0", {}, "completed", 1.0, metrics={"val/loss": 0.5})
        >>> chosen_metric([result], ["test/localization/gt_known_error", "val/loss"])
        'val/loss'
    """
    measured = [result.metrics for result in results if result.metrics]
    return next((key for key in preferred if measured and all(_number(m, key) is not None for m in measured)), None)


def best_job(results: Sequence[JobResult], metric: str) -> JobResult | None:
    """Return the job with the least error or loss, or the greatest of any other metric; the first of equals.

    Args:
        results: Jobs without the number, and numbers that are not finite, do not take part.
        metric: Key in ``metrics.json``.

    Example:
        >>> one, two = (JobResult(i, "", {}, "completed", 1.0, metrics={"top1_error": 1 / i}) for i in (1, 2))
        >>> best_job([one, two], "top1_error").job
        2
    """
    sign = 1 if "error" in metric or "loss" in metric else -1
    values = [(sign * value, result) for result in results if (value := _number(result.metrics, metric)) is not None]
    return min(values, key=lambda pair: pair[0], default=(0.0, None))[1]


def write_summary(path: Path, results: Sequence[JobResult], metric: str | None) -> None:
    """Write a row per job, or leave the old file as it was; errors are fractions.

    Args:
        path: ``sweep_summary.csv``.
        results: So far.
        metric: Gets a column too.
    """
    swept = list(dict.fromkeys(name for result in results for name in result.swept))
    wanted = dict.fromkeys((*_NUMBERS, *([metric] if metric else [])))
    numbers = [key for key in wanted if any(key in result.metrics for result in results)]
    with replaced(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["job", "directory", "status", "error", "seconds", *swept, *numbers])
        for result in results:
            seconds = "" if result.seconds is None else f"{result.seconds:.1f}"
            row = [result.job, result.directory, result.status, result.error or "", seconds]
            row += [result.swept.get(name, "") for name in swept]
            writer.writerow(row + [result.metrics.get(key, "") for key in numbers])


def summary_table(results: Sequence[JobResult], metric: str | None) -> Table:
    """Lay out the jobs for a terminal, errors and accuracies in percent, the best one marked.

    Example:
        >>> summary_table([JobResult(1, "0", {"seed": "1"}, "failed", None, error="no GPU")], None).row_count
        1
    """
    best = best_job(results, metric) if metric else None
    columns = {key: name for key, name in _NUMBERS.items() if name and any(key in r.metrics for r in results)}
    if metric and best:
        split, _, name = metric.partition("/")
        columns.setdefault(metric, f"{split} {_NUMBERS.get(f'test/{name}', name.rpartition('/')[2])}")
    swept = list(dict.fromkeys(name for result in results for name in result.swept))
    table = Table(title="test, %", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("job", justify="right", no_wrap=True)
    for name in swept:
        table.add_column(Text(name), overflow="fold", min_width=8)
    table.add_column("status", no_wrap=True)
    for name in columns.values():
        table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for result in results:
        cells = [str(result.job), *(result.swept.get(name, "") for name in swept), result.status]
        cells += [_shown(key, result.metrics) for key in columns]
        # Not markup: brackets of an override would be read as styles.
        table.add_row(*map(Text, [*cells, "best" if result is best else ""]), style="bold" if result is best else None)
    return table


def _number(metrics: Metrics, key: str) -> float | None:
    value = metrics.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _shown(key: str, metrics: Metrics) -> str:
    value = _number(metrics, key)
    if value is None:
        return ""
    if key.endswith("cam_threshold"):
        return f"{value:.3g} {metrics.get(_SOURCE, '')}".rstrip()
    return f"{value:.3g}" if key.endswith("loss") else f"{100 * value:.2f}"

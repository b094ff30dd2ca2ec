import csv
import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from camloc.experiment.sweep.summary import (
    JobResult,
    best_job,
    chosen_metric,
    summary_table,
    write_summary,
)

GT_KNOWN = "test/localization/gt_known_error"


def completed(job: int, metrics: Mapping[str, float | str], **swept: str) -> JobResult:
    return JobResult(job, str(job - 1), swept, "completed", 2.0, metrics=metrics)


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("val/localization/top1_error", 2),
        ("val/loss", 2),
        ("test/localization/max_box_acc_v2", 3),
        ("test/localization/pxap", 3),
    ],
)
def test_the_best_job_has_the_least_error_or_the_greatest_accuracy(metric: str, best: int) -> None:
    values = (0.5, 0.25, 0.75, float("nan"), 0.25)
    jobs = [completed(i, {metric: value}) for i, value in enumerate(values, start=1)]
    result = best_job([*jobs, JobResult(6, "5", {}, "failed", 1.0), completed(7, {metric: "text"})], metric)
    assert result is not None
    assert result.job == best


def test_without_a_number_no_job_is_the_best() -> None:
    assert best_job([], GT_KNOWN) is None
    assert best_job([JobResult(1, "0", {}, "failed", 1.0)], GT_KNOWN) is None


def test_jobs_are_compared_by_the_first_key_that_all_of_them_have() -> None:
    both, one = completed(1, {"a": 0.1, "b": 0.2}), completed(2, {"b": 0.3, "a": float("inf")})
    failed = JobResult(3, "2", {}, "failed", 1.0)
    assert chosen_metric([both, one, failed], ["a", "b"]) == "b"
    assert chosen_metric([both, failed], ["a", "b"]) == "a"
    assert chosen_metric([both, one], ["c"]) is None
    assert chosen_metric([failed], ["a"]) is None


def test_the_file_has_a_column_per_swept_override_and_per_number(tmp_path: Path) -> None:
    path = tmp_path / "sweep_summary.csv"
    source = "test/localization/threshold_source"
    results = [
        completed(1, {GT_KNOWN: 0.5, source: "val", "val/loss": 1.5, "val/other": 3.0}, backbone="vgg_gap"),
        JobResult(2, "1", {"backbone": "a,b", "+x": "[1]"}, "failed", None, error='no "GPU", sorry'),
    ]
    write_summary(path, results[:1], None)
    write_summary(path, results, "val/loss")
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "job": "1",
        "directory": "0",
        "status": "completed",
        "error": "",
        "seconds": "2.0",
        "backbone": "vgg_gap",
        "+x": "",
        GT_KNOWN: "0.5",
        source: "val",
        "val/loss": "1.5",
    }
    assert second == {
        "job": "2",
        "directory": "1",
        "status": "failed",
        "error": 'no "GPU", sorry',
        "seconds": "",
        "backbone": "a,b",
        "+x": "[1]",
        GT_KNOWN: "",
        source: "",
        "val/loss": "",
    }
    assert list(tmp_path.iterdir()) == [path]


def test_a_summary_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "sweep_summary.csv"
    write_summary(path, [completed(1, {})], None)
    old = path.read_bytes()
    broken = completed(2, {})
    object.__setattr__(broken, "seconds", "soon")
    with pytest.raises(ValueError, match="format code"):
        write_summary(path, [broken], None)
    assert path.read_bytes() == old


def test_the_table_shows_percent_marks_the_best_and_keeps_brackets() -> None:
    cut: dict[str, float | str] = {
        "test/localization/cam_threshold": 0.2,
        "test/localization/threshold_source": "fixed",
    }
    results = [
        completed(1, {**cut, GT_KNOWN: 0.5}, sizes="[red]"),
        completed(2, {**cut, GT_KNOWN: 0.4321}, sizes="[2]"),
        JobResult(3, "2", {"sizes": "[3]"}, "failed", 1.0, error="x"),
    ]
    console = Console(width=80, file=io.StringIO())
    with console.capture() as printed:
        console.print(summary_table(results, GT_KNOWN))
    rows = [line.split() for line in printed.get().splitlines()]
    assert ["1", "[red]", "completed", "50.00", "0.2", "fixed"] in rows
    assert ["2", "[2]", "completed", "43.21", "0.2", "fixed", "best"] in rows
    assert ["3", "[3]", "failed"] in rows

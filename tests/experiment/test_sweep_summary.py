import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from camloc.experiment.run_directory import ReportedRow
from camloc.experiment.sweep.summary import (
    JobResult,
    best_job,
    chosen_metric,
    reported_rows,
    summary_table,
    write_summary,
)
from camloc.export.csv_file import read_csv

GT_KNOWN = ReportedRow("test/localization/gt_known_error", "GT-known localization error", "min", "val")
PXAP = ReportedRow("test/localization/pxap", "PxAP", "max")
LOSS = ReportedRow("val/loss", "loss", "min")


def completed(job: int, metrics: Mapping[str, float | str], *rows: ReportedRow, **swept: str) -> JobResult:
    return JobResult(job, str(job - 1), swept, "completed", 2.0, metrics=metrics, rows=rows)


@pytest.mark.parametrize(("direction", "best"), [("min", 2), ("max", 3)])
def test_the_best_job_follows_the_reported_direction_not_the_name(direction: str, best: int) -> None:
    row = ReportedRow("val/an_error", "error", direction)  # type: ignore[arg-type] # a str of the two
    values = (0.5, 0.25, 0.75, float("nan"), 0.25)
    jobs = [completed(i, {row.key: value}, row) for i, value in enumerate(values, start=1)]
    result = best_job([*jobs, JobResult(6, "5", {}, "failed", 1.0), completed(7, {row.key: "text"}, row)], row.key)
    assert result is not None
    assert result.job == best


def test_without_a_number_no_job_is_the_best() -> None:
    assert best_job([], GT_KNOWN.key) is None
    assert best_job([JobResult(1, "0", {}, "failed", 1.0)], GT_KNOWN.key) is None
    assert best_job([completed(1, {GT_KNOWN.key: 0.5})], GT_KNOWN.key) is None  # its direction is not known
    assert best_job([completed(1, {}, GT_KNOWN)], GT_KNOWN.key) is None


def test_jobs_are_compared_by_the_first_key_that_all_of_them_have_and_report() -> None:
    a, b, c = (ReportedRow(key, key, "min") for key in "abc")
    both, one = completed(1, {"a": 0.1, "b": 0.2}, a, b), completed(2, {"b": 0.3, "a": float("inf")}, a, b)
    failed = JobResult(3, "2", {}, "failed", 1.0)
    assert chosen_metric([both, one, failed], ["a", "b"]) == "b"
    assert chosen_metric([both, failed], ["a", "b"]) == "a"
    assert chosen_metric([both, one], ["c"]) is None
    assert chosen_metric([failed], ["a"]) is None
    assert chosen_metric([completed(1, {"c": 0.5}, a)], ["c"]) is None
    assert list(reported_rows([both, completed(2, {}, c)])) == ["a", "b", "c"]


def test_the_file_has_a_column_per_swept_override_number_and_threshold(tmp_path: Path) -> None:
    path = tmp_path / "sweep_summary.csv"
    threshold, source = "test/localization/cam_threshold", "test/localization/threshold_source"
    metrics: dict[str, float | str] = {
        GT_KNOWN.key: 0.5,
        threshold: 0.2,
        source: "val",
        LOSS.key: 1.5,
        "val/other": 3.0,
    }
    results = [
        completed(1, metrics, GT_KNOWN, LOSS, PXAP, backbone="vgg_gap"),
        JobResult(2, "1", {"backbone": "a,b", "+x": "[1]"}, "failed", None, error='no "GPU", sorry'),
    ]
    write_summary(path, results[:1])
    write_summary(path, results)
    first, second = read_csv(path)
    assert first == {
        "job": "1",
        "directory": "0",
        "status": "completed",
        "error": "",
        "seconds": "2.0",
        "backbone": "vgg_gap",
        "+x": "",
        GT_KNOWN.key: "0.5",
        LOSS.key: "1.5",
        threshold: "0.2",
        source: "val",
    }
    assert second == {
        "job": "2",
        "directory": "1",
        "status": "failed",
        "error": 'no "GPU", sorry',
        "seconds": "",
        "backbone": "a,b",
        "+x": "[1]",
        **dict.fromkeys((GT_KNOWN.key, LOSS.key, threshold, source), ""),
    }
    assert list(tmp_path.iterdir()) == [path]


def test_a_summary_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "sweep_summary.csv"
    write_summary(path, [completed(1, {})])
    old = path.read_bytes()
    broken = completed(2, {})
    object.__setattr__(broken, "seconds", "soon")
    with pytest.raises(ValueError, match="format code"):
        write_summary(path, [broken])
    assert path.read_bytes() == old


def printed(results: list[JobResult], metric: str | None, width: int) -> list[list[str]]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as text:
        console.print(summary_table(results, metric, console.width))
    assert max(len(line) for line in text.get().splitlines()) <= width
    return [line.split() for line in text.get().splitlines()]


def test_the_table_shows_percent_with_its_source_marks_the_best_and_keeps_brackets() -> None:
    results = [
        completed(1, {GT_KNOWN.key: 0.5, PXAP.key: 0.25}, GT_KNOWN, PXAP, sizes="[red]"),
        completed(2, {GT_KNOWN.key: 0.4321, PXAP.key: 0.125}, GT_KNOWN, PXAP, sizes="[2]"),
        JobResult(3, "2", {"sizes": "[3]"}, "failed", 1.0, error="x"),
    ]
    rows = printed(results, GT_KNOWN.key, 80)
    assert ["1", "[red]", "completed", "50.00", "val", "25.00"] in rows
    assert ["2", "[2]", "completed", "43.21", "val", "12.50", "best"] in rows
    assert ["3", "[3]", "failed"] in rows
    by_accuracy = printed(results, PXAP.key, 80)
    assert ["1", "[red]", "completed", "25.00", "50.00", "val", "best"] in by_accuracy


def test_numbers_of_val_are_shown_only_when_jobs_are_compared_by_them() -> None:
    results = [completed(1, {LOSS.key: 1.5, PXAP.key: 0.25}, LOSS, PXAP)]
    assert ["1", "completed", "25.00"] in printed(results, None, 80)
    assert ["1", "completed", "1.5", "25.00", "best"] in printed(results, LOSS.key, 80)


def test_a_narrow_terminal_gets_the_compared_number_and_as_many_as_fit() -> None:
    rows = [ReportedRow(f"test/localization/{name}", f"{name} localization", "min") for name in "abcdef"]
    results = [completed(1, {row.key: 0.5 for row in rows}, *rows)]
    wide, narrow = (
        next(line for line in printed(results, rows[3].key, width) if "completed" in line) for width in (160, 60)
    )
    assert wide.count("50.00") == 6
    assert 1 <= narrow.count("50.00") < 6
    assert printed(results, rows[3].key, 40)[-2].count("50.00") == 1


def test_the_compared_number_stands_first_then_the_same_on_test() -> None:
    val = GT_KNOWN._replace(key="val/localization/gt_known_error")
    results = [completed(1, {PXAP.key: 0.125, GT_KNOWN.key: 0.5, val.key: 0.25}, PXAP, GT_KNOWN, val)]
    assert ["1", "completed", "25.00", "val", "50.00", "val", "12.50", "best"] in printed(results, val.key, 80)


def test_numbers_of_a_part_of_a_split_are_marked(tmp_path: Path) -> None:
    whole = completed(1, {GT_KNOWN.key: 0.5, "test/num_images": 20, "test/num_images_in_split": 20}, GT_KNOWN)
    part = completed(
        2,
        {GT_KNOWN.key: 0.25, "test/num_images": 8, "test/num_images_in_split": 20},
        GT_KNOWN._replace(part="8 of 20 images"),
    )
    rows = printed([whole, part], GT_KNOWN.key, 80)
    assert ["1", "completed", "50.00", "val"] in rows
    assert ["2", "completed", "25.00", "val", "part", "best"] in rows
    write_summary(tmp_path / "a.csv", [whole, part])
    counts = [(row["test/num_images"], row["test/num_images_in_split"]) for row in read_csv(tmp_path / "a.csv")]
    assert counts == [("20", "20"), ("8", "20")]
    write_summary(tmp_path / "a.csv", [whole])
    assert "test/num_images" not in read_csv(tmp_path / "a.csv")[0]

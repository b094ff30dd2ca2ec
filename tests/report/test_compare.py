import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camloc.metrics.functional.bootstrap import Interval
from camloc.metrics.functional.per_image import PerImage
from camloc.report.compare import ComparedRow, compare, main, read_run

NUM_TEST, NUM_VAL = 200, 50
THRESHOLDS = np.array([0.0, 0.2, 0.4])
METRICS = {"test/localization/cam_threshold": 0.2, "test/localization/threshold_source": "fixed"}


def per_image(num_images: int, num_found: int, num_right: int) -> PerImage:
    """The first images are found, at 0.2 only; the last have the right class, the others rank 2."""
    places = np.arange(num_images)
    iou = np.full((num_images, 3), 0.3)
    iou[:num_found, 1] = 0.5
    rank = np.where(places >= num_images - num_right, 0, 2)
    return PerImage(np.array([f"{place}.jpg" for place in places]), places % 7, rank, iou, THRESHOLDS)


def write(run: Path, num_found: int, num_right: int, metrics: dict[str, Any] | None = None) -> Path:
    per_image(NUM_TEST, num_found, num_right).save(run / "per_image" / "test.npz")
    per_image(NUM_VAL, 30, 20).save(run / "per_image" / "val.npz")
    both = max(0, num_found + num_right - NUM_TEST)
    numbers = {
        "test/classification/top1_error": 1 - num_right / NUM_TEST,
        "test/localization/top1_error": 1 - both / NUM_TEST,
        "test/localization/top5_error": 1 - num_found / NUM_TEST,
        "test/localization/gt_known_error": 1 - num_found / NUM_TEST,
    }
    (run / "metrics.json").write_text(json.dumps(METRICS | numbers | (metrics or {})), encoding="utf-8")
    return run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "a", 150, 120), write(tmp_path / "b", 110, 122)


def test_every_error_is_compared(runs: tuple[Path, Path]) -> None:
    rows = compare(*(read_run(run, 0.5) for run in runs))
    assert [(row.name, round(row.error_a, 9), round(row.error_b, 9)) for row in rows] == [
        ("top-1 classification", 0.4, 0.39),
        ("top-1 localization", 0.65, 0.84),
        ("top-5 localization", 0.25, 0.45),
        ("GT-known localization", 0.25, 0.45),
    ]
    assert [row.difference.value for row in rows] == [0.01, -0.19, -0.2, -0.2]
    assert [row.difference.excludes_zero for row in rows] == [False, True, True, True]
    # 40 of 200 images differ, a binomial count: 0.2 and 1.96 standard errors of 0.0283 to either side.
    assert (rows[3].difference.low, rows[3].difference.high) == pytest.approx((-0.255, -0.145), abs=0.006)


def run_command(runs: tuple[Path, Path], columns: int) -> list[str]:
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", "-m", "camloc.report.compare", *map(str, runs)]
    finished = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout.splitlines()


def test_the_command_prints_one_table(runs: tuple[Path, Path]) -> None:
    lines = run_command(runs, columns=100)
    assert lines[:2] == [f"{name}: {run} (CAM threshold 0.2, fixed)" for name, run in zip("AB", runs, strict=True)]
    shown = [line.split() for line in lines]
    for row in compare(*(read_run(run, 0.5) for run in runs)):
        a, b = f"{100 * row.error_a:.2f}", f"{100 * row.error_b:.2f}"
        assert f"{row.name} {a} {b} {row.difference_text} {row.interval_text} {row.verdict}".split() in shown
    assert sum("told apart from zero" in line for line in lines) == 4


def test_eighty_columns_break_no_number(runs: tuple[Path, Path]) -> None:
    lines = run_command(runs, columns=80)[2:]
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    for row in compare(*(read_run(run, 0.5) for run in runs)):
        assert any(line.rstrip().endswith(f"{row.interval_text} {row.verdict}") for line in lines)


def test_a_run_does_not_differ_from_itself(runs: tuple[Path, Path]) -> None:
    rows = compare(*(read_run(runs[0], 0.5) for _ in "ab"))
    assert [row.difference for row in rows] == [Interval(0.0, 0.0, 0.0)] * 4
    assert {row.verdict for row in rows} == {"not told apart from zero"}


def test_texts_of_a_row() -> None:
    row = ComparedRow("x", 0.5, 0.25, Interval(0.25, 0.125, 0.375))
    assert (row.difference_text, row.interval_text) == ("+25.00", "[+12.50, +37.50]")
    assert row.verdict == "told apart from zero"
    assert ComparedRow("x", 0.5, 0.5, Interval(0, -0.1, 0)).verdict == "not told apart from zero"


class TestThresholdSources:
    def test_val_chooses_again(self, runs: tuple[Path, Path]) -> None:
        run = write(runs[0], 150, 120, {"test/localization/threshold_source": "val"})
        outcome = read_run(run, 0.5).outcomes["test/localization/top1_error"]
        assert outcome.choice_ids is not None
        assert len(outcome.choice_ids) == NUM_VAL

    @pytest.mark.parametrize("source", ["fixed", "oracle"])
    def test_val_images_are_needed_for_nothing_else(self, source: str, runs: tuple[Path, Path]) -> None:
        run = write(runs[0], 150, 120, {"test/localization/threshold_source": source})
        (run / "per_image" / "val.npz").unlink()
        measured = read_run(run, 0.5)
        assert measured.outcomes["test/localization/gt_known_error"].select == source
        assert measured.label == f"{run} (CAM threshold 0.2, {source})"

    def test_runs_with_thresholds_of_different_sources_are_compared(self, runs: tuple[Path, Path]) -> None:
        a = read_run(write(runs[0], 150, 120, {"test/localization/threshold_source": "val"}), 0.5)
        rows = compare(a, read_run(runs[1], 0.5))
        assert [row.difference.value for row in rows] == [0.01, -0.19, -0.2, -0.2]


class TestMistakes:
    """One line on stderr, exit code 1, no traceback."""

    @staticmethod
    def message(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("cannot compare: ")
        assert captured.err.endswith("\n")
        assert captured.err.count("\n") == 1
        return captured.err

    @pytest.mark.parametrize("name", ["metrics.json", "per_image/test.npz"])
    def test_a_file_is_missing(self, name: str, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        (runs[1] / name).unlink()
        assert f"{runs[1] / name} is not there" in self.message(capsys, *runs)

    def test_val_is_missing_where_it_chose(self, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        write(runs[0], 150, 120, {"test/localization/threshold_source": "val"})
        (runs[0] / "per_image" / "val.npz").unlink()
        assert f"{runs[0] / 'per_image' / 'val.npz'} is not there" in self.message(capsys, *runs)

    def test_no_run_at_all(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "metrics.json is not there; give the directory" in self.message(capsys, tmp_path, tmp_path)

    @pytest.mark.parametrize(
        ("content", "found"),
        [(b"{", "is not JSON"), (b"\xff\n", "is not JSON"), (b"[1]", "got list"), (b"{}", "holds no number under")],
    )
    def test_unreadable_metrics(
        self, content: bytes, found: str, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (runs[0] / "metrics.json").write_bytes(content)
        message = self.message(capsys, *runs)
        assert str(runs[0] / "metrics.json") in message
        assert found in message

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ({"test/localization/threshold_source": "prediction"}, "got 'prediction'"),
            ({"test/localization/cam_threshold": 0.3}, "0.3 is not among the 3 measured"),
            ({"test/localization/cam_threshold": None}, "no number under test/localization/cam_threshold, got None"),
            ({"test/localization/top5_error": "low"}, "no number under test/localization/top5_error, got 'low'"),
            ({"test/localization/gt_known_error": 0.3}, "gt_known_error 0.3, its per_image files give 0.25 at IoU 0.5"),
            ({"test/classification/top1_error": 0.3}, "top1_error 0.3, its per_image files give 0.4"),
        ],
    )
    def test_files_that_do_not_belong_together(
        self, change: dict[str, Any], found: str, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        message = self.message(capsys, write(runs[0], 150, 120, change), runs[1])
        assert str(runs[0]) in message
        assert found in message

    def test_another_iou_threshold(self, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        assert "at IoU 0.3; " in self.message(capsys, *runs, "--iou-threshold", 0.3)

    def test_other_images(self, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        path = runs[1] / "per_image" / "test.npz"
        old = PerImage.load(path)
        ids = np.where(np.arange(NUM_TEST) == 5, "other.jpg", old.image_ids)
        PerImage(ids, old.target, old.rank, old.iou, old.cam_thresholds).save(path)
        message = self.message(capsys, *runs)
        assert "different test images: 1 only in the first ['5.jpg'], 1 only in the second ['other.jpg']" in message

    def test_a_file_cut_off(self, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        path = runs[1] / "per_image" / "test.npz"
        path.write_bytes(path.read_bytes()[:100])
        assert f"{path} holds no outcomes per image" in self.message(capsys, *runs)


def test_runs_measured_at_another_iou_threshold(tmp_path: Path) -> None:
    run = write(tmp_path / "a", 150, 120)
    everything = {f"test/localization/{name}_error": 0.0 for name in ("top5", "gt_known")}
    write(run, 150, 120, everything | {"test/localization/top1_error": 0.4})
    errors = {key: outcome.error for key, outcome in read_run(run, 0.3).outcomes.items()}
    assert errors["test/localization/gt_known_error"] == 0

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch

from camloc.export.outcomes import write_outcomes
from camloc.metrics.functional import per_image as saved
from camloc.metrics.functional.bootstrap import Interval
from camloc.metrics.functional.per_image import PerImage
from camloc.records import SplitOutcome
from camloc.report.compare import ComparedRow, compare, main
from camloc.report.measured_run import read_run

EXPLORED = run_path(str(Path(__file__).parent / "explorer" / "pages.py"))
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


def write(
    run: Path, num_found: int, num_right: int, metrics: dict[str, Any] | None = None, iou_threshold: float = 0.5
) -> Path:
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
    (run / "config.yaml").write_text(f"localization:\n  iou_threshold: {iou_threshold}\n", encoding="utf-8")
    return run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "a", 150, 120), write(tmp_path / "b", 110, 122)


def test_every_error_is_compared(runs: tuple[Path, Path]) -> None:
    rows = compare(*(read_run(run) for run in runs))
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


class Shown:
    """Run the command in a terminal of some width."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def lines(self, runs: tuple[Path, Path], columns: int) -> list[str]:
        self.monkeypatch.setenv("COLUMNS", str(columns))
        assert main([str(run) for run in runs]) == 0
        captured = self.capsys.readouterr()
        assert captured.err == ""
        return captured.out.splitlines()


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(capsys, monkeypatch)


def test_the_command_prints_one_table(runs: tuple[Path, Path], shown: Shown) -> None:
    lines = shown.lines(runs, columns=100)
    assert lines[:2] == [f"{name}: {run} (CAM threshold 0.2, fixed)" for name, run in zip("AB", runs, strict=True)]
    words = [line.split() for line in lines]
    for row in compare(*(read_run(run) for run in runs)):
        a, b = f"{100 * row.error_a:.2f}", f"{100 * row.error_b:.2f}"
        assert f"{row.name} {a} {b} {row.difference_text} {row.interval_text} {row.verdict}".split() in words


def test_eighty_columns_break_no_number(runs: tuple[Path, Path], shown: Shown) -> None:
    lines = shown.lines(runs, columns=80)[2:]
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    for row in compare(*(read_run(run) for run in runs)):
        assert any(line.rstrip().endswith(f"{row.interval_text} {row.verdict}") for line in lines)


def test_a_run_does_not_differ_from_itself(runs: tuple[Path, Path]) -> None:
    rows = compare(*(read_run(runs[0]) for _ in "ab"))
    assert [row.difference for row in rows] == [Interval(0.0, 0.0, 0.0)] * 4
    assert {row.verdict for row in rows} == {"not significant"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", None])
def test_a_damaged_or_oversized_file_of_the_devkits_errors_is_named(
    content: bytes | None, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs[0] / "per_image" / "test_ilsvrc.npz"
    if content is None:
        np.savez_compressed(path, counts=np.zeros((100_000, 1), np.uint8), image_ids=np.zeros(100_000, "U1"))
        monkeypatch.setattr(saved, "MAX_BYTES", 90_000)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"test_ilsvrc\.npz holds no outcomes per image: "):
        read_run(runs[0])


def test_errors_by_the_rules_of_the_devkit_are_compared_without_blacklisted_images(runs: tuple[Path, Path]) -> None:
    for run, localized in zip(runs, (1, 3), strict=True):
        counts = torch.zeros(NUM_TEST, 5, dtype=torch.bool)
        counts[:localized, :2] = True
        counts[-1, 4] = counts[-1, 1] = True  # localized, and blacklisted
        ids = [f"{place}.jpg" for place in range(NUM_TEST)]
        write_outcomes(
            run / "per_image" / "test_ilsvrc.npz", SplitOutcome(ids, torch.zeros(NUM_TEST), {"counts": counts})
        )
        error = 1 - localized / (NUM_TEST - 1)
        write(run, 150, 120, {f"test/localization/ilsvrc_top{k}_error": error for k in (1, 5)})
    rows = compare(*(read_run(run) for run in runs))[4:]
    assert [row.name for row in rows] == ["top-1, devkit", "top-5, devkit"]
    assert [row.difference.value for row in rows] == pytest.approx([2 / 199] * 2)
    (runs[0] / "per_image" / "test_ilsvrc.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"test_ilsvrc\.npz holds no outcomes per image"):
        read_run(runs[0])


def test_images_that_share_names_but_not_their_objects_are_not_paired(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for run, share in zip(runs, (0.25, 0.25), strict=True):
        (run / "predictions.csv").write_text(f"image_id,true_class,object_share\n0.jpg,0,{share}\n1.jpg,1,\n")
    assert main([str(run) for run in runs]) == 0
    (runs[1] / "predictions.csv").write_text("image_id,true_class,object_share\n0.jpg,0,0.26\n1.jpg,1,\n")
    capsys.readouterr()
    assert main([str(run) for run in runs]) == 1
    said = "cannot be paired: the images share names but not their objects; measure both on the same data\n"
    assert capsys.readouterr().err == f"error: {runs[0]} and {runs[1]} {said}"
    for text in ("image_id,true_class,object_share\n0.jpg,0,large\n", "image_id\n0.jpg\n"):
        (runs[1] / "predictions.csv").write_text(text)
        with pytest.raises(ValueError, match=r"predictions\.csv cannot be read: .*; evaluate the run again"):
            read_run(runs[1])


def test_a_threshold_from_a_val_that_was_not_measured_is_said(runs: tuple[Path, Path]) -> None:
    write(runs[0], 150, 120, {"test/localization/threshold_source": "val"})
    (runs[0] / "per_image" / "val.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"has not measured val, .*: evaluate it with threshold_from=val"):
        read_run(runs[0])


def test_texts_of_a_row() -> None:
    row = ComparedRow("x", 0.5, 0.25, Interval(0.25, 0.125, 0.375))
    assert (row.difference_text, row.interval_text) == ("+25.00", "[+12.50, +37.50]")
    assert row.verdict == "significant"
    assert ComparedRow("x", 0.5, 0.5, Interval(0, -0.1, 0)).verdict == "not significant"


class TestThresholdSources:
    def test_val_chooses_again(self, runs: tuple[Path, Path]) -> None:
        run = write(runs[0], 150, 120, {"test/localization/threshold_source": "val"})
        outcome = read_run(run).outcomes["test/localization/top1_error"]
        assert outcome.choice_ids is not None
        assert len(outcome.choice_ids) == NUM_VAL

    @pytest.mark.parametrize("source", ["fixed", "oracle"])
    def test_val_images_are_needed_for_nothing_else(self, source: str, runs: tuple[Path, Path]) -> None:
        run = write(runs[0], 150, 120, {"test/localization/threshold_source": source})
        (run / "per_image" / "val.npz").unlink()
        measured = read_run(run)
        assert measured.outcomes["test/localization/gt_known_error"].select == source
        assert measured.label == f"{run} (CAM threshold 0.2, {source})"

    def test_runs_with_thresholds_of_different_sources_are_compared(self, runs: tuple[Path, Path]) -> None:
        a = read_run(write(runs[0], 150, 120, {"test/localization/threshold_source": "val"}))
        rows = compare(a, read_run(runs[1]))
        assert [row.difference.value for row in rows] == [0.01, -0.19, -0.2, -0.2]


class TestMistakes:
    """One line on stderr, exit code 1, no traceback."""

    @staticmethod
    def message(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.endswith("\n")
        assert captured.err.count("\n") == 1
        return captured.err

    @pytest.mark.parametrize("name", ["metrics.json", "config.yaml", "per_image/test.npz"])
    def test_a_file_is_missing(self, name: str, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        (runs[1] / name).unlink()
        assert f"{runs[1] / name} does not exist" in self.message(capsys, *runs)

    def test_val_is_missing_where_it_chose(self, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        write(runs[0], 150, 120, {"test/localization/threshold_source": "val"})
        (runs[0] / "per_image" / "val.npz").unlink()
        assert f"{runs[0]} has not measured val, on which its threshold was chosen" in self.message(capsys, *runs)

    def test_no_run_at_all(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "metrics.json does not exist; give the directory" in self.message(capsys, tmp_path, tmp_path)

    @pytest.mark.parametrize(
        ("content", "found"),
        [(b"{", "cannot be read"), (b"\xff\n", "cannot be read"), (b"[1]", "got list"), (b"{}", "has no number under")],
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
            ({"test/localization/gt_known_error": 0.3}, "gt_known_error 0.3, but per_image/ gives 0.25 at IoU 0.5"),
            ({"test/classification/top1_error": 0.3}, "top1_error 0.3, but per_image/ gives 0.4"),
        ],
    )
    def test_files_that_do_not_belong_together(
        self, change: dict[str, Any], found: str, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        message = self.message(capsys, write(runs[0], 150, 120, change), runs[1])
        assert str(runs[0]) in message
        assert found in message

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            ("localization: {iou_threshold: 0.3}", "at IoU 0.3; evaluate the run again"),
            ("localization: {}", "has no fraction under localization.iou_threshold, got None"),
            ("localization: null", "has no fraction under localization.iou_threshold, got None"),
            ("localization: {iou_threshold: high}", "got 'high'"),
            ("{", "config.yaml cannot be read"),
            ("", "must hold a mapping, got NoneType"),
            ("!!python/object/apply:os.getcwd []", "config.yaml cannot be read"),
            ("a: " + "[" * 2000 + "]" * 2000, "config.yaml cannot be read"),
            (
                "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
                + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefgh"))
                + "localization: {iou_threshold: *h}",
                "has no fraction under localization.iou_threshold, got [[",
            ),
        ],
    )
    def test_a_configuration_that_does_not_fit(
        self, content: str, found: str, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (runs[0] / "config.yaml").write_text(content, encoding="utf-8")
        assert found in self.message(capsys, *runs)

    @pytest.mark.parametrize("arguments", [[], ["RUN"], ["RUN", "RUN", "RUN"], ["RUN", "RUN", "--fast"]])
    def test_wrong_arguments(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        captured = capsys.readouterr()
        assert (stopped.value.code, captured.out, captured.err.count("\n")) == (1, "", 1)
        assert captured.err.startswith("error: ")
        assert "camloc compare RUN_A RUN_B" in captured.err

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
    write(run, 150, 120, everything | {"test/localization/top1_error": 0.4}, iou_threshold=0.3)
    errors = {key: outcome.error for key, outcome in read_run(run).outcomes.items()}
    assert errors["test/localization/gt_known_error"] == 0


def test_runs_without_a_classifier_compare_the_gt_known_error_alone(runs: tuple[Path, Path]) -> None:
    for run in runs:
        for split in ("test", "val"):
            path = run / "per_image" / f"{split}.npz"
            replace(PerImage.load(path), rank=None).save(path)
    (row,) = compare(*(read_run(run) for run in runs))
    assert (row.name, row.difference.value) == ("GT-known localization", -0.2)


def test_only_errors_that_both_runs_have_are_compared(runs: tuple[Path, Path]) -> None:
    path = runs[1] / "per_image" / "test.npz"
    replace(PerImage.load(path), rank=None).save(path)
    a, b = (read_run(run) for run in runs)
    assert [row.name for row in compare(a, b)] == [row.name for row in compare(b, a)] == ["GT-known localization"]


def test_runs_of_different_iou_thresholds_are_refused(runs: tuple[Path, Path]) -> None:
    a, b = (read_run(run) for run in runs)
    with pytest.raises(ValueError, match=r"measured at IoU 0\.5 and .* at IoU 0\.3; evaluate both at the same "):
        compare(a, replace(b, iou_threshold=0.3))


def test_a_part_of_test_is_said(runs: tuple[Path, Path]) -> None:
    file = runs[0] / "metrics.json"
    metrics = json.loads(file.read_text())
    file.write_text(json.dumps({**metrics, "test/num_images": 200, "test/num_images_in_split": 5794}))
    assert read_run(runs[0]).label.endswith(", 200 of 5794 images)")
    assert "images" not in read_run(runs[1]).label


class TestPage:
    def test_images_of_both_runs_are_laid_side_by_side(
        self, runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for run in runs:
            EXPLORED["page"](run / "report")
        target = tmp_path / "page"
        assert main([*map(str, runs), "--page", str(target)]) == 0
        assert f"Page: {target / 'index.html'}" in capsys.readouterr().out
        text = (target / "index.html").read_text(encoding="utf-8")
        assert "A, left: " in text
        assert "top-1 localization: " in text
        assert main([*map(str, runs), "--page", str(target)]) == 1
        assert "has a page already" in capsys.readouterr().err

    def test_a_run_without_images_says_so(
        self, runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*map(str, runs), "--page", str(tmp_path / "page")]) == 1
        assert "evaluate the run again to write it" in capsys.readouterr().err


def write_pairs(run: Path, hits: np.ndarray, cut: slice = slice(None)) -> Path:
    """60 images with 1 to 3 of 5 classes each; only pairs in ``cut`` have true boxes, all are classified alike."""
    ids = np.array([f"{image}.jpg" for image in range(60) for _ in range(1 + image % 3)])
    classes = np.array([(image + place) % 5 for image in range(60) for place in range(1 + image % 3)])
    rank = np.arange(len(ids)) % 3
    iou = np.stack([hits * 0.6, hits * 0.7], axis=1)
    pairs = PerImage(ids[cut], classes[cut], rank[cut], iou[cut], np.array([0.2, 0.4]))
    pairs.save(run / "per_image" / "test.npz")
    everything = SplitOutcome(list(ids), torch.from_numpy(classes), {"rank": torch.from_numpy(rank)})
    write_outcomes(run / "per_image" / "test_classification.npz", everything)
    hit = pairs.iou[:, 0] >= 0.5
    numbers = {"test/classification/top1_error": 1 - (rank < 1).mean()}
    for name, limit in (("top1", 1), ("top5", 5), ("gt_known", 99)):
        numbers[f"test/localization/{name}_error"] = 1 - float((hit & (pairs.rank < limit)).mean())  # type: ignore[operator] # there are ranks
    (run / "metrics.json").write_text(json.dumps(METRICS | numbers), encoding="utf-8")
    (run / "config.yaml").write_text("localization:\n  iou_threshold: 0.5\n", encoding="utf-8")
    return run


def test_runs_with_several_labels_are_compared_pair_by_pair_and_images_are_drawn(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    hits_a, hits_b = generator.random((2, 120)) < [[0.7], [0.4]]
    part = slice(20, 110)
    a, b = write_pairs(tmp_path / "a", hits_a, part), write_pairs(tmp_path / "b", hits_b, part)
    rows = {row.name: row for row in compare(read_run(a), read_run(b))}
    assert list(rows) == [
        "top-1 classification",
        "top-1 localization",
        "top-5 localization",
        "GT-known localization",
    ]
    assert rows["top-1 classification"].difference == Interval(0.0, 0.0, 0.0)
    ours = rows["GT-known localization"]
    assert (ours.error_a, ours.error_b) == (1 - hits_a[part].mean(), 1 - hits_b[part].mean())
    # Images in the order of their names are drawn, each with all its pairs.
    pairs = PerImage.load(a / "per_image" / "test.npz")
    names = sorted(set(pairs.image_ids.tolist()))
    of_image = [np.flatnonzero(pairs.image_ids == name) for name in names]
    test_draw, _ = np.random.default_rng(0).spawn(2)
    differences = []
    for _ in range(1000):
        drawn = np.concatenate([of_image[place] for place in test_draw.integers(len(names), size=len(names))])
        differences.append(hits_b[part][drawn].mean() - hits_a[part][drawn].mean())
    assert (ours.difference.low, ours.difference.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))


def test_a_pair_that_only_one_run_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = np.ones(120, dtype=bool)
    a, b = write_pairs(tmp_path / "a", hits), write_pairs(tmp_path / "b", hits, slice(1, None))
    assert main([str(a), str(b)]) == 1
    error = capsys.readouterr().err
    assert "different test images: 1 only in the first ['0.jpg, class 0'], 0 only in the second []" in error

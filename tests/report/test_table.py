import io
import math

import pytest
from rich.console import Console

from camloc.report.table import ResultRow, result_rows, results_table

METRICS: dict[str, float | str | None] = {
    "test/classification/top1_error": 0.334,
    "test/classification/top5_error": 0.122,
    "test/localization/top1_error": 0.572,
    "test/localization/top5_error": 0.4514,
    "test/localization/gt_known_error": 0.40,
    "test/localization/cam_threshold": 0.196,
    "test/localization/threshold_source": "val",
    "test/localization/gt_known_error_at_best": 0.375,
    "test/localization/best_cam_threshold": 0.21,
    "test/localization/centred_box_gt_known_error": 0.5,
    "test/localization/max_box_acc": 0.625,
    "test/localization/max_box_acc_v2": 0.5625,
    "test/localization/pxap": 0.25,
    "test/localization/num_images": 50000,
    "test/loss": 2.5,
}


def rendered(metrics: dict[str, float | str | None], splits: list[str]) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(results_table(metrics, splits))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_number_says_where_its_threshold_came_from() -> None:
    rows = result_rows(METRICS, ["test"])
    assert {row.split for row in rows} == {"test, 50,000 images"}
    assert [(row.name, row.percent_text, row.threshold_text, row.threshold_source) for row in rows] == [
        ("top-1 classification error", "33.40", "", ""),
        ("top-5 classification error", "12.20", "", ""),
        ("top-1 localization error", "57.20", "0.196", "val"),
        ("top-5 localization error", "45.14", "0.196", "val"),
        ("GT-known localization error", "40.00", "0.196", "val"),
        ("GT-known, best threshold", "37.50", "0.21", "oracle"),
        ("GT-known, best centred box", "50.00", "", "oracle"),
        ("MaxBoxAcc (accuracy)", "62.50", "", "oracle"),
        ("MaxBoxAccV2 (accuracy)", "56.25", "", "oracle"),
        ("PxAP (accuracy)", "25.00", "", ""),
    ]


@pytest.mark.parametrize("key", [key for key in METRICS if key.endswith(("_error", "_at_best", "acc", "_v2", "pxap"))])
def test_a_missing_or_null_number_has_no_row(key: str) -> None:
    without = {name: value for name, value in METRICS.items() if name != key}
    assert len(result_rows(without, ["test"])) == 9
    assert result_rows(METRICS | {key: None}, ["test"]) == result_rows(without, ["test"])


def test_missing_thresholds_are_left_blank() -> None:
    (row,) = result_rows({"val/localization/gt_known_error": 0.5}, ["val"])
    assert row == ResultRow("val", "GT-known localization error", 50.0, None, "")
    assert row.threshold_text == ""


def test_zero_is_a_number_like_any_other() -> None:
    metrics: dict[str, float | str | None] = {
        "val/localization/gt_known_error": 0,
        "val/localization/cam_threshold": 0.0,
    }
    (row,) = result_rows(metrics, ["val"])
    assert (row.percent_text, row.threshold_text) == ("0.00", "0")


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0, "0.00"), (1.0, "100.00"), (0.4514, "45.14"), (1 / 3, "33.33"), (2 / 3, "66.67"), (math.nan, "nan")],
)
def test_percent_has_two_decimals(fraction: float, text: str) -> None:
    (row,) = result_rows({"val/classification/top1_error": fraction}, ["val"])
    assert row.percent_text == text


def test_splits_come_in_the_order_asked_for_and_no_others() -> None:
    metrics = {f"{split}/classification/top1_error": 0.5 for split in ("train", "val", "test")}
    assert [row.split for row in result_rows(metrics, ["test", "val", "nothing"])] == ["test", "val"]


def test_text_in_place_of_a_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"test/localization/pxap must be a number.*'high'"):
        result_rows({"test/localization/pxap": "high"}, ["test"])


def test_the_terminal_shows_every_row_under_its_split() -> None:
    lines = rendered(METRICS | {"val/classification/top1_error": 0.25}, ["test", "val"]).splitlines()
    cells = [line.split() for line in lines]
    shown = [line for line in cells if line]
    expected = [["metric", "%", "95%", "interval", "CAM", "threshold", "source"], ["test,", "50,000", "images"]]
    for row in result_rows(METRICS, ["test"]):
        texts = (row.name, row.percent_text, row.threshold_text, row.threshold_source)
        expected.append(" ".join(texts).split())
    expected += [["val"], ["top-1", "classification", "error", "25.00"]]
    assert [line for line in shown if not set(line[0]) <= {"─"}] == expected


def test_nothing_measured_is_an_empty_table() -> None:
    assert result_rows({}, ["val"]) == []
    assert results_table({}, ["val"]).row_count == 0


def test_an_interval_stands_beside_its_number() -> None:
    metrics: dict[str, float | str | None] = {
        "test/localization/gt_known_error": 0.312,
        "test/localization/gt_known_error_low": 0.27,
        "test/localization/gt_known_error_high": 0.356,
        "test/localization/top1_error": 0.4,
        "test/localization/top1_error_low": 0.35,
    }
    top1, gt_known = result_rows(metrics, ["test"])
    assert gt_known.interval_text == "27.0 to 35.6"
    assert top1.interval_text == ""  # half an interval is none
    assert "27.0 to 35.6" in rendered(metrics, ["test"])

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from camloc.report.table import ReportedNumber, SplitSize, results_table, split_results

GT_KNOWN = ReportedNumber(
    split="test",
    key="test/localization/gt_known_error",
    title="GT-known localization error",
    direction="min",
    value=0.4,
    interval=(0.3964, 0.4041),
    cam_threshold=0.196,
    threshold_source="val",
    protocol="val_threshold",
)
TOP1 = ReportedNumber(
    split="test",
    key="test/classification/top1_error",
    title="top-1 classification error",
    direction="min",
    value=0.334,
    interval=None,
    cam_threshold=None,
    threshold_source="",
    protocol="classification",
)
MAX_BOX_ACC = ReportedNumber(
    split="test",
    key="test/localization/max_box_acc_v2",
    title="MaxBoxAccV2",
    direction="max",
    value=0.5625,
    interval=None,
    cam_threshold=None,
    threshold_source="oracle",
    protocol="maxboxacc_v2",
)
PAPER = replace(
    GT_KNOWN, key="test/paper/gt_known_error", value=0.45, cam_threshold=0.2, threshold_source="fixed", protocol="paper"
)


def rendered(numbers: list[ReportedNumber], width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(results_table(numbers, {"test": SplitSize(50_000, 50_000)}))
    assert isinstance(console.file, io.StringIO)
    return [line for line in console.file.getvalue().splitlines() if line.strip() and "─" not in line]


def names(*numbers: ReportedNumber) -> list[str]:
    return [name for group in split_results(numbers, {}) for name, _ in group.lines]


def test_the_terminal_shows_every_number_under_its_split() -> None:
    on_val = replace(TOP1, split="val", value=0.25)
    assert [line.split() for line in rendered([TOP1, GT_KNOWN, MAX_BOX_ACC, on_val])] == [
        ["metric", "%", "95%", "interval", "CAM", "threshold", "source"],
        ["test,", "50,000", "images"],
        ["top-1", "classification", "error", "33.40"],
        ["GT-known", "localization", "error", "40.00", "39.6", "to", "40.4", "0.196", "val"],
        ["MaxBoxAccV2,", "higher", "is", "better", "56.25", "oracle"],
        ["val"],
        ["top-1", "classification", "error", "25.00"],
    ]


def test_eighty_columns_break_no_number() -> None:
    long = replace(
        PAPER, title="ILSVRC top-5 classification error", value=1.0, interval=(1.0, 1.0), cam_threshold=0.125
    )
    lines = rendered([long, replace(long, protocol="another_protocol")], width=80)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    shown = [line.split() for line in lines]
    assert sum(line[-6:] == ["100.00", "100.0", "to", "100.0", "0.125", "fixed"] for line in shown) == 2


def test_brackets_in_a_name_are_no_markup() -> None:
    assert rendered([replace(TOP1, title="error of [bold] cells")])[2].split()[:4] == ["error", "of", "[bold]", "cells"]


def test_numbers_of_the_same_title_name_their_protocol() -> None:
    assert names(TOP1, GT_KNOWN, PAPER) == [
        "top-1 classification error",
        "GT-known localization error (val_threshold)",
        "GT-known localization error (paper)",
    ]
    assert names(MAX_BOX_ACC, replace(MAX_BOX_ACC, protocol="mine")) == [
        "MaxBoxAccV2 (maxboxacc_v2), higher is better",
        "MaxBoxAccV2 (mine), higher is better",
    ]


def test_one_protocol_on_two_splits_is_not_named() -> None:
    on_val = replace(GT_KNOWN, split="val")
    assert names(GT_KNOWN, on_val) == ["GT-known localization error"] * 2


def test_a_name_is_the_same_in_every_split() -> None:
    # PAPER is reported on test alone; val's number must still be recognized as the other protocol's.
    assert names(replace(GT_KNOWN, split="val"), GT_KNOWN, PAPER)[0] == "GT-known localization error (val_threshold)"


def test_splits_keep_their_order_and_say_how_many_images_they_have() -> None:
    numbers = [TOP1, replace(TOP1, split="val"), replace(GT_KNOWN, split="val")]
    groups = split_results(numbers, {"test": SplitSize(50_000, 50_000), "train": SplitSize(1, 1)})
    assert [(heading, len(lines)) for heading, lines in groups] == [("test, 50,000 images", 1), ("val", 2)]
    assert [number for group in groups for _, number in group.lines] == numbers


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0, "0.00"), (1.0, "100.00"), (0.4514, "45.14"), (1 / 3, "33.33"), (2 / 3, "66.67"), (math.nan, "nan")],
)
def test_percent_has_two_decimals(fraction: float, text: str) -> None:
    assert replace(TOP1, value=fraction).percent_text == text


def test_zero_is_a_threshold_like_any_other() -> None:
    assert replace(GT_KNOWN, cam_threshold=0.0).threshold_text == "0"
    assert replace(GT_KNOWN, cam_threshold=None).threshold_text == ""


def test_what_is_missing_is_left_blank() -> None:
    assert (TOP1.interval_text, TOP1.threshold_text) == ("", "")


@pytest.mark.parametrize("source", ["fixed", "val", "pseudo", "oracle", ""])
def test_known_threshold_sources_are_taken(source: str) -> None:
    assert replace(GT_KNOWN, threshold_source=source).threshold_source == source


def test_an_unknown_threshold_source_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test/localization/gt_known_error: .* 'pseudo', .* got 'test'"):
        replace(GT_KNOWN, threshold_source="test")


def test_nothing_measured_is_an_empty_table() -> None:
    assert split_results([], {}) == []
    assert results_table([], {"test": SplitSize(3, 3)}).row_count == 0


def test_a_part_of_a_split_is_said_in_its_heading_and_a_note_is_referred_to() -> None:
    ((heading, lines),) = split_results([replace(TOP1, has_note=True), MAX_BOX_ACC], {"test": SplitSize(64, 50_000)})
    assert heading == "test, 64 of 50,000 images"
    assert [name for name, _ in lines] == ["top-1 classification error (see notes)", "MaxBoxAccV2, higher is better"]


def test_numbers_of_full_supervision_stand_below_a_heading_that_says_so() -> None:
    plain = ReportedNumber("val", "val/localization/pxap", "PxAP", "max", 0.6, None, None, "", "pxap")
    boxed = replace(plain, split="test", supervision="trained with boxes")
    headings = [group.heading for group in split_results([plain, boxed], {"test": SplitSize(9, 9)})]
    assert headings == ["val", "test, 9 images, trained with boxes"]

import io

import pytest
from rich.console import Console

from camloc.metrics.functional.breakdown import CAUSES, OBJECT_SIZES
from camloc.report.misses import MissRow, miss_rows, misses_table, worst_first

COUNTS = [[3, 1, 0, 4], [1000, 0, 200, 300], [0, 0, 0, 0]]
ROWS = miss_rows(["cat", "[dog]", "cow"], ["hit", "wrong class", "no box", "elsewhere"], COUNTS)


def rendered(title: str, rows: list[MissRow], width: int = 120) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=width)
    console.print(misses_table(title, rows))
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip() and "─" not in line]


def test_shares_are_of_the_group() -> None:
    cat, dog, cow = ROWS
    assert (cat.group, cat.num_images, cat.percents) == ("cat", 8, (37.5, 12.5, 0.0, 50.0))
    assert dog.percent_texts == ("66.7", "", "13.3", "20.0")
    assert (cow.num_images, cow.percents, cow.percent_texts) == (0, (0.0,) * 4, ("",) * 4)


def test_the_terminal_shows_the_rows_in_order() -> None:
    assert rendered("class", ROWS) == [
        ["misses", "by", "class,", "%", "of", "its", "images"],
        ["wrong", "no"],
        ["images", "hit", "class", "box", "elsewhere"],
        ["cat", "8", "37.5", "12.5", "50.0"],
        ["[dog]", "1,500", "66.7", "13.3", "20.0"],
        ["cow", "0"],
    ]


def test_all_causes_fit_eighty_columns() -> None:
    rows = miss_rows(OBJECT_SIZES, CAUSES, [[1234] * 7] * 4)
    text = rendered("object size", rows, width=80)
    assert "…" not in str(text)
    for size in OBJECT_SIZES:
        assert [*size.split(), "8,638", *["14.3"] * 7] in text


def test_the_worst_come_first_and_ties_keep_their_order() -> None:
    rows = miss_rows(list("abcd"), ["hit", "no box"], [[1, 1], [0, 0], [1, 3], [2, 2]])
    assert [row.group for row in worst_first(rows)] == ["c", "a", "d"]
    assert [row.group for row in worst_first(rows, limit=2)] == ["c", "a"]


def test_nothing_counted_is_an_empty_table() -> None:
    assert misses_table("class", []).row_count == 0
    assert worst_first([]) == []


@pytest.mark.parametrize("counts", [[[1, 2]], [[1, 2], [3]], [[1, 2], [3, 4, 5]]])
def test_counts_that_do_not_fit_are_refused(counts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="2 groups and 2 causes"):
        miss_rows(["cat", "dog"], ["hit", "no box"], counts)

import io

import pytest
import torch
from rich.console import Console

from camloc.metrics.functional.breakdown import CAUSES, OBJECT_SIZES, Cause
from camloc.report.misses import MissRow, misses_by_class, misses_by_size, misses_table, worst_first

FOUR_CAUSES = ("hit", "wrong class", "no box", "elsewhere")
ROWS = [
    MissRow("cat", FOUR_CAUSES, (3, 1, 0, 4)),
    MissRow("[dog]", FOUR_CAUSES, (1000, 0, 200, 300)),
    MissRow("cow", FOUR_CAUSES, (0, 0, 0, 0)),
]


def rendered(title: str, rows: list[MissRow], width: int = 120) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=width)
    console.print(misses_table(title, rows))
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip() and "─" not in line]


def found(rows: list[MissRow]) -> dict[str, dict[str, int]]:
    return {
        row.group: {cause: count for cause, count in zip(row.causes, row.counts, strict=True) if count} for row in rows
    }


def test_shares_are_of_the_group() -> None:
    cat, dog, cow = ROWS
    assert (cat.group, cat.num_images, cat.percents) == ("cat", 8, (37.5, 12.5, 0.0, 50.0))
    assert dog.percent_texts == ("66.7", "", "13.3", "20.0")
    assert (cow.num_images, cow.percents, cow.percent_texts) == (0, (0.0,) * 4, ("",) * 4)


def test_causes_are_counted_by_size() -> None:
    causes = torch.tensor([Cause.HIT, Cause.NO_BOX, Cause.PART, Cause.HIT])
    assert found(misses_by_size(causes, torch.tensor([0.05, 0.3, 0.25, 1.0], dtype=torch.float64))) == {
        "under 10%": {"hit": 1},
        "10 to 25%": {},
        "25 to 50%": {"no box": 1, "too small (part)": 1},
        "50% and more": {"hit": 1},
    }


def test_causes_are_counted_by_class_and_classes_of_one_name_together() -> None:
    causes = torch.tensor([Cause.HIT, Cause.NO_BOX, Cause.PART, Cause.HIT])
    rows = misses_by_class(causes, torch.tensor([0, 1, 3, 1]), ["cow", "crane, the bird", "dog", "cow"])
    assert found(rows) == {
        "cow": {"hit": 1, "too small (part)": 1},
        "crane, the bird": {"hit": 1, "no box": 1},
        "dog": {},
    }
    assert all(row.causes == CAUSES for row in rows)


def test_without_images_every_group_is_empty() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert found(misses_by_class(nothing, nothing, ["cow"])) == {"cow": {}}
    assert found(misses_by_size(nothing, torch.zeros(0))) == {size: {} for size in OBJECT_SIZES}


@pytest.mark.parametrize("target", [-1, 2])
def test_a_target_outside_the_classes_is_refused(target: int) -> None:
    with pytest.raises(ValueError, match=rf"in \[0, 2\), got {target} to {target}"):
        misses_by_class(torch.tensor([Cause.HIT]), torch.tensor([target]), ["cow", "dog"])


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
    rows = [MissRow(size, CAUSES, (1234,) * 7) for size in OBJECT_SIZES]
    text = rendered("object size", rows, width=80)
    assert "…" not in str(text)
    for size in OBJECT_SIZES:
        assert [*size.split(), "8,638", *["14.3"] * 7] in text


def test_the_worst_come_first_and_ties_keep_their_order() -> None:
    counts = {"a": (1, 1), "b": (0, 0), "c": (1, 3), "d": (2, 2)}
    rows = [MissRow(name, ("hit", "no box"), row) for name, row in counts.items()]
    assert [row.group for row in worst_first(rows)] == ["c", "a", "d"]
    assert [row.group for row in worst_first(rows, limit=2)] == ["c", "a"]


def test_nothing_counted_is_an_empty_table() -> None:
    assert misses_table("class", []).row_count == 0
    assert worst_first([]) == []

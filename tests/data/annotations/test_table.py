"""The table of a whole data set, against rows written by hand."""

import math

import pytest

from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import TableBuilder


def test_rows_are_sorted_and_classes_numbered_by_name() -> None:
    table = TableBuilder()
    second, first = table.image("b.jpg", "val", (4, 6)), table.image("a.jpg", "train", group="p1")
    table.box(first, "dog", (0, 0, 2, 1), "x")
    table.box(second, "dog", (1, 1, 3, 2), "x")
    table.box(second, "cat", (0, 0, 1, 1), "x")
    table.box(second, "dog", (2, 2, 3, 3), "x")
    table.label(first, "ant")
    table.mask(first, "dog", "masks/dog/a.png")
    built = table.build()
    assert built.class_names == ("ant", "cat", "dog")
    assert built.names == ["b.jpg", "a.jpg"]
    assert built.splits == ["val", "train"]
    assert built.groups == ["", "p1"]
    assert built.sizes.tolist() == [[4, 6], [0, 0]]
    assert built.labels.tolist() == [[0, 1], [0, 2], [1, 0], [1, 2]]
    assert built.boxes.tolist() == [[1, 1, 3, 2], [0, 0, 1, 1], [2, 2, 3, 3], [0, 0, 2, 1]]
    assert built.box_image.tolist() == [0, 0, 0, 1]
    assert built.box_class.tolist() == [2, 1, 2, 2]
    assert (built.masks, built.mask_labels.tolist()) == (["masks/dog/a.png"], [[1, 2]])


def test_an_image_without_label_stays() -> None:
    table = TableBuilder()
    table.image("a.jpg")
    built = table.build()
    assert (built.class_names, built.names, built.labels.shape, built.boxes.shape) == ((), ["a.jpg"], (0, 2), (0, 4))


def test_composed_and_decomposed_accents_are_one_class() -> None:
    table = TableBuilder()
    table.label(table.image("a.jpg"), "cafe\N{COMBINING ACUTE ACCENT}")
    table.label(table.image("b.jpg"), " caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    assert table.build().class_names == ("caf\N{LATIN SMALL LETTER E WITH ACUTE}",)


def test_an_image_is_found_again_and_what_is_new_added() -> None:
    table = TableBuilder()
    assert table.image("a.jpg") == table.image("a.jpg", "val", (3, 5), "p1") == 0
    built = table.build()
    assert (built.splits, built.groups, built.sizes.tolist()) == (["val"], ["p1"], [[3, 5]])


@pytest.mark.parametrize("box", [(3, 0, 3, 1), (3, 0, 2, 1), (0, 2, 1, 1), (0, 0, math.nan, 1), (0, 0, math.inf, 1)])
def test_a_box_that_is_none_is_a_problem(box: tuple[float, float, float, float]) -> None:
    table = TableBuilder()
    table.box(table.image("a.jpg"), "cat", box, "a.csv, line 2")
    with pytest.raises(DataProblems, match=r"a\.csv, line 2: the box .* is inverted, empty or not finite"):
        table.build()


def test_an_image_of_two_splits_is_a_problem() -> None:
    table = TableBuilder()
    table.image("a.jpg", "train", source="train.txt")
    table.image("a.jpg", "val", source="val.txt")
    with pytest.raises(DataProblems, match=r"val\.txt: a\.jpg is of the split train and of val; keep one"):
        table.build()


def test_ten_problems_are_shown_and_the_rest_counted() -> None:
    problems = DataProblems([(f"{number}.xml", "broken") for number in range(12)])
    shown = "; ".join(f"({number + 1}) {number}.xml: broken" for number in range(10))
    assert str(problems) == f"12 problems in the data's files: {shown}; and 2 more"
    assert len(problems.problems) == 12
    assert str(DataProblems([("a.xml", "broken")])) == "a.xml: broken"

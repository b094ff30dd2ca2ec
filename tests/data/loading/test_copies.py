"""Copies in two splits, and in one split under two classes."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from camloc.data.loading.copies import Copies, Copy, find_copies
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName


def untracked(items: Iterable[int], _what: str, _total: int) -> Iterable[int]:
    return items


def copies(root: Path, **given: str) -> Copies:
    """Find copies among splits written as ``"A0 B1"``: the content of each file and its class."""
    splits: dict[SplitName, Split] = {}
    for name, text in given.items():
        files = [f"{name}{index}" for index in range(len(text.split()))]
        for file, content in zip(files, text.split(), strict=True):
            (root / file).write_text(content[0])
        splits[name] = FileSplit(root, files, [int(content[1]) for content in text.split()])  # type: ignore[index] # a split
    return find_copies(splits, untracked)


def left_out(found: Copies) -> dict[str, list[int]]:
    return {name: indices.tolist() for name, indices in found.left_out.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"train": "A0 B1", "test": "C0 D1"}, {}),
        ({"train": "A0 A0 B1", "test": "C0 C0"}, {}),  # one class: nothing is wrong with the labels
        ({"train": "A0 B1", "test": "C0 B1 A0"}, {"test": [1, 2]}),
        ({"train": "A0 B1", "val": "C0 B1"}, {"val": [1]}),
        ({"val": "A0 B1", "test": "B1 C0"}, {"val": [1]}),  # test is what is reported
        ({"train": "A0", "val": "B0 A0 C1", "test": "A0 C1"}, {"val": [1, 2], "test": [0]}),
        ({"train": "A0 B1 A1 C0"}, {"train": [0, 2]}),
        ({"train": "A0 B1 A1", "test": "A0 C1"}, {"train": [0, 2], "test": [0]}),
        ({"test": "A0 A0 A1 B0"}, {"test": [0, 1, 2]}),
    ],
)
def test_what_is_left_out(given: dict[str, str], expected: dict[str, list[int]], tmp_path: Path) -> None:
    assert left_out(copies(tmp_path, **given)) == expected


def test_copies_are_named_with_what_they_are_copies_of(tmp_path: Path) -> None:
    found = copies(tmp_path, train="A0 B1 A1", val="B1 B1 C0", test="C0 D0")
    assert found.within == {"train": [Copy("train0", "train2"), Copy("train2", "train0")]}
    assert found.across == {
        ("val", "train"): [Copy("val0", "train1"), Copy("val1", "train1")],
        ("val", "test"): [Copy("val2", "test0")],
    }
    by = "left out by datamodule.on_copies=leave_out"
    assert found.notes("train") == [
        f"train: 2 files are copies of files of another class, first train0 is train2, train2 is train0: {by}"
    ]
    assert found.notes("val") == [
        f"2 files of val are copies of files of train, first val0 is train1, val1 is train1: {by}",
        f"1 files of val are copies of files of test, first val2 is test0: {by}",
    ]
    assert found.notes("test") == []


def test_many_copies_of_one_image_are_compared_quickly(tmp_path: Path) -> None:
    found = copies(tmp_path, train=" ".join(["A0"] * 3000 + ["A1"]))
    assert len(found.within["train"]) == 3001
    assert found.within["train"][0] == Copy("train0", "train3000")
    assert found.within["train"][-1] == Copy("train3000", "train0")

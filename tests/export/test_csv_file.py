"""Cells that a spreadsheet must not run, and files that are whole or not there."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from camloc.export.csv_file import quoted, read_csv, unquoted, write_csv

FORMULAS = ("=1+1", "+a", "-a", "@SUM(A1)", "\t=1", "\r=1", "-", "=")
ALREADY_QUOTED = ("'=1", "''+a", "'-5")
HARMLESS = ("", "a=b", " =1", "'", "'a'", "-0.5", "+1e3", "-inf", "caf\udce9", 'two\nlines, "quoted"')


@pytest.mark.parametrize("text", FORMULAS + ALREADY_QUOTED)
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert quoted(text) == "'" + text
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_and_numbers_stay(text: str) -> None:
    assert quoted(text) == text == unquoted(text)


def test_all_text_is_read_back_the_same(tmp_path: Path) -> None:
    file, texts = tmp_path / "a.csv", [*FORMULAS, *ALREADY_QUOTED, *HARMLESS]
    write_csv(file, ["+header", "number"], [[text, -index] for index, text in enumerate(texts)])
    assert read_csv(file) == [{"+header": text, "number": str(-index)} for index, text in enumerate(texts)]
    with file.open(newline="", errors="surrogateescape") as stream:
        shown = [row[0] for row in csv.reader(stream)]
    assert not [cell for cell in shown if cell.startswith(("=", "+a", "+h", "-a", "@", "\t", "\r"))]


def test_a_row_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    write_csv(file, ["a"], [["1"]])

    def rows() -> Iterator[list[str]]:
        yield ["2"]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_csv(file, ["a"], rows())
    assert read_csv(file) == [{"a": "1"}]
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("torn", ["3", "3,30", '3,"30', "3\r\n", ""])
def test_a_torn_last_line_is_left_out(torn: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"a,b\r\n1,10\r\n2,20\r\n" + torn.encode())
    assert [row["a"] for row in read_csv(file)] == ["1", "2"]


@pytest.mark.parametrize("torn", ["", "a", "a,b\r\n"])
def test_a_file_without_rows_has_none(torn: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(torn)
    assert read_csv(tmp_path / "a.csv") == []

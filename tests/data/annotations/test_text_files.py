import re
from pathlib import Path

import pytest

from camloc.data.annotations.text_files import located_lines, read_lines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "names.txt"


@pytest.mark.parametrize(
    "content",
    [
        b"1 a\n2 b",
        b"1 a\n2 b\n",
        b"1 a\r\n2 b\r\n",
        b"1 a\r2 b\r",
        b"1 a\n2 b\n\n \t\r\n\n",
        b"\xef\xbb\xbf1 a\n2 b\n",
    ],
)
def test_line_ends_marks_and_blank_lines_at_the_end_do_not_matter(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert read_lines(file) == ["1 a", "2 b"]


def test_blank_lines_elsewhere_and_blanks_in_lines_are_kept(file: Path) -> None:
    file.write_bytes(b"\n 1 a \n\n2 b \n")
    assert read_lines(file) == ["", " 1 a ", "", "2 b "]


@pytest.mark.parametrize("name", ["Möwe\u2028", "a\x0bb", "a\x1cb", "a\x85b", "a\ufeffb"])
def test_a_name_may_hold_what_python_takes_for_a_line_end(file: Path, name: str) -> None:
    file.write_text(f"{name}.jpg\n", encoding="utf-8")
    assert read_lines(file) == [f"{name}.jpg"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"1 a\n2 M\xf6we\n", 2),
        (b"\xef\xbb\xbf1 a\r\n\r\n3 M\xf6we\r\n", 3),
        ("1 a\n".encode("utf-16"), 1),
        (b"\xf6" * 10**6, 1),
    ],
)
def test_the_first_line_that_is_not_utf8_is_named_with_the_fix(file: Path, content: bytes, line: int) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))}, line {line}: .*; save the file as UTF-8") as error:
        read_lines(file)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))} is empty; give the whole file"):
        read_lines(file)


def test_lines_are_located_by_their_number_in_the_file(file: Path) -> None:
    file.write_text("a\n\nb\n")
    assert located_lines(file) == [(f"{file}, line 1", "a"), (f"{file}, line 2", ""), (f"{file}, line 3", "b")]

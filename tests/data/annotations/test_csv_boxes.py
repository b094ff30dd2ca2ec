from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camloc.data.annotations.csv_boxes import read_csv
from camloc.data.annotations.problems import DataProblems

HEADER = "file,x0,y0,x1,y1,class"
corner = st.floats(-100, 1000, allow_nan=False)


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "val.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (HEADER, "cat/1.jpg,1,2,11,7.5,cat"),
        ("label,xmin,ymin,xmax,ymax,filename", "cat,1,2,11,7.5,cat/1.jpg"),
        ("Image, X1, Y1, X2, Y2, width, Class", "cat/1.jpg, 1, 2, 11, 7.5, 640, cat"),
        ("path,ymin,xmin,ymax,xmax,name,,", '"cat/1.jpg",2,1,7.5,11,"cat",,'),
    ],
)
def test_columns_are_found_by_name_and_corners_are_half_open(header: str, line: str, tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, header, line))
    assert found["cat/1.jpg"].boxes.tolist() == [[1, 2, 11, 7.5]]
    assert found["cat/1.jpg"].names == ("cat",)


def test_lines_of_an_image_are_joined_in_their_order(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, HEADER, "1.jpg,0,0,1,1,a", "2.jpg,0,0,9,9,c", "", "1.jpg,5,5,6,6,b"))
    assert found["1.jpg"].boxes.tolist() == [[0, 0, 1, 1], [5, 5, 6, 6]]
    assert found["1.jpg"].names == ("a", "b")
    assert len(found["2.jpg"].boxes) == 1


def test_spreadsheets_write_a_byte_order_mark_and_trailing_commas(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, "file,x0,y0,x1,y1", "1.jpg,0,0,1,1,,", encoding="utf-8-sig"))
    assert found["1.jpg"].names == (None,)


@pytest.mark.parametrize("line", ["1.jpg,0,0,1,1,", "1.jpg,0,0,1,1,  "])
def test_an_empty_class_is_not_a_class(line: str, tmp_path: Path) -> None:
    assert read_csv(write(tmp_path, HEADER, line))["1.jpg"].names == (None,)


def test_blanks_around_a_class_and_a_file_are_not_theirs(tmp_path: Path) -> None:
    assert read_csv(write(tmp_path, HEADER, "1.jpg ,0,0,1,1,cat "))["1.jpg"].names == ("cat",)


def test_a_box_before_the_image_is_returned_unchanged(tmp_path: Path) -> None:
    assert read_csv(write(tmp_path, HEADER, "1.jpg,-1,0,3,3,cat"))["1.jpg"].boxes.tolist() == [[-1, 0, 3, 3]]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "cat/1.jpg,0,0,10,5,cat",
            r"line 1: the header must name file and x0,y0,x1,y1 .*found cat/1\.jpg,0,0,10,5,cat",
        ),
        ("x0,y0,x1,y1", "line 1: the header must name"),
        ("file,x0,x0,y0,x1,y1", "once each, found file,x0,x0,y0,x1,y1"),
        ("", "line 1: the header must name .* found nothing"),
        ("name;x0;y0;x1;y1;class", "once each, found name;x0;y0;x1;y1;class"),
    ],
)
def test_a_header_that_names_no_box_is_shown(header: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_csv(write(tmp_path, header, "1.jpg,0,0,1,1,1"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.jpg,0,0,1", r"expected 6 fields, file,x0,y0,x1,y1,class; found 1\.jpg,0,0,1"),
        ("0.jpg,,,,,", "x0,y0,x1,y1 must be four numbers, found nothing, and other lines box the same image"),
        ("1.jpg,0,0,one,1,cat", "x0,y0,x1,y1 must be four numbers, found 0,0,one,1"),
        ("1.jpg,nan,0,1,1,cat", "the box nan 0 1 1 .* not finite"),
        ("1.jpg,3,0,1,1,cat", "the box 3 0 1 1 .* is inverted"),
        ("1.jpg,1,0,1,1,cat", "the box 1 0 1 1 .* is inverted, empty"),
        ("1.jpg,0,0,1,1,cat,0.9", r"expected 6 fields, file,x0,y0,x1,y1,class; found 1\.jpg,0,0,1,1,cat,0\.9"),
        (",0,0,1,1,cat", "it names no file"),
    ],
)
def test_a_broken_line_is_named_by_its_number(line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, "0.jpg,0,0,1,1,cat", line)
    with pytest.raises(ValueError, match=rf"val\.csv, line 3: {message}"):
        read_csv(path)


def test_a_line_without_corners_is_of_an_image_without_objects(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, HEADER, "0.jpg,0,0,1,1,cat", "1.jpg,,,,,good"))
    assert {name: len(objects.boxes) for name, objects in found.items()} == {"0.jpg": 1, "1.jpg": 0}


@pytest.mark.parametrize("raw", [b"\xe9.jpg,0,0,1,1,cat\n", b"a" * 200_000 + b",0,0,1,1,cat\n"])
def test_what_is_not_csv_is_named_with_its_file(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "val.csv"
    path.write_bytes(HEADER.encode() + b"\n" + raw)
    with pytest.raises(ValueError, match=r"val\.csv, after line \d+: this is not a UTF-8 CSV"):
        read_csv(path)


@given(x=st.tuples(corner, corner), y=st.tuples(corner, corner))
def test_corners_are_read_to_the_last_digit_or_refused(
    x: tuple[float, float], y: tuple[float, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("csv"), HEADER, f"1.jpg,{x[0]!r},{y[0]!r},{x[1]!r},{y[1]!r},cat")
    if x[0] < x[1] and y[0] < y[1]:
        assert read_csv(path)["1.jpg"].boxes.tolist() == [[x[0], y[0], x[1], y[1]]]
    else:
        with pytest.raises(ValueError, match="line 2: the box"):
            read_csv(path)


def test_all_broken_lines_are_named_in_their_order(tmp_path: Path) -> None:
    lines = ["1.jpg,3,0,1,1,cat", "1.jpg,0,0,1", "1.jpg,,,,,cat", "1.jpg,0,0,1,1,cat", ",0,0,1,1,cat"]
    with pytest.raises(DataProblems) as refused:
        read_csv(write(tmp_path, HEADER, *lines))
    assert [where.rpartition(", ")[2] for where, _ in refused.value.problems] == [
        "line 2",
        "line 3",
        "line 4",
        "line 6",
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_told_by_the_header(delimiter: str, tmp_path: Path) -> None:
    lines = [line.replace(",", delimiter) for line in (HEADER, "1.jpg,0,0,1,1,cat")]
    assert read_csv(write(tmp_path, *lines))["1.jpg"].boxes.tolist() == [[0, 0, 1, 1]]


def test_the_size_beside_corners_is_the_images_and_beside_a_corner_the_boxs(tmp_path: Path) -> None:
    found = read_csv(write(tmp_path, "filename,width,height,class,xmin,ymin,xmax,ymax", "1.jpg,30,20,cat,1,2,3,4"))
    assert found["1.jpg"].image_size == (20, 30)
    found = read_csv(write(tmp_path, "file,x,y,width,height", "1.jpg,1,2,30,20"))
    assert found["1.jpg"].boxes.tolist() == [[1, 2, 31, 22]]
    assert found["1.jpg"].image_size is None

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.voc import VocReader, read_voc

OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def write(folder: Path, body: str, prolog: str = "") -> Path:
    path = folder / "001.xml"
    path.write_text(f"{prolog}<annotation>{body}</annotation>", encoding="utf-8")
    return path


def test_the_first_and_last_pixel_of_an_image_by_the_book(tmp_path: Path) -> None:
    size = "<size><width>500</width><height>375</height><depth>3</depth></size>"
    found = read_voc(write(tmp_path, size + OBJECT.format("cat", 1, 1, 500, 375)))
    assert found.boxes.tolist() == [[0, 0, 500, 375]]
    assert found.boxes.dtype == np.float64
    assert found.image_size == (375, 500)


def test_imagenets_files_name_the_wnid_and_count_from_zero(tmp_path: Path) -> None:
    body = "<folder>val</folder><filename>ILSVRC2012_val_00000001</filename>" + OBJECT.format("n01751748", 0, 5, 9, 5)
    found = read_voc(write(tmp_path, body), one_based=False)
    assert found.boxes.tolist() == [[0, 5, 10, 6]]
    assert found.names == ("n01751748",)


def test_objects_keep_their_order_and_their_parts_are_not_objects(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
    person = OBJECT.format("person", 1, 1, 8, 8).replace("</object>", f"{part}</object>")
    found = read_voc(write(tmp_path, person + OBJECT.format(" dog\n", "2.5", "1e1", " 4.25 ", 11)))
    assert found.names == ("person", "dog")
    assert found.boxes.tolist() == [[0, 0, 8, 8], [1.5, 9, 4.25, 11]]


def test_file_names_and_paths_inside_are_not_read(tmp_path: Path) -> None:
    body = "<filename>/etc/passwd</filename><path>C:\\nowhere\\1.jpg</path>" + OBJECT.format("cat", 1, 1, 2, 2)
    assert read_voc(write(tmp_path, body)).names == ("cat",)


def test_a_box_beyond_the_claimed_size_is_returned_unchanged(tmp_path: Path) -> None:
    size = "<size><width>5</width><height>4</height></size>"
    found = read_voc(write(tmp_path, size + OBJECT.format("cat", -3, 0, 9, 9)), one_based=False)
    assert found.boxes.tolist() == [[-3, 0, 10, 10]]
    assert found.image_size == (4, 5)


@pytest.mark.parametrize(("width", "height"), [("", "4"), ("0", "0"), ("5.5", "4"), ("-5", "4"), ("5", "\u00b2")])
def test_a_size_that_is_not_valid_is_not_stated(width: str, height: str, tmp_path: Path) -> None:
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    assert read_voc(write(tmp_path, size + OBJECT.format("cat", 1, 1, 2, 2))).image_size is None


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (
            (0, 1, 5, 5),
            r"object 2 \(cat\): <xmin> is 0, before the first pixel, .*annotations\.one_based=false",
        ),
        ((1, 0.5, 5, 5), r"<ymin> is 0\.5, before the first pixel"),
        ((-4, 1, 5, 5), r"<xmin> is -4, before the first pixel"),
        ((1, 7, 5, 5), r"001\.xml: the box 0 6 5 5 .* is inverted"),
        ((1, 1, "inf", 5), r"the box 0 0 inf 5 .* not finite"),
        ((1, 1, "", 5), r"needs a number in <xmax>, found ''"),
    ],
)
def test_an_invalid_box_is_named(corners: tuple[object, ...], message: str, tmp_path: Path) -> None:
    body = OBJECT.format("dog", 1, 1, 2, 2) + OBJECT.format("cat", *corners)
    with pytest.raises(ValueError, match=message):
        read_voc(write(tmp_path, body))


def test_without_an_object_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"001\.xml has no <object>; annotate the image, or remove the file"):
        read_voc(write(tmp_path, "<filename>001.jpg</filename>"))


@pytest.mark.parametrize(
    ("prolog", "message"),
    [
        ('<?xml version="1.0" encoding="klingon"?>', "unknown encoding: klingon"),
        ('<?xml version="1.0" encoding="big5"?>', "multi-byte encodings"),
        ('<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>', "it declares entities"),
        ('<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "it declares entities"),
        ("<stray/>", "junk after document element"),
    ],
)
def test_what_is_not_xml_of_the_format_is_refused(prolog: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, OBJECT.format("cat", 1, 1, 2, 2), prolog)
    with pytest.raises(ValueError, match=rf"001\.xml cannot be read as Pascal VOC XML: {message}"):
        read_voc(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no annotation .*nowhere\.xml"):
        read_voc(tmp_path / "nowhere.xml")


@given(x=st.integers(1, 500), y=st.integers(1, 500), width=st.integers(1, 500), height=st.integers(1, 500))
def test_a_box_is_as_large_as_its_pixels_and_the_base_only_shifts_it(
    x: int, y: int, width: int, height: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = OBJECT.format("cat", x, y, x + width - 1, y + height - 1)
    path = write(tmp_path_factory.mktemp("voc"), body)
    by_the_book, from_zero = (read_voc(path, one_based=flag).boxes[0] for flag in (True, False))
    assert (by_the_book[2:] - by_the_book[:2]).tolist() == [width, height]
    assert (from_zero - by_the_book).tolist() == [1, 1, 1, 1]


def test_all_that_is_broken_is_named_at_once(tmp_path: Path) -> None:
    bodies = ["", OBJECT.format("cat", 0, 1, 2, 2) + OBJECT.format("", 1, 1, 2, 2), OBJECT.format("cat", 1, 1, 2, 2)]
    files = [tmp_path / f"{number}.xml" for number in range(len(bodies))]
    for file, body in zip(files, bodies, strict=True):
        file.write_text(f"<annotation>{body}</annotation>")
    with pytest.raises(DataProblems) as refused:
        VocReader().read_all([*files, None, tmp_path / "nowhere.xml"], [Path("1.jpg")] * 5)
    assert [message.partition(";")[0] for _, message in refused.value.problems] == [
        "it has no <name>",
        f"there is no annotation {tmp_path / 'nowhere.xml'}",
        f"{files[0]} has no <object>",
    ]


def test_shares_are_no_corners_to_count_from(tmp_path: Path) -> None:
    path = write(tmp_path, OBJECT.format("cat", 0, 0.25, 0.5, 1))
    for one_based in (True, False):
        (found,) = VocReader(one_based).read_all([path], [Path("1.jpg")])
        assert found is not None
        assert found.boxes.tolist() == [[0, 0.25, 0.5, 1]]


def test_percent_is_no_corner_to_count_from(tmp_path: Path) -> None:
    size = "<size><width>500</width><height>375</height></size>"
    path = write(tmp_path, size + OBJECT.format("cat", 0, 12.5, 50, 100))
    (found,) = VocReader().read_all([path], [Path("1.jpg")])
    assert found is not None
    assert found.boxes.tolist() == [[0, 12.5, 50, 100]]


def test_one_corner_in_pixels_makes_all_pixels(tmp_path: Path) -> None:
    path = write(tmp_path, OBJECT.format("cat", 0.5, 0.25, 0.5, 1) + OBJECT.format("cat", 1, 1, 9, 9))
    with pytest.raises(DataProblems, match=r"<xmin> is 0\.5, before the first pixel"):
        VocReader().read_all([path], [Path("1.jpg")])

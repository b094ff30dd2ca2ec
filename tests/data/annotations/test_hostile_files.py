"""Annotation that a stranger may have made: special files, and contents that would fill the memory or the stack."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from camloc.data.annotations.coco import read_coco
from camloc.data.annotations.csv_boxes import read_csv
from camloc.data.annotations.mask_files import read_levels
from camloc.data.annotations.mask_images import read_mask
from camloc.data.annotations.text_files import read_lines
from camloc.data.annotations.voc import read_voc


def levels(path: Path) -> object:
    return read_levels(path, "list.txt names")


READERS: tuple[Callable[[Path], object], ...] = (read_coco, read_csv, read_lines, read_voc, read_mask, levels)


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_named_without_waiting(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name, kind in (("fifo", "FIFO"), ("link", "FIFO"), ("zeros", "device")):
        with pytest.raises(ValueError, match=f"{tmp_path / name} is a {kind} and not a regular file"):
            read(tmp_path / name)


@pytest.mark.parametrize("read", [read_coco, read_csv, read_lines, read_voc])
def test_a_file_larger_than_any_of_its_format_is_not_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)  # a hole
    with pytest.raises(ValueError, match=r"huge has 1,099,511,627,776 bytes, and [\d,]+ are the most that are read"):
        read(tmp_path / "huge")


@pytest.mark.parametrize("read", [read_mask, levels])
def test_a_mask_of_too_many_pixels_is_refused_by_its_header(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((30, 40), np.uint8))
    monkeypatch.setattr("camloc.data.images.headers.MAX_PIXELS", 1199)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"cannot read the mask .*x\.png: it is 40 by 30 pixels, and 1,199 are the"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_one_error(opening: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"info": ' + opening * 200_000)
    with pytest.raises(ValueError, match=r"x\.json is not a COCO json .*(Recursion|Decode)Error"):
        read_coco(tmp_path / "x.json")
    (tmp_path / "x.xml").write_text("<a>" * 200_000 + "</a>" * 200_000)
    with pytest.raises(ValueError, match=r"x\.xml has no <object>"):
        read_voc(tmp_path / "x.xml")


def test_a_size_of_more_digits_than_python_converts_is_none(tmp_path: Path) -> None:
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
    side = "9" * 5000
    (tmp_path / "x.xml").write_text(
        f"<annotation><size><width>{side}</width><height>{side}</height></size>"
        f"<object><name>cat</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    assert read_voc(tmp_path / "x.xml").image_size is None

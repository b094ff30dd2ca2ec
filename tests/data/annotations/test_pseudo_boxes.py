from pathlib import Path

import pytest

from camloc.data.annotations.pseudo_boxes import read_pseudo_boxes

IMAGES = ["1/b.jpg", "1/a.jpg"]


def write(folder: Path, *lines: str) -> Path:
    (folder / "val").mkdir()
    (folder / "val" / "localization.txt").write_text("\n".join(lines))
    return folder


def test_boxes_are_read_as_they_are_published(tmp_path: Path) -> None:
    # In another order than the images, some of other images, one of nothing, one beyond its image of 640 x 426 pixels.
    folder = write(tmp_path, "1/a.jpg,0,0,0,0", "2/c.jpg,1,1,5,5", "1/b.jpg,25,5,640,426", "1/b.jpg,1,2,3,4")
    found = read_pseudo_boxes(folder, IMAGES)
    assert [boxes.tolist() for boxes in found] == [[[25, 5, 641, 427], [1, 2, 4, 5]], [[0, 0, 1, 1]]]


def test_how_well_they_fit_true_boxes_is_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, "1/a.jpg,0,0,3,3", "1/b.jpg,0,0,3,3")
    (tmp_path / "val" / "localization_iou.txt").write_text("not to be read")
    assert len(read_pseudo_boxes(tmp_path, IMAGES)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "1/a.jpg,1,2,3",
            r"localization\.txt, line 1: expected path,x0,y0,x1,y1 in whole pixels; found '1/a.jpg,1,2,3'",
        ),
        ("1/a.jpg,1,2,3,4.5", "expected path,x0,y0,x1,y1 in whole pixels"),
        ("1/a.jpg,3,2,1,4", "the box is negative, inverted or beyond any image; found '1/a.jpg,3,2,1,4'"),
        ("1/a.jpg,-1,2,1,4", "the box is negative, inverted or beyond any image"),
        (f"1/a.jpg,0,0,{10**400},4", "the box is negative, inverted or beyond any image; found '1/a.jpg,0,0,1000"),
        ("1/a.jpg,1,2,3,4", r"lacks 1 of the 2 images of val, such as 1/b\.jpg; give pseudo boxes of this val"),
    ],
)
def test_what_cannot_be_is_named(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_pseudo_boxes(write(tmp_path, line), IMAGES)


def test_a_folder_without_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"datamodule\.pseudo_boxes=.* has no val/localization\.txt; give"):
        read_pseudo_boxes(tmp_path, IMAGES)

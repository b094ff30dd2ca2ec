from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.datasets.cub import Cub

ALBATROSS, CARDINAL = "001.Black_footed_Albatross", "002.Cardinal"
# Every file in another order, numbers not as the order of the text; 10 sorts after 9.
LINES = {
    "classes.txt": [f"2 {CARDINAL}", f"1 {ALBATROSS}"],
    "images.txt": [
        f"10 {ALBATROSS}/a_10.jpg",
        f"9 {ALBATROSS}/a_9.jpg",
        f"2 {ALBATROSS}/a_2.jpg",
        f"4 {CARDINAL}/c_4.jpg",
        f"3 {CARDINAL}/c_3.jpg",
        f"7 {CARDINAL}/c_7.jpg",
    ],
    "image_class_labels.txt": ["2 1", "3 2", "4 2", "7 2", "9 1", "10 1"],
    "train_test_split.txt": ["7 0", "2 0", "3 1", "4 1", "9 1", "10 1"],
    "bounding_boxes.txt": [
        "2 1.0 2.0 4.0 3.0",
        "3 0.0 0.0 8.0 6.0",
        "7 2.5 1.0 0.5 5.0",
        "4 3.0 3.0 1.0 1.0",
        "9 5.0 1.0 2.0 2.0",
        "10 0.0 5.0 8.0 1.0",
    ],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "CUB_200_2011")


def write(root: Path, **changed: list[str]) -> Path:
    for name, lines in {**LINES, **{f"{name}.txt": lines for name, lines in changed.items()}}.items():
        root.mkdir(exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n")
    for line in LINES["images.txt"]:
        image(root / "images" / line.split()[1])
    return root


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((6, 8), 90, dtype=np.uint8))


def ids(data: Cub, name: str) -> list[str]:
    split = data.split(name)  # type: ignore[arg-type] # a split's name
    return [split.image_id(i) for i in range(len(split))]


def test_splits_follow_the_ids_whatever_the_order_of_lines(root: Path) -> None:
    data = Cub(str(root), val_per_class=1)
    assert data.class_names == ("Black footed Albatross", "Cardinal")
    assert ids(data, "val") == [f"{CARDINAL}/c_3.jpg", f"{ALBATROSS}/a_9.jpg"]
    assert ids(data, "train") == [f"{CARDINAL}/c_4.jpg", f"{ALBATROSS}/a_10.jpg"]
    assert ids(data, "test") == [f"{ALBATROSS}/a_2.jpg", f"{CARDINAL}/c_7.jpg"]
    assert [data.split("test").target(i) for i in range(2)] == [0, 1]
    assert data.split("test").image(0).shape == (3, 6, 8)


def test_boxes_end_where_x_plus_width_is(root: Path) -> None:
    data = Cub(str(root), val_per_class=1)
    assert [data.split("test").gt_boxes(i)[0].tolist() for i in range(2)] == [[[1, 2, 5, 5]], [[2.5, 1, 3, 6]]]
    assert [data.split("val").gt_boxes(i)[0].tolist() for i in range(2)] == [[[0, 0, 8, 6]], [[5, 1, 7, 3]]]


def test_training_boxes_are_read_where_training_is_to_see_them(root: Path) -> None:
    data = Cub(str(root), val_per_class=1)
    data.train_with_boxes()
    assert [data.split("train").gt_boxes(index)[0].tolist() for index in range(2)] == [[[3, 3, 4, 4]], [[0, 5, 8, 6]]]


def test_the_training_split_has_no_boxes(root: Path) -> None:
    assert Cub(str(root), val_per_class=1).split("train").gt_boxes(0)[0].shape == (0, 4)


def test_the_splits_of_wsolevaluation(root: Path, tmp_path: Path) -> None:
    val_id, test_id = f"{CARDINAL}/301.jpg", f"{ALBATROSS}/a_2.jpg"
    for split, image_id, target in (("val", val_id, 1), ("test", test_id, 0)):
        folder = tmp_path / "metadata" / split
        folder.mkdir(parents=True)
        values = {"image_ids": "", "class_labels": f",{target}", "image_sizes": ",8,6", "localization": ",1,2,5,4"}
        for name, value in values.items():
            (folder / f"{name}.txt").write_text(image_id + value)
    image(tmp_path / "CUBV2" / val_id)
    data = Cub(str(root), metadata=str(tmp_path / "metadata"), val_root=str(tmp_path / "CUBV2"))
    assert (ids(data, "val"), ids(data, "test")) == ([val_id], [test_id])
    assert data.split("val").image(0).shape == (3, 6, 8)
    assert data.split("test").gt_boxes(0)[0].tolist() == [[1, 2, 6, 5]]
    assert ids(data, "train") == [f"{CARDINAL}/c_{n}.jpg" for n in (3, 4)] + [f"{ALBATROSS}/a_{n}.jpg" for n in (9, 10)]


@pytest.mark.parametrize("file", LINES)
def test_a_mark_and_blank_lines_at_the_end_do_not_matter_and_latin1_is_named(root: Path, file: str) -> None:
    text = (root / file).read_bytes()
    (root / file).write_bytes(b"\xef\xbb\xbf" + text + b"\r\n\n")
    test = Cub(str(root), val_per_class=1).split("test")
    assert [test.image_id(i) for i in range(len(test))] == [f"{ALBATROSS}/a_2.jpg", f"{CARDINAL}/c_7.jpg"]
    (root / file).write_bytes(text + b"11 M\xf6we\n")
    line = len(LINES[file]) + 1
    with pytest.raises(ValueError, match=rf"{file}, line {line}: this is not UTF-8 text; save the file as UTF-8"):
        Cub(str(root), val_per_class=1).split("test")


@pytest.mark.parametrize("file", ["image_class_labels", "train_test_split", "bounding_boxes"])
def test_a_file_that_lacks_images_is_named_with_the_first(tmp_path: Path, file: str) -> None:
    root = write(tmp_path / "broken", **{file: [line for line in LINES[f"{file}.txt"] if line[:2] not in ("4 ", "7 ")]})
    with pytest.raises(ValueError, match=rf"{file}\.txt lacks 2 of the 6 images of images\.txt: number 4, \.\.\."):
        Cub(str(root)).split("test")


@pytest.mark.parametrize("file", LINES)
def test_a_missing_file_is_named(root: Path, file: str) -> None:
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"datamodule\.root={root} has no {file}; give the unpacked"):
        Cub(str(root)).split("test")


def test_a_missing_image_is_named(root: Path) -> None:
    (root / "images" / CARDINAL / "c_7.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks 1 of 2 files, {CARDINAL}/c_7\.jpg, which .*images\.txt names"):
        Cub(str(root)).split("test")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("images", "x a.jpg", r"images\.txt, line 7: expected a whole number and 1 field; found 'x a\.jpg'"),
        ("images", "9 a.jpg", r"images\.txt, line 7: the number has a line already"),
        ("images", "11 ../a.jpg", r"images\.txt, line 7: the image lies outside images"),
        ("images", f"11 {CARDINAL}/c_4.jpg", r"images\.txt, line 7: the image has a number already; found '11"),
        ("images", "\n11 a.jpg", r"images\.txt, line 7: expected a whole number and 1 field; found ''"),
        ("images", f"11 {CARDINAL}/a.jpg", r"image_class_labels\.txt lacks 1 of the 7 images of images.*number 11"),
        ("image_class_labels", "11 1", r"image_class_labels\.txt, line 7: the image is not in images\.txt"),
        ("image_class_labels", "11 3", r"image_class_labels\.txt, line 7: a class is 1 to 2; found '11 3'"),
        ("image_class_labels", "11 x", r"image_class_labels\.txt, line 7: expected numbers; found '11 x'"),
        ("train_test_split", "11 2", r"train_test_split\.txt, line 7: expected 1 for training or 0 for testing"),
        ("bounding_boxes", "11 1 2 3", r"bounding_boxes\.txt, line 7: expected a whole number and 4 fields"),
        ("bounding_boxes", "11 1 2 0 3", r"bounding_boxes\.txt, line 7: the box has no area; found '11 1 2 0 3'"),
        ("bounding_boxes", "11 1 2 nan 3", r"bounding_boxes\.txt, line 7: the box has no area"),
        ("classes", "4 004.x", r"classes\.txt has no class 3; classes run from 1"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, file: str, line: str, message: str) -> None:
    root = write(tmp_path / "broken", **{file: [*LINES[f"{file}.txt"], line]})
    with pytest.raises(ValueError, match=message):
        Cub(str(root)).split("test")


def test_a_class_that_is_not_the_folders_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "broken", image_class_labels=["2 1", "3 2", "4 1", "7 2", "9 1", "10 1"])
    with pytest.raises(ValueError, match=r"images\.txt, line 4: the folder is not the class that image_class_labels"):
        Cub(str(root)).split("test")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "broken")
    (root / "images.txt").write_text("")
    with pytest.raises(ValueError, match=r"images\.txt is empty"):
        Cub(str(root)).split("test")


def test_holding_out_everything_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=rf"has 2 training images of {ALBATROSS}; datamodule\.val_per_class=2"):
        Cub(str(root), val_per_class=2).split("train")


def test_options_that_cannot_be_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"datamodule\.val_per_class must be at least 1, got 0"):
        Cub(str(root), val_per_class=0)
    for options in ({"metadata": "m"}, {"val_root": "v"}):
        with pytest.raises(ValueError, match=r"datamodule\.metadata=.* and datamodule\.val_root=.*: give both"):
            Cub(str(root), **options)  # type: ignore[arg-type] # two of the options


def test_real_test_images_have_the_folders_of_their_classes(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    metadata = shared_data("wsolevaluation-metadata/CUB")
    image_ids = (metadata / "test" / "image_ids.txt").read_text().splitlines()
    folders = sorted({image_id.split("/")[0] for image_id in image_ids})
    (tmp_path / "classes.txt").write_text("\n".join(f"{i} {name}" for i, name in enumerate(folders, start=1)))
    for image_id in image_ids:
        path = tmp_path / "images" / image_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    test = Cub(str(tmp_path), metadata=str(metadata), val_root="unused").split("test")
    assert len(test) == 5794
    assert test.gt_boxes(0)[0].tolist() == [[60, 27, 386, 332]]


def test_true_boxes_of_val_are_not_read_where_pseudo_boxes_stand_in(root: Path, tmp_path: Path) -> None:
    (root / "bounding_boxes.txt").unlink()
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "localization.txt").write_text(f"{ALBATROSS}/a_9.jpg,1,1,2,2\n{CARDINAL}/c_3.jpg,0,0,3,4\n")
    data = Cub(str(root), val_per_class=1, pseudo_boxes=str(tmp_path))
    assert [data.split("val").gt_boxes(i)[0].tolist() for i in range(2)] == [[[0, 0, 4, 5]], [[1, 1, 3, 3]]]

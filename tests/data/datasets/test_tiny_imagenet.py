import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from camloc.data.datasets.tiny_imagenet import TinyImageNet
from camloc.data.loading.split import SplitName


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The official layout with two classes, listed unsorted, five training images each."""
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    (tmp_path / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\ttench\nn99\tnot used\n")
    for wnid in ("n01", "n02"):
        (tmp_path / "train" / wnid / "images").mkdir(parents=True)
        lines = []
        for number in (10, 9, 0, 1, 2):
            write(tmp_path / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", 20 * number)
            lines.append(f"{wnid}_{number}.JPEG\t{number}\t0\t63\t62")
        (tmp_path / "train" / wnid / f"{wnid}_boxes.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "val" / "images").mkdir(parents=True)
    write(tmp_path / "val" / "images" / "val_3.JPEG", 100)
    (tmp_path / "val" / "val_annotations.txt").write_text("val_3.JPEG\tn02\t5\t6\t5\t6\n")
    return tmp_path


def write(path: Path, value: int, *, gray: bool = False) -> None:
    shape = (64, 64) if gray else (64, 64, 3)
    assert cv2.imwrite(str(path), np.full(shape, value, dtype=np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])


def test_classes_are_sorted_ids_with_their_first_word(root: Path) -> None:
    assert TinyImageNet(str(root)).class_names == ("goldfish", "tench")
    assert TinyImageNet(str(root), classes=["n02"]).class_names == ("tench",)


def test_classes_of_one_word_are_distinguished(root: Path) -> None:
    (root / "words.txt").write_text("n01\tcrane\nn02\tcrane, bird\n")
    assert TinyImageNet(str(root)).class_names == ("crane (n01)", "crane (n02)")


def test_val_is_held_out_by_number_and_test_is_the_official_validation_set(root: Path) -> None:
    data = TinyImageNet(str(root), val_per_class=2)
    val, train, test = data.split("val"), data.split("train"), data.split("test")
    assert [val.image_id(i) for i in range(len(val))] == [
        "train/n01/images/n01_0.JPEG",
        "train/n01/images/n01_1.JPEG",
        "train/n02/images/n02_0.JPEG",
        "train/n02/images/n02_1.JPEG",
    ]
    assert [train.image_id(i).rpartition("/")[2] for i in range(3)] == ["n01_2.JPEG", "n01_9.JPEG", "n01_10.JPEG"]
    assert [train.target(i) for i in range(6)] == [0, 0, 0, 1, 1, 1]
    assert (test.image_id(0), test.target(0)) == ("val/images/val_3.JPEG", 1)


def test_inclusive_annotations_become_half_open_boxes(root: Path) -> None:
    data = TinyImageNet(str(root), val_per_class=2)
    assert data.split("test").gt_boxes(0)[0].tolist() == [[5, 6, 6, 7]]
    assert data.split("val").gt_boxes(1)[0].tolist() == [[1, 0, 64, 63]]


def test_the_training_split_holds_no_boxes(root: Path) -> None:
    split = TinyImageNet(str(root), val_per_class=2).split("train")
    assert [len(split.gt_boxes(index)[0]) for index in range(len(split))] == [0] * len(split)


def test_training_boxes_are_read_where_training_is_to_see_them(root: Path) -> None:
    data = TinyImageNet(str(root), val_per_class=2)
    data.train_with_boxes()
    assert [data.split("train").gt_boxes(index)[0].tolist() for index in range(2)] == [
        [[2, 0, 64, 63]],
        [[9, 0, 64, 63]],
    ]


def test_grayscale_images_become_rgb(root: Path) -> None:
    write(root / "val" / "images" / "val_3.JPEG", 90, gray=True)
    image = TinyImageNet(str(root)).split("test").image(0)
    assert image.shape == (3, 64, 64)
    assert image.dtype == torch.uint8
    assert {*image.flatten().tolist()} <= {89, 90, 91}


def test_an_unreadable_image_is_named(root: Path) -> None:
    file = root / "val" / "images" / "val_3.JPEG"
    file.write_bytes(b"no image")
    with pytest.raises(ValueError, match=f"cannot read the image {file}"):
        TinyImageNet(str(root)).split("test").image(0)


def test_a_missing_root_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"datamodule\.root=.*nowhere has no wnids\.txt; give the unpacked"):
        TinyImageNet(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["n01", "n7", "n8"]}, r"datamodule\.classes: n7, n8 not in .*wnids\.txt \(2 ids\)"),
        ({"classes": []}, r"datamodule\.classes is empty"),
        ({"val_per_class": 0}, r"datamodule\.val_per_class must be at least 1, got 0"),
        ({"crop_area": (1.0, 0.5)}, r"datamodule\.crop_area must be two ascending shares"),
        ({"batch_size": 0}, r"datamodule\.batch_size must be at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(root: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TinyImageNet(str(root), **options)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_4.JPEG\tn02\t5\t6\t64\t6", "the box 5 6 64 6 of val_4.JPEG is inverted or outside its image (pixels 0"),
        ("val_4.JPEG\tn02\t9\t6\t5\t6", "the box 9 6 5 6 of val_4.JPEG is inverted or outside"),
        ("val_4.JPEG\tn02\t5\t6\tx\t6", "a box is four whole numbers, got '5 6 x 6'"),
        ("val_4.JPEG\tn02\t5", "expected 6 tab-separated fields, got 3"),
        ("val_4.JPEG\tn77\t5\t6\t7\t8", "val_4.JPEG is of class 'n77', which wnids.txt lacks; add it there"),
        ("../../x.png\tn02\t5\t6\t7\t8", "expected the name of a file in the folder images, found '../../x.png'"),
        ("./val_3.JPEG\tn02\t5\t6\t7\t8", "expected the name of a file in the folder images, found './val_3.JPEG'"),
        ("\nval_4.JPEG\tn02\t5\t6\t7\t8", "expected 6 tab-separated fields, got 1"),
        ("M\xf6we.JPEG\tn02\t5\t6\t7\t8", "this is not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_broken_annotations_name_file_and_line(root: Path, line: str, message: str) -> None:
    file = root / "val" / "val_annotations.txt"
    file.write_text(f"val_3.JPEG\tn02\t5\t6\t5\t6\n{line}\n", encoding="latin-1")
    with pytest.raises(ValueError, match=re.escape(f"{file}, line 2: {message}")):
        TinyImageNet(str(root)).split("test")


@pytest.mark.parametrize("name", ["val/val_annotations.txt", "train/n01/n01_boxes.txt"])
def test_an_image_listed_in_two_lines_is_refused(root: Path, name: str) -> None:
    lines = (root / name).read_text().splitlines()
    (root / name).write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(
        ValueError,
        match=rf"{name}, line {len(lines) + 1}: .*_\d+\.JPEG is listed in .*{name}, line 1 already; remove one",
    ):
        TinyImageNet(str(root), val_per_class=2).split("test" if name.startswith("val") else "train")


@pytest.mark.parametrize("file", ["n01.JPEG", "n01_x.JPEG", "n01_1", "../n01_1.JPEG"])
def test_a_training_image_without_a_number_is_refused(root: Path, file: str) -> None:
    (root / "train/n01/n01_boxes.txt").write_text(f"n01_0.JPEG\t0\t0\t63\t62\n{file}\t0\t0\t63\t62\n")
    with pytest.raises(ValueError, match=rf"n01_boxes\.txt, line 2: expected .*file.*, found '{re.escape(file)}'"):
        TinyImageNet(str(root), val_per_class=1).split("val")


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("wnids.txt", "n02\n\nn01\n", r"wnids\.txt, line 2: expected one WordNet id, as n01443537, found ''"),
        ("wnids.txt", "n02\n../n01\n", r"wnids\.txt, line 2: expected one WordNet id, as n01443537, found '\.\./n01'"),
        (
            "words.txt",
            "n01\tfox\nn02 tench\n",
            r"words\.txt, line 2: expected a WordNet id, a tab and its words, found",
        ),
        ("words.txt", "n01\tfox\nn02\t\n", r"words\.txt, line 2: expected a WordNet id, a tab and its words, found"),
    ],
)
def test_broken_lists_of_classes_name_file_and_line(root: Path, name: str, lines: str, message: str) -> None:
    (root / name).write_text(lines)
    with pytest.raises(ValueError, match=message):
        TinyImageNet(str(root))


def test_a_mark_and_blank_lines_at_the_end_do_not_matter(root: Path) -> None:
    for file in root.rglob("*.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    data = TinyImageNet(str(root), val_per_class=2)
    assert data.class_names == ("goldfish", "tench")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [6, 4, 1]
    assert data.split("val").gt_boxes(0)[0].tolist() == [[0, 0, 64, 63]]
    assert data.split("test").gt_boxes(0)[0].tolist() == [[5, 6, 6, 7]]


def test_other_known_classes_are_left_out_where_classes_are_given(root: Path) -> None:
    write(root / "val/images/val_4.JPEG", 100)
    with (root / "val/val_annotations.txt").open("a") as file:
        file.write("val_4.JPEG\tn01\t5\t6\t7\t8\n")
    test = TinyImageNet(str(root), classes=["n01"]).split("test")
    assert [test.image_id(i) for i in range(len(test))] == ["val/images/val_4.JPEG"]


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        (
            "train",
            "train/n02/images/n02_10.JPEG",
            r"lacks 1 of 6 files, .*n02_10\.JPEG, which train/\*/\*_boxes\.txt name",
        ),
        ("val", "train/n01/images/n01_0.JPEG", r"lacks 1 of 4 files, .*n01_0\.JPEG, which train/\*/\*_boxes\.txt name"),
        ("test", "val/images/val_3.JPEG", r"lacks 1 of 1 files, .*val_3\.JPEG, which val/val_annotations\.txt names"),
    ],
)
def test_a_missing_image_is_named_before_it_is_needed(root: Path, name: SplitName, image: str, message: str) -> None:
    (root / image).unlink()
    data = TinyImageNet(str(root), val_per_class=2)
    with pytest.raises(FileNotFoundError, match=rf"{message}.*; give the whole tiny-imagenet-200 as datamodule\.root"):
        data.split(name)


def test_holding_out_everything_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"lists 5 images; datamodule\.val_per_class=5 leaves none"):
        TinyImageNet(str(root), val_per_class=5).split("train")


def test_a_split_without_images_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="the test split of TinyImageNet holds no image"):
        TinyImageNet(str(root), classes=["n01"]).split("test")


def test_real_images_and_their_boxes(shared_data: Callable[[str], Path]) -> None:
    data = TinyImageNet(str(shared_data("tiny-imagenet-200")), classes=["n01443537", "n02165456"], input_size=224)
    assert data.class_names == ("goldfish", "ladybug")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [900, 100, 100]
    first = data.split("val")
    assert first.image_id(0).endswith("n01443537_0.JPEG")
    assert first.gt_boxes(0)[0].tolist() == [[0, 10, 64, 59]]
    batch = next(iter(data.test_dataloader()))
    assert batch.images.shape == (64, 3, 224, 224)
    assert all(boxes.min() >= 0 and boxes.max() <= 224 for boxes in batch.truth.gt_boxes)

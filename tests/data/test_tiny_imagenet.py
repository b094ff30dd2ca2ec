import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from camloc.data.tiny_imagenet import TinyImageNet

SHARED = Path(os.environ.get("CAMLOC_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "tiny-imagenet-200"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The official layout with two classes, listed unsorted, five training pictures each."""
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
    assert data.split("test").gt_boxes(0).tolist() == [[5, 6, 6, 7]]
    assert data.split("val").gt_boxes(1).tolist() == [[1, 0, 64, 63]]


def test_the_training_split_holds_no_boxes(root: Path) -> None:
    split = TinyImageNet(str(root), val_per_class=2).split("train")
    assert [len(split.gt_boxes(index)) for index in range(len(split))] == [0] * len(split)


def test_grayscale_pictures_become_rgb(root: Path) -> None:
    write(root / "val" / "images" / "val_3.JPEG", 90, gray=True)
    picture = TinyImageNet(str(root)).split("test").picture(0)
    assert picture.shape == (3, 64, 64)
    assert picture.dtype == torch.uint8
    assert {*picture.flatten().tolist()} <= {89, 90, 91}


def test_an_unreadable_picture_is_named(root: Path) -> None:
    file = root / "val" / "images" / "val_3.JPEG"
    file.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=f"cannot read the picture {file}"):
        TinyImageNet(str(root)).split("test").picture(0)


def test_a_missing_root_is_named_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"datamodule\.root=.*nowhere has no wnids\.txt; give the unpacked"):
        TinyImageNet(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["n01", "n7", "n8"]}, r"datamodule\.classes: n7, n8 not in .*wnids\.txt \(2 ids\)"),
        ({"classes": []}, r"datamodule\.classes is empty"),
        ({"val_per_class": 0}, r"datamodule\.val_per_class must be at least 1"),
        ({"crop_area": (1.0, 0.5)}, r"datamodule\.crop_area must rise within"),
        ({"batch_size": 0}, r"datamodule\.batch_size must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be_are_refused(root: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TinyImageNet(str(root), **options)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_3.JPEG\tn02\t5\t6\t64\t6", r"val_3\.JPEG: box 5 6 64 6 is inverted or outside .*pixels 0 to 63"),
        ("val_3.JPEG\tn02\t9\t6\t5\t6", r"box 9 6 5 6 is inverted or outside"),
        ("val_3.JPEG\tn02\t5\t6\tx\t6", r"a box is four whole numbers, got '5 6 x 6'"),
        ("val_3.JPEG\tn02\t5", r"val_annotations\.txt, line 1: expected 6 tab-separated fields, got 3"),
    ],
)
def test_broken_annotations_name_file_and_line(root: Path, line: str, message: str) -> None:
    (root / "val" / "val_annotations.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        TinyImageNet(str(root)).split("test")


def test_holding_out_everything_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"lists 5 pictures; datamodule\.val_per_class=5 leaves none"):
        TinyImageNet(str(root), val_per_class=5).split("train")


def test_a_split_without_pictures_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="the test split of TinyImageNet holds no picture"):
        TinyImageNet(str(root), classes=["n01"]).split("test")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"real pictures are not at {SHARED} (CAMLOC_SHARED_DATA)")
def test_real_pictures_and_their_boxes() -> None:
    data = TinyImageNet(str(SHARED), classes=["n01443537", "n02165456"])
    assert data.class_names == ("goldfish", "ladybug")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [900, 100, 100]
    first = data.split("val")
    assert first.image_id(0).endswith("n01443537_0.JPEG")
    assert first.gt_boxes(0).tolist() == [[0, 10, 64, 59]]
    batch = next(iter(data.test_dataloader()))
    assert batch.images.shape == (64, 3, 224, 224)
    assert all(boxes.min() >= 0 and boxes.max() <= 224 for boxes in batch.truth.gt_boxes)

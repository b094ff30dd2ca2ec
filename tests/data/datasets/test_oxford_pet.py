from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from camloc.data.datasets.oxford_pet import OxfordPet

HEADER = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n"
TRAINVAL = [
    "Abyssinian_100 1 1 1",
    "Abyssinian_9 1 1 1",
    "Abyssinian_10 1 1 1",
    "american_bulldog_203 2 2 1",
    "american_bulldog_7 2 2 1",
]
TEST = ["american_bulldog_1 2 2 1", "Abyssinian_201 1 1 1"]
TRIMAP = [[2, 2, 2, 2, 2], [2, 3, 3, 3, 2], [2, 3, 1, 1, 3], [2, 2, 3, 3, 2]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The official layout: two breeds, images of 4x5 pixels, and the junk that macOS left."""
    trimaps = tmp_path / "annotations" / "trimaps"
    trimaps.mkdir(parents=True)
    (tmp_path / "images").mkdir()
    for name, lines in {"trainval": TRAINVAL, "test": TEST}.items():
        (tmp_path / "annotations" / f"{name}.txt").write_text(HEADER + "".join(f"{line} \n" for line in lines))
        for line in lines:
            image = line.split()[0]
            assert cv2.imwrite(str(tmp_path / "images" / f"{image}.jpg"), np.full((4, 5, 3), 90, np.uint8))
            assert cv2.imwrite(str(trimaps / f"{image}.png"), np.array(TRIMAP, np.uint8))
            (trimaps / f"._{image}.png").write_bytes(b"\0\5\x16\7")
    return tmp_path


def ids(data: OxfordPet, name: str) -> list[str]:
    split = data.split(name)  # type: ignore[arg-type] # a split's name
    return [split.image_id(i).removeprefix("images/").removesuffix(".jpg") for i in range(len(split))]


def test_classes_are_in_the_order_of_their_numbers_and_named_by_the_files(root: Path) -> None:
    data = OxfordPet(str(root), val_per_class=1)
    assert data.class_names == ("Abyssinian", "american_bulldog")
    assert [data.split("train").target(i) for i in range(3)] == [0, 0, 1]
    assert [data.split("test").target(i) for i in range(2)] == [1, 0]


def test_val_is_held_out_by_number_and_test_is_the_official_one(root: Path) -> None:
    data = OxfordPet(str(root), val_per_class=1)
    assert ids(data, "val") == ["Abyssinian_9", "american_bulldog_7"]
    assert ids(data, "train") == ["Abyssinian_100", "Abyssinian_10", "american_bulldog_203"]
    assert ids(data, "test") == ["american_bulldog_1", "Abyssinian_201"]


def test_the_border_is_ignored_and_not_in_the_box(root: Path) -> None:
    split = OxfordPet(str(root), val_per_class=1).split("test")
    masks = split.masks(0)
    assert masks is not None
    assert torch.equal(masks[0][0], torch.tensor(TRIMAP) == 1)
    assert torch.equal(masks[1][0], torch.tensor(TRIMAP) == 3)
    assert split.gt_boxes(0)[0].tolist() == [[2, 2, 4, 3]]


def test_training_images_have_neither_boxes_nor_masks(root: Path) -> None:
    train = OxfordPet(str(root), val_per_class=1).split("train")
    assert train.gt_boxes(0)[0].shape == (0, 4)
    assert train.masks(0) is None


def test_training_boxes_are_read_where_training_is_to_see_them(root: Path) -> None:
    data = OxfordPet(str(root), val_per_class=1)
    data.train_with_boxes()
    assert data.split("train").gt_boxes(0)[0].shape == (1, 4)


def test_training_needs_no_trimaps(root: Path) -> None:
    for path in (root / "annotations" / "trimaps").iterdir():
        path.unlink()
    assert len(OxfordPet(str(root), val_per_class=1).split("train")) == 3


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("P", "GIF")]
)
def test_images_that_are_not_rgb_or_not_jpeg_are_read(root: Path, mode: str, kind: str) -> None:
    # 102 is a level of the palette that Pillow converts to.
    Image.new("RGB", (5, 4), (102, 102, 102)).convert(mode).save(root / "images" / "american_bulldog_1.jpg", kind)
    split = OxfordPet(str(root), val_per_class=1).split("test")
    image = split.image(0)
    assert image.shape == (3, 4, 5)
    assert {*image.flatten().tolist()} <= {100, 101, 102, 103, 104}
    masks = split.masks(0)
    assert masks is not None
    assert torch.equal(masks[0][0], torch.tensor(TRIMAP) == 1)


def test_a_trimap_with_other_values_is_named(root: Path) -> None:
    file = root / "annotations" / "trimaps" / "Abyssinian_201.png"
    for levels in ([[0, 1]], [[1, 4]]):
        assert cv2.imwrite(str(file), np.array(levels, np.uint8))
        with pytest.raises(ValueError, match=rf"{file} is not a trimap: .* found {levels[0][0]} to {levels[0][1]}"):
            OxfordPet(str(root), val_per_class=1).split("test")


def test_a_trimap_without_foreground_has_no_box(root: Path) -> None:
    assert cv2.imwrite(str(root / "annotations" / "trimaps" / "Abyssinian_201.png"), np.full((4, 5), 3, np.uint8))
    split = OxfordPet(str(root), val_per_class=1).split("test")
    assert split.gt_boxes(1)[0].shape == (0, 4)


@pytest.mark.parametrize("shape", [(5, 4), (4, 9)])
def test_a_trimap_of_another_shape_than_its_image_is_refused(root: Path, shape: tuple[int, int]) -> None:
    file = root / "annotations" / "trimaps" / "Abyssinian_201.png"
    assert cv2.imwrite(str(file), np.ones(shape, np.uint8))
    height, width = shape
    with pytest.raises(ValueError, match=rf"{file} is {width} by {height} pixels and its image, .*, 5 by 4: another"):
        OxfordPet(str(root), val_per_class=1).split("test")


def test_a_trimap_may_be_larger_than_its_image(root: Path) -> None:
    larger = np.array(TRIMAP, np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    assert cv2.imwrite(str(root / "annotations" / "trimaps" / "Abyssinian_201.png"), larger)
    assert OxfordPet(str(root), val_per_class=1).split("test").gt_boxes(1)[0].tolist() == [[2, 2, 4, 3]]


def test_an_unreadable_trimap_is_named(root: Path) -> None:
    file = root / "annotations" / "trimaps" / "Abyssinian_201.png"
    file.write_bytes(b"\0\5\x16\7")
    with pytest.raises(ValueError, match=f"cannot read the mask {file}"):
        OxfordPet(str(root), val_per_class=1).split("test")


@pytest.mark.parametrize("file", ["images/Abyssinian_201.jpg", "annotations/trimaps/Abyssinian_201.png"])
def test_a_missing_file_is_named(root: Path, file: str) -> None:
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{root} lacks 1 of 2 files, {file}, which .*test\.txt names; give"):
        OxfordPet(str(root), val_per_class=1).split("test")


def test_a_missing_root_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"datamodule\.root=.*nowhere has no annotations/trainval\.txt; give"):
        OxfordPet(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["Abyssinian_1 1 1"],
            r"test\.txt, line 3: expected Breed_number CLASS SPECIES BREED, found 'Abyssinian_1 1 1'",
        ),
        (["../Abyssinian_1 1 1 1"], r"line 3: expected Breed_number"),
        (["Abyssinian 1 1 1"], r"line 3: expected Breed_number"),
        (["Abyssinian_1 0 1 1"], r"line 3: expected Breed_number"),
        (["Bengal_1 1 1 1"], r"line 3: class 1 is Bengal, and Abyssinian in an earlier line"),
        (["Birman_1 4 1 1"], r"no image has class 3; classes run from 1"),
        ([*TEST, "Abyssinian_9 1 1 1"], r"line 5: Abyssinian_9 is listed in .*trainval\.txt, line 4 already"),
    ],
)
def test_broken_lists_name_file_and_line(root: Path, lines: list[str], message: str) -> None:
    (root / "annotations" / "test.txt").write_text(HEADER + "\n".join(lines))
    with pytest.raises(ValueError, match=message):
        OxfordPet(str(root), val_per_class=1)


def test_a_mark_and_blank_lines_do_not_matter_and_latin1_is_named(root: Path) -> None:
    file = root / "annotations" / "test.txt"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join([*HEADER.splitlines(), *TEST, ""]).encode())
    assert ids(OxfordPet(str(root), val_per_class=1), "test") == ["american_bulldog_1", "Abyssinian_201"]
    file.write_bytes(HEADER.encode() + b"M\xf6we_1 1 1 1\n")
    with pytest.raises(ValueError, match=r"test\.txt, line 3: this is not UTF-8 text; save the file as UTF-8"):
        OxfordPet(str(root), val_per_class=1)


def test_lists_without_images_are_refused(root: Path) -> None:
    for name in ("trainval", "test"):
        (root / "annotations" / f"{name}.txt").write_text(HEADER)
    with pytest.raises(ValueError, match=r"trainval\.txt and test\.txt list no image"):
        OxfordPet(str(root))


def test_holding_out_everything_or_nothing_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"lists 2 images of american_bulldog; datamodule\.val_per_class=2 leaves"):
        OxfordPet(str(root), val_per_class=2).split("train")
    with pytest.raises(ValueError, match=r"datamodule\.val_per_class must be at least 1, got 0"):
        OxfordPet(str(root), val_per_class=0)

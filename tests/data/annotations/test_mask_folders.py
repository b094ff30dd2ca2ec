from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.annotations.mask_folders import MaskFolders
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import AnnotatedImages

TWO = ((1, 1, 3, 4), (4, 0, 6, 2))
"""Half-open boxes of two pieces in a mask of 5 by 8 pixels."""


def draw(root: Path, masks: Mapping[str, Sequence[tuple[int, ...]]], images: Sequence[str], height: int = 5) -> Path:
    for name in (*masks, *images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    for name in images:
        assert cv2.imwrite(str(root / name), np.full((5, 8, 3), 90, np.uint8))
    for name, boxes in masks.items():
        mask = np.zeros((height, 8), np.uint8)
        for x0, y0, x1, y1 in boxes:
            mask[y0:y1, x0:x1] = 255
        assert cv2.imwrite(str(root / name), mask)
    return root


def labels(table: AnnotatedImages) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in table.names}
    for image, kind in table.labels.tolist():
        found[table.names[image]].append(table.class_names[kind])
    return found


def boxes(table: AnnotatedImages) -> list[tuple[str, str, tuple[float, ...]]]:
    pairs = zip(table.box_image, table.box_class, table.boxes.tolist(), strict=True)
    return [(table.names[image], table.class_names[kind], tuple(box)) for image, kind, box in pairs]


def problems(reader: MaskFolders, root: Path) -> list[tuple[str, str]]:
    with pytest.raises(DataProblems) as error:
        reader.read(root)
    return error.value.problems


def test_a_folder_of_masks_for_each_class(tmp_path: Path) -> None:
    masks = {"masks/cell/a.png": TWO, "masks/scratch/a_1.png": TWO[:1], "masks/scratch/a_2.png": TWO[1:]}
    images = ["images/train/a.jpg", "images/val/b_1.jpg", "images/val/none.jpg"]
    root = draw(tmp_path, {**masks, "masks/cell/b_1.png": TWO[:1]}, images)
    (root / "notes.txt").touch()
    (root / "masks" / "._a.png").touch()
    table = MaskFolders().read(root)
    assert MaskFolders().recognise(root) == "masks, masks/{class}/{stem}.png"
    assert labels(table) == {
        "images/train/a.jpg": ["cell", "scratch"],
        "images/val/b_1.jpg": ["cell"],
        "images/val/none.jpg": [],
    }
    assert sorted(boxes(table)) == [
        ("images/train/a.jpg", "cell", TWO[0]),
        ("images/train/a.jpg", "cell", TWO[1]),
        ("images/train/a.jpg", "scratch", TWO[0]),
        ("images/train/a.jpg", "scratch", TWO[1]),
        ("images/val/b_1.jpg", "cell", TWO[0]),
    ]
    assert table.splits == ["train", "val", "val"]
    assert table.sizes.tolist() == [[5, 8], [5, 8], [0, 0]]
    rows = zip(table.masks, table.mask_labels.tolist(), strict=True)
    assert {(file, table.names[image], table.class_names[kind]) for file, (image, kind) in rows} == {
        ("masks/cell/a.png", "images/train/a.jpg", "cell"),
        ("masks/cell/b_1.png", "images/val/b_1.jpg", "cell"),
        ("masks/scratch/a_1.png", "images/train/a.jpg", "scratch"),
        ("masks/scratch/a_2.png", "images/train/a.jpg", "scratch"),
    }
    assert table.notes == [
        "1 images have no mask with anything inside, first images/val/none.jpg: they show no object",
        f"{root}: 1 file is not read (1 .txt), first notes.txt",
    ]


def test_mvtec_ad(tmp_path: Path) -> None:
    masks = {"ground_truth/hole/000_mask.png": TWO, "ground_truth/cut/000_mask.png": TWO[:1]}
    images = ["train/good/000.png", "test/good/000.png", "test/hole/000.png", "test/cut/000.png", "test/cut/001.png"]
    root = draw(tmp_path, masks, images)
    table = MaskFolders("ground_truth/{class}/{stem}_mask.png", "*/{class}/{stem}.*").read(root)
    assert labels(table) == {
        "test/cut/000.png": ["cut"],
        "test/cut/001.png": ["cut"],
        "test/good/000.png": ["good"],
        "test/hole/000.png": ["hole"],
        "train/good/000.png": ["good"],
    }
    assert sorted(boxes(table)) == [
        ("test/cut/000.png", "cut", TWO[0]),
        ("test/hole/000.png", "hole", TWO[0]),
        ("test/hole/000.png", "hole", TWO[1]),
    ]
    assert set(table.splits) == {""}
    assert table.notes == []


def test_visa(tmp_path: Path) -> None:
    masks = {"Data/Masks/Anomaly/000.png": TWO}
    images = ["Data/Images/Normal/000.JPG", "Data/Images/Anomaly/000.JPG"]
    table = MaskFolders("Data/Masks/{class}/{stem}.png", "Data/Images/{class}/{stem}.*").read(
        draw(tmp_path, masks, images)
    )
    assert labels(table) == {"Data/Images/Anomaly/000.JPG": ["Anomaly"], "Data/Images/Normal/000.JPG": ["Normal"]}
    assert {(image, kind) for image, kind, _ in boxes(table)} == {("Data/Images/Anomaly/000.JPG", "Anomaly")}


def test_a_mask_beside_each_image(tmp_path: Path) -> None:
    masks = {"kos01/Part0_label.bmp": (), "kos01/Part1_label.bmp": TWO, "kos02/Part0_label.bmp": TWO[:1]}
    images = ["kos01/Part0.jpg", "kos01/Part1.jpg", "kos02/Part0.jpg", "kos02/Part1.jpg"]
    reader = MaskFolders("{folder}/{stem}_label.bmp", "{folder}/{stem}.jpg", objects="defect", without="good")
    table = reader.read(draw(tmp_path, masks, images))
    assert labels(table) == {
        "kos01/Part0.jpg": ["good"],
        "kos01/Part1.jpg": ["defect"],
        "kos02/Part0.jpg": ["defect"],
        "kos02/Part1.jpg": ["good"],
    }
    assert {(image, box) for image, _, box in boxes(table)} == {
        ("kos01/Part1.jpg", TWO[0]),
        ("kos01/Part1.jpg", TWO[1]),
        ("kos02/Part0.jpg", TWO[0]),
    }
    assert table.notes == [
        "nothing is inside of 1 masks: they outline no object",
        "2 images have no mask with anything inside, first kos01/Part0.jpg: they are of the class good",
    ]


def test_a_mask_of_the_same_name_with_another_suffix(tmp_path: Path) -> None:
    root = draw(tmp_path, {"MT_Crack/Imgs/1.png": TWO[:1]}, ["MT_Crack/Imgs/1.jpg", "MT_Free/Imgs/1.jpg"])
    table = MaskFolders("{class}/Imgs/{stem}.png", "{class}/Imgs/{stem}.jpg").read(root)
    assert labels(table) == {"MT_Crack/Imgs/1.jpg": ["MT_Crack"], "MT_Free/Imgs/1.jpg": ["MT_Free"]}
    assert boxes(table) == [("MT_Crack/Imgs/1.jpg", "MT_Crack", TWO[0])]


def test_what_is_wrong_with_masks_is_collected(tmp_path: Path) -> None:
    masks = {"masks/a/gone.png": TWO, "masks/a/two.png": TWO, "masks/a/1.png": TWO}
    root = draw(tmp_path, masks, ["x/two.jpg", "y/two.jpg", "1.jpg"])
    draw(root, {"masks/b/1.png": TWO}, [], height=9)
    (root / "masks" / "a" / "1_2.png").write_bytes(b"\x89PNG")
    found = problems(MaskFolders(), root)
    assert [where for where, _ in found] == ["masks/a/1_2.png", "masks/a/gone.png", "masks/a/two.png", "masks/b/1.png"]
    for (_, message), expected in zip(
        found,
        (
            "cannot read the mask",
            "the mask is of no image",
            "the mask could be of x/two.jpg or y/two.jpg; name the folder as well",
            "another mask of 1.jpg has another size",
        ),
        strict=True,
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": "masks/{class}/*.png"}, r"masks=masks/\{class\}/\*\.png has no \{stem\}"),
        ({"images": "{case}/{stem}.*"}, r"images=.* holds \{case\}/; it may hold \{folder\}/"),
        ({"masks": "{stem}_GT.png"}, r"neither masks=\{stem\}_GT\.png nor images=.* has \{class\}; add it, or name"),
    ],
)
def test_patterns_that_cannot_work_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskFolders(**options)


def test_a_folder_without_both_is_named(tmp_path: Path) -> None:
    root = draw(tmp_path, {}, ["a.jpg"])
    assert MaskFolders().recognise(root) is None
    with pytest.raises(FileNotFoundError, match=r"has 1 images .* and 0 masks masks/\{class\}/\{stem\}\.png; give"):
        MaskFolders().read(root)

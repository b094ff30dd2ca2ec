import json
import os
import re
import shutil
from pathlib import Path
from runpy import run_path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from camloc.data.annotations.coco import CocoReader
from camloc.data.annotations.contract import AnnotationReader
from camloc.data.annotations.csv_boxes import CsvReader
from camloc.data.annotations.mask_images import MaskReader
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.voc import VocReader
from camloc.data.datasets.folder import Folder
from camloc.data.datasets.textures import Textures
from camloc.data.loading.dealing import SPLIT_NAMES, deal
from camloc.data.loading.preflight import check_splits
from camloc.data.loading.split import Subset

TREES = run_path(str(Path(__file__).parent / "folder_trees.py"))
READERS: dict[str, AnnotationReader] = {
    "voc": VocReader(),
    "coco": CocoReader(),
    "csv": CsvReader(),
    "masks": MaskReader(),
}
CLASSES = [f"class{number}" for number in range(9)]
CLASSES_OF_THREE = ("cat", "dog", "emu")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def source(count: int = 27) -> Subset:
    """Images with one object each, of several sizes."""
    split = Textures(num_train=1, num_val=1, num_test=count, image_size=64, input_size=32).split("test")
    return Subset(split, np.array([index for index in range(count) if len(split.gt_boxes(index)[0]) == 1]))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """``train``, ``val`` and ``test`` with the same images in each."""
    for name in ("train", "val", "test"):
        TREES["write_images"](source(), CLASSES, tmp_path / "images" / name)
    return tmp_path / "images"


@pytest.mark.parametrize("kind", TREES["FORMATS"])
def test_every_format_gives_the_boxes_that_were_written(kind: str, tree: Path) -> None:
    split = source()
    for name in ("val", "test"):
        TREES["write_annotations"](kind, split, CLASSES, tree / "annotations", name)
    datamodule = Folder(str(tree), annotations=READERS[kind])
    test = datamodule.split("test")
    assert len(test) == len(split)
    by_name = {TREES["image_file"](split, CLASSES, Path("test"), i).as_posix(): i for i in range(len(split))}
    for index in range(len(test)):
        original = by_name[test.image_id(index)]
        assert torch.equal(test.gt_boxes(index)[0], split.gt_boxes(original)[0])
        assert torch.equal(test.image(index), split.image(original))
        assert test.target(index) == split.target(original)
        masks = test.masks(index)
        assert (masks is not None) == (kind == "masks")
        if masks is not None:
            x0, y0, x1, y1 = split.gt_boxes(original)[0][0].long().tolist()
            assert masks[0][0].sum() == masks[0][0][y0:y1, x0:x1].sum() == (x1 - x0) * (y1 - y0)
            assert not masks[1][0].any()
    assert datamodule.split("train").gt_boxes(0)[0].shape == (0, 4)
    assert datamodule.notes == []
    TREES["write_annotations"](kind, split, CLASSES, tree / "annotations", "train")
    seeing = Folder(str(tree), annotations=READERS[kind])
    seeing.train_with_boxes()
    assert len(seeing.split("train").gt_boxes(0)[0]) == 1


def test_without_annotation_there_is_no_box_and_no_error(tree: Path) -> None:
    datamodule = Folder(str(tree))
    assert datamodule.class_names == tuple(CLASSES)
    assert all(len(datamodule.split("test").gt_boxes(index)[0]) == 0 for index in range(3))


def test_class_folders_alone_are_dealt_by_name_and_seed(tmp_path: Path) -> None:
    for name, count in (("cat", 20), ("dog", 30), ("emu", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "cat.png").touch()
    names = [
        f"{name}/{number}.png" for name, count in (("cat", 20), ("dog", 30), ("emu", 1)) for number in range(count)
    ]
    expected = dict(zip(names, deal(names, (0.15, 0.2), seed=3).tolist(), strict=True))
    datamodule = Folder(str(tmp_path), seed=3, test_share=0.2)
    assert datamodule.class_names == ("cat", "dog", "emu")
    for place, name in enumerate(SPLIT_NAMES):
        split = datamodule.split(name)
        assert [split.image_id(i) for i in range(len(split))] == sorted(n for n in names if expected[n] == place)
        assert all(split.image_id(i).startswith(CLASSES_OF_THREE[int(split.target(i))]) for i in range(len(split)))
    dealt = datamodule.dealt
    assert dealt is not None
    assert dict(zip(dealt.image_ids, dealt.splits.tolist(), strict=True)) == expected
    assert set(dealt.groups) == {""}
    (note,) = datamodule.notes
    counts = np.bincount(list(expected.values()))
    assert note.startswith(
        f"{tmp_path}: dealt by a hash of names and the seed: {counts[0]} train, {counts[1]} val, {counts[2]} test; "
    )
    absent = [name for place, name in enumerate(SPLIT_NAMES) if place != expected["emu/0.png"]]
    assert all(f"; {name} got no image of emu: add images or give another seed" in note for name in absent)
    other = Folder(str(tmp_path), seed=4).split("val")
    assert [other.image_id(i) for i in range(len(other))] != [n for n in names if expected[n] == 1]


def test_images_that_are_added_move_no_other(tmp_path: Path) -> None:
    def found() -> dict[str, str]:
        datamodule = Folder(str(tmp_path))
        splits = {name: datamodule.split(name) for name in SPLIT_NAMES}
        return {split.image_id(i): name for name, split in splits.items() for i in range(len(split))}

    images(tmp_path, *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(30)))
    before = found()
    images(tmp_path, *(f"{name}/{number}.png" for name in ("ant", "dog", "eel") for number in range(100, 120)))
    after = found()
    assert len(after) == 120
    assert before.items() <= after.items()


def test_a_group_is_dealt_as_one_and_must_not_be_in_two_folders(tmp_path: Path) -> None:
    names = [f"{name}/p{patient}_{n}.png" for patient in range(20) for n, name in enumerate(("ill", "well"))]
    images(tmp_path / "all", *names)
    datamodule = Folder(str(tmp_path / "all"), group_by=r"^(p\d+)_", val_share=0.3, test_share=0.3)
    where: dict[str, set[str]] = {}
    for name in SPLIT_NAMES:
        split = datamodule.split(name)
        for index in range(len(split)):
            where.setdefault(split.image_id(index).split("/")[1].split("_")[0], set()).add(name)
    assert len(where) == 20
    assert all(len(splits) == 1 for splits in where.values())
    assert {name for splits in where.values() for name in splits} == set(SPLIT_NAMES)
    assert datamodule.dealt is not None
    assert datamodule.dealt.groups[:2] == ["p0", "p10"]
    assert datamodule.notes[0].startswith(f"{tmp_path / 'all'}: dealt by a hash of groups and the seed: ")
    root = images(tmp_path / "given", "train/ill/p1_1.png", "train/well/p2_1.png", "test/ill/p3_1.png")
    Folder(str(root), group_by=r"^(p\d+)_")
    images(root, "test/well/p2_2.png")
    with pytest.raises(
        ValueError, match=r"in two splits, first p2: well/p2_1\.png in train and well/p2_2\.png in test; a network must"
    ):
        Folder(str(root), group_by=r"^(p\d+)_")
    with pytest.raises(ValueError, match=r"group_by=\^q finds|group_by=\^q has no group"):
        Folder(str(root), group_by="^q")


def test_one_folder_for_evaluation_is_halved(tree: Path) -> None:
    for file in sorted((tree / "val").rglob("*.png")):
        file.unlink()
    for folder in sorted((tree / "val").glob("*")):
        folder.rmdir()
    (tree / "val").rmdir()
    datamodule = Folder(str(tree))
    val, test = datamodule.split("val"), datamodule.split("test")
    ids = [{split.image_id(i) for i in range(len(split))} for split in (val, test)]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == len(source())
    assert all(name.startswith("test/") for name in ids[0] | ids[1])


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.zeros((20, 30, 3), np.uint8))
    return root


VOC = "<annotation>{}</annotation>"
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two classes, two training and two test images, and two of val."""
    names = [f"{split}/{name}/{split}{name}.png" for split in ("train", "val", "test") for name in ("cat", "dog")]
    return images(tmp_path / "two", *names)


def test_voc_next_to_the_images_counts_from_one_or_from_zero(two: Path) -> None:
    for name in ("cat", "dog"):
        text = VOC.format(OBJECT.format(name, 1, 2, 10, 19) + OBJECT.format("horse", 3, 3, 5, 5))
        (two / "test" / name / f"test{name}.xml").write_text(text)
    boxes = [
        Folder(str(two), VocReader(one_based=flag)).split("test").gt_boxes(0)[0].tolist() for flag in (True, False)
    ]
    assert boxes == [[[0, 1, 10, 19]], [[1, 2, 11, 20]]]  # the horse is not of the image's class


def test_names_that_are_not_a_class_are_all_taken(two: Path) -> None:
    for name in ("cat", "dog"):
        text = VOC.format(OBJECT.format("object", 1, 2, 10, 20) + OBJECT.format("thing", 3, 3, 5, 5))
        (two / "test" / name / f"test{name}.xml").write_text(text)
    assert len(Folder(str(two), VocReader()).split("test").gt_boxes(0)[0]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", r"testcat.xml cannot be read as Pascal VOC XML: no element found"),
        ("", r"cannot be read as Pascal VOC XML"),
        (
            '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>',
            r"cannot be read as Pascal VOC XML: it declares entities",
        ),
        (VOC.format("<object><bndbox/></object>"), r"testcat.xml, object 1: it has no <name>"),
        (VOC.format("<object><name>cat</name></object>"), r"object 1 \(cat\): <bndbox> needs .* <xmin>, found nothing"),
        (VOC.format(OBJECT.format("cat", 1, "two", 3, 4)), r"needs a number in <ymin>, found 'two'"),
        (VOC.format(OBJECT.format("cat", 9, 1, 3, 4)), r"the box 8 0 3 4 .* is inverted, empty or not finite"),
        (VOC.format(OBJECT.format("cat", "nan", 1, 3, 4)), r"the box nan 0 3 4 .* not finite"),
        (VOC.format(OBJECT.format("dog", 1, 1, 3, 4)), r"lies in the folder cat and its objects are named dog"),
    ],
)
def test_broken_voc_is_one_clear_error(text: str, message: str, two: Path) -> None:
    (two / "test" / "cat" / "testcat.xml").write_text(text)
    (two / "test" / "dog" / "testdog.xml").write_text(VOC.format(OBJECT.format("dog", 1, 1, 3, 4)))
    with pytest.raises(ValueError, match=message):
        Folder(str(two), VocReader()).split("test")


def coco(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - json
    content = {
        "images": [{"id": 1, "file_name": "cat/testcat.png"}, {"id": 5, "file_name": "testdog.png"}],
        "annotations": [
            {"image_id": 1, "category_id": 18, "bbox": [1.5, 2, 10, 5]},
            {"image_id": 5, "category_id": 20, "bbox": [0, 0, 3, 3]},
            {"image_id": 5, "category_id": 20, "bbox": [0, 0, 30, 20], "iscrowd": 1},
        ],
        "categories": [{"id": 18, "name": "cat"}, {"id": 20, "name": "dog"}],
    }
    return content | changes


def test_coco_is_found_by_path_or_by_unique_name_and_crowds_are_left_out(two: Path) -> None:
    (two / "annotations").mkdir()
    (two / "annotations" / "test.json").write_text(json.dumps(coco()))
    split = Folder(str(two), CocoReader()).split("test")
    assert [split.gt_boxes(index)[0].tolist() for index in range(2)] == [[[1.5, 2, 11.5, 7]], [[0, 0, 3, 3]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is not a COCO json"),
        ({"images": []}, "is not a COCO json with images, annotations and categories: ValidationError"),
        (coco(categories=[]), "category_id 18 is not among the categories"),
        (coco(annotations=[{"image_id": 9, "category_id": 18, "bbox": [0, 0, 1, 1]}]), "image_id 9 is not among"),
        (coco(annotations=[{"image_id": 1, "category_id": 18, "bbox": [0, 0, 1]}]), r"annotations\[0\]: expected"),
        (coco(annotations=[{"image_id": 1, "category_id": 18, "bbox": [0, 0, 0, 1]}]), "is inverted, empty"),
        (coco(images=[{"id": i, "file_name": "a.png"} for i in (1, 5)]), "the file_name 'a.png' occurs 2 times"),
    ],
)
def test_broken_coco_is_one_clear_error(content: Any, message: str, two: Path) -> None:  # noqa: ANN401 - json
    (two / "annotations").mkdir()
    (two / "annotations" / "test.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        Folder(str(two), CocoReader()).split("test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must name file and x0,y0,x1,y1"),
        ("file,x0,y0,x1\na,1,2,3\n", "line 1: the header must name .* found file,x0,y0,x1"),
        (
            "file,x0,y0,x1,y1\ncat/testcat.png,1,2,3\n",
            "line 2: expected 5 fields, file,x0,y0,x1,y1; found cat/testcat.png,1,2,3",
        ),
        ("file,x0,y0,x1,y1\ncat/testcat.png,1,2,3,x\n", "line 2: .* found 1,2,3,x"),
        ("file,x0,y0,x1,y1\ncat/testcat.png,5,2,3,9\n", "line 2: the box 5 2 3 9 .* is inverted"),
    ],
)
def test_broken_csv_is_one_clear_error_with_its_line(text: str, message: str, two: Path) -> None:
    (two / "annotations").mkdir()
    (two / "annotations" / "test.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        Folder(str(two), CsvReader()).split("test")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc/passwd", "../x.png"])
def test_what_lies_outside_is_no_image_of_the_folder(name: str, two: Path) -> None:
    (two / "annotations").mkdir()
    content = coco(images=[{"id": 1, "file_name": name}], annotations=[])
    (two / "annotations" / "test.json").write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError, match=r"test\.json annotates none of the 2 images"):
        Folder(str(two), CocoReader()).split("test")


@pytest.mark.parametrize("prefix", ["images\\", "C:\\data\\", "/home/me/data/test/cat/", "images/", "../"])
def test_names_with_other_folders_are_matched(prefix: str, two: Path) -> None:
    (two / "annotations").mkdir()
    for split in ("test", "val"):
        lines = [f"{prefix}{split}{name}.png,0,0,3,3" for name in ("cat", "dog")]
        (two / "annotations" / f"{split}.csv").write_text("\n".join(["file,x0,y0,x1,y1", *lines]))
    test = Folder(str(two), CsvReader()).split("test")
    assert [test.gt_boxes(index)[0].tolist() for index in range(2)] == [[[0, 0, 3, 3]]] * 2


def test_several_lines_of_csv_are_several_boxes_and_strays_are_reported(two: Path) -> None:
    (two / "annotations").mkdir()
    lines = ["file, x1, y1, x2, y2", "test/cat/testcat.png, 0, 0, 3, 3", "test/cat/testcat.png, 4, 4, 9, 9"]
    lines += ["dog/testdog.png,1,1,2,2", "nobody.png,1,1,2,2"]
    (two / "annotations" / "test.csv").write_text("\n".join(lines))
    datamodule = Folder(str(two), CsvReader())
    assert [len(datamodule.split("test").gt_boxes(index)[0]) for index in range(2)] == [2, 1]
    (note,) = datamodule.notes
    assert note.endswith("1 annotations belong to no image, first nobody.png")


def test_a_flat_annotation_that_could_be_of_two_images_is_an_error(tmp_path: Path) -> None:
    root = images(tmp_path / "p", *(f"{split}/{name}/1.png" for split in ("train", "test") for name in ("cat", "dog")))
    images(root, "val/cat/2.png", "val/dog/3.png")
    (root / "annotations" / "test").mkdir(parents=True)
    (root / "annotations" / "test" / "1.xml").write_text(VOC.format(OBJECT.format("cat", 1, 1, 3, 3)))
    with pytest.raises(
        ValueError, match=r"1.xml could belong to test/cat/1.png or to test/dog/1.png; name the folder as well"
    ):
        Folder(str(root), VocReader()).split("test")


def test_several_pieces_of_a_mask_are_several_boxes_in_pixels_of_the_image(two: Path) -> None:
    mask = np.zeros((10, 15), np.uint8)  # half the image's size
    mask[1:3, 1:3] = 1
    mask[5:9, 8:14] = 255
    (two / "annotations" / "test").mkdir(parents=True)
    for name in ("cat", "dog"):
        cv2.imwrite(str(two / "annotations" / "test" / f"test{name}.png"), mask)
    split = Folder(str(two), MaskReader()).split("test")
    assert split.gt_boxes(0)[0].tolist() == [[2, 2, 6, 6], [16, 10, 28, 18]]
    masks = split.masks(0)
    assert masks is not None
    assert masks[0][0].shape == (20, 30)
    assert masks[0][0].sum() == 4 * (4 + 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": "nowhere"}, "datamodule.root=nowhere is not a folder"),
        (
            {"annotations": "voc"},
            r"annotations=voc is not a reader; choose one with a slash: datamodule/annotations=voc, coco",
        ),
        ({"val_share": 0.0}, "must leave images to train"),
        ({"val_share": 0.6, "test_share": 0.5}, "must leave images to train"),
        ({"on_copies": "skip"}, "datamodule.on_copies=skip must be error or leave_out"),
    ],
)
def test_wrong_options_are_named(change: dict[str, Any], message: str, two: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError, TypeError), match=message):
        Folder(**{"root": str(two), **change})


def test_what_is_missing_is_named(two: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"annotations \(CocoReader\): there is no .*annotations/test.json"):
        Folder(str(two), CocoReader()).split("test")
    places = ".*/two/annotations/test, .*/two/annotations or next to the images in .*/two/test"
    with pytest.raises(FileNotFoundError, match=rf"annotations \(VocReader\): there is no <image>\.xml in {places}"):
        Folder(str(two), VocReader()).split("test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no class folder with images"):
        Folder(str(tmp_path / "empty"))
    images(two, "test/horse/1.png")
    with pytest.raises(ValueError, match=r"two/test: no training image is of class horse; found cat, dog"):
        Folder(str(two)).split("test")


def voc(root: Path, file: str, *objects: tuple[str, int, int, int, int], size: tuple[int, int] | None = None) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    told = "" if size is None else f"<size><height>{size[0]}</height><width>{size[1]}</width></size>"
    (root / file).write_text(VOC.format(told + "".join(OBJECT.format(*found) for found in objects)))


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_val_may_be_called_as_other_tools_call_it(name: str, two: Path) -> None:
    (two / "val").rename(two / name)
    (two / "extra").mkdir()
    datamodule = Folder(str(two))
    assert [datamodule.split("val").image_id(i) for i in range(2)] == [
        f"{name}/cat/valcat.png",
        f"{name}/dog/valdog.png",
    ]
    assert datamodule.notes == [f"{two}: not read, because they lie next to train/: extra"]


@pytest.mark.parametrize("name", ["masks", "Images", "labels"])
def test_what_is_not_a_class_is_refused(name: str, tmp_path: Path) -> None:
    images(tmp_path, f"{name}/cat/1.png", f"{name}/dog/2.png", "other/cat/3.png")
    with pytest.raises(ValueError, match=rf"has no train/, so its folders are classes, and {name} does not look like"):
        Folder(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "found", "moves"),
    [
        (("Train/{}/1.png", "other/cat/1.png"), "Train", "Train to train"),
        (("training/{}/1.png", "TEST/{}/2.png"), "TEST, training", "TEST to test; training to train"),
        (
            ("training_set/training_set/{}/1.png", "test_set/test_set/{}/2.png"),
            "test_set, training_set",
            "test_set/test_set to test; training_set/training_set to train",
        ),
        (
            ("seg_train/seg_train/{}/1.png", "seg_test/seg_test/{}/2.png", "seg_pred/seg_pred/3.png"),
            "seg_test, seg_train",
            "seg_test/seg_test to test; seg_train/seg_train to train",
        ),
        (("training_images/{}/1.png", "test_images/2.png"), "test_images, training_images", "test_images to test; "),
        (("train2017/{}/1.png", "val2017/{}/2.png"), "train2017, val2017", "train2017 to train; val2017 to val"),
    ],
)
def test_folders_named_like_splits_are_refused_with_what_to_rename(
    files: tuple[str, ...], found: str, moves: str, tmp_path: Path
) -> None:
    images(tmp_path, *(file.format(name) for file in files for name in ("cat", "dog")))
    with pytest.raises(ValueError, match=re.escape(f"has no train/, and {found} look like splits and not")) as caught:
        Folder(str(tmp_path))
    assert moves in str(caught.value)


def test_a_split_under_another_name_next_to_train_is_refused(tmp_path: Path) -> None:
    images(tmp_path, *(f"train/{name}/{n}.png" for name in ("cat", "dog") for n in range(40)), "test_images/1.png")
    datamodule = Folder(str(tmp_path))  # without class folders they are of no use
    datamodule.split("train")
    assert datamodule.notes[0] == f"{tmp_path}: not read, because they lie next to train/: test_images"
    images(tmp_path, "test_images/cat/1.png")
    with pytest.raises(ValueError, match="test_images holds class folders and looks like test, which has no folder; r"):
        Folder(str(tmp_path))


@pytest.mark.parametrize(
    ("place", "fix"),
    [("train/", "move the class folders of {0}/train/data into {0}/train"), ("", "give datamodule.root={0}/data")],
)
def test_class_folders_one_level_down_are_found_for_the_message(place: str, fix: str, tmp_path: Path) -> None:
    images(tmp_path, *(f"{place}data/{name}/1.png" for name in ("cat", "dog")))
    with pytest.raises(ValueError, match="has one class folder, data: there is nothing") as caught:
        Folder(str(tmp_path))
    assert str(caught.value).endswith(fix.format(tmp_path))


def test_images_without_class_folders_are_counted_in_the_message(tmp_path: Path) -> None:
    images(tmp_path, "train/2.png", "train/1.png")
    with pytest.raises(
        ValueError, match=r"train/<class>/: it holds 2 images, first 1\.png, and nothing says their class"
    ):
        Folder(str(tmp_path))


def test_what_storages_leave_and_loose_images_are_left_out_and_counted(two: Path) -> None:
    images(two, "train/l0.png", "train/l1.png", "train/cat/@eaDir/traincat.png/THUMB.png", "test/dog/.trash/1.png")
    (two / "train" / "cat" / "1.heic").touch()
    (two / "train" / "@eaDir").mkdir()
    (two / "@eaDir").mkdir()
    datamodule = Folder(str(two))
    assert datamodule.class_names == ("cat", "dog")
    assert [len(datamodule.split(name)) for name in SPLIT_NAMES] == [2, 2, 2]
    of_train, of_test = datamodule.notes
    assert of_train == (
        f"{two / 'train'}: left out: 1 files *.heic, first cat/1.heic; 2 folders @eaDir, first @eaDir; "
        "2 images beside the class folders, first l0.png"
    )
    assert of_test == f"{two / 'test'}: left out: 1 hidden folders, first dog/.trash"


def test_annotation_next_to_the_images_is_not_left_out(two: Path) -> None:
    for name in ("cat", "dog"):
        voc(two, f"test/{name}/test{name}.xml", (name, 1, 1, 4, 4))
    datamodule = Folder(str(two), VocReader())
    datamodule.split("test")
    assert datamodule.notes == []
    without = Folder(str(two))
    without.split("test")
    assert without.notes == [f"{two / 'test'}: left out: 2 files *.xml, first cat/testcat.xml"]


def test_a_class_is_one_whatever_the_spelling_of_its_accents(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    # By its bytes, the spelling apart sorts before "cafz", and the composed one behind it.
    root = images(tmp_path, f"train/{apart}/1.png", "train/cafz/2.png", f"test/{composed}/3.png", "test/cafz/4.png")
    images(root, f"val/{composed}/5.png")
    datamodule = Folder(str(root))
    assert datamodule.class_names == ("cafz", composed)
    test = datamodule.split("test")
    assert {test.image_id(i): test.target(i) for i in range(2)} == {f"test/{composed}/3.png": 1, "test/cafz/4.png": 0}
    train = datamodule.split("train")
    assert [(train.image_id(i), train.target(i)) for i in range(2)] == [
        ("train/cafz/2.png", 0),
        (f"train/{apart}/1.png", 1),
    ]
    images(root, f"train/{composed}/6.png")
    with pytest.raises(
        ValueError, match=r"two class folders are called café, cafe\\u0301 and caf\\xe9, which differ in"
    ):
        Folder(str(root))


def test_a_root_with_test_alone_is_measured_whole_and_not_trained_on(tmp_path: Path) -> None:
    images(tmp_path, *(f"test/{name}/{n}.png" for name in ("cat", "dog") for n in range(5)))
    datamodule = Folder(str(tmp_path))
    assert datamodule.split_names == ("test",)
    assert len(datamodule.split("test")) == 10
    assert datamodule.notes == []
    with pytest.raises(ValueError, match=r"has test/ and no train/; give a folder with train/ or class folders"):
        datamodule.split("train")
    with pytest.raises(ValueError, match=r"has test/ and no val/; name the folder of it so"):
        datamodule.split("val")
    images(tmp_path, *(f"valid/{name}/{n}.png" for name in ("cat", "emu") for n in range(3)))
    both = Folder(str(tmp_path))
    assert both.split_names == ("val", "test")
    assert both.class_names == ("cat", "dog", "emu")
    assert (len(both.split("val")), len(both.split("test"))) == (6, 10)


def test_copies_are_left_out_where_that_is_asked_for(two: Path) -> None:
    images(two, "train/cat/3.png", "train/dog/4.png")
    for index, file in enumerate(sorted(two.rglob("*.png"))):
        cv2.imwrite(str(file), np.full((20, 30, 3), index, np.uint8))
    (two / "test/dog/testdog.png").write_bytes((two / "train/dog/traindog.png").read_bytes())
    (two / "train/dog/4.png").write_bytes((two / "train/cat/3.png").read_bytes())
    datamodule = Folder(str(two), on_copies="leave_out")
    assert [len(datamodule.split(name)) for name in SPLIT_NAMES] == [2, 2, 1]
    assert datamodule.split("train").image_id(1) == "train/dog/traindog.png"
    by = "left out by datamodule.on_copies=leave_out"
    of_train, of_test = datamodule.notes
    assert of_train == (
        "train: 2 files are copies of files of another class, first train/cat/3.png is train/dog/4.png, "
        f"train/dog/4.png is train/cat/3.png: {by}"
    )
    assert of_test.startswith(
        "1 files of test are copies of files of train, first test/dog/testdog.png is train/dog/tr"
    )
    alone = Folder(str(two), on_copies="leave_out")
    assert len(alone.split("test")) == 1  # an evaluation loads nothing else
    assert [len(Folder(str(two)).split(name)) for name in SPLIT_NAMES] == [4, 2, 2]  # an error of the preflight
    (two / "test/cat/testcat.png").write_bytes((two / "train/cat/traincat.png").read_bytes())
    with pytest.raises(
        ValueError, match=r"every image of test is a copy of another one, and datamodule\.on_copies=lea"
    ):
        Folder(str(two), on_copies="leave_out").split("test")


@pytest.mark.parametrize("kind", ["voc", "coco", "masks"])
def test_classes_without_objects_need_no_annotation_and_must_have_none(kind: str, two: Path) -> None:
    (two / "annotations" / "test").mkdir(parents=True)
    box: list[tuple[str, int, int, int, int]] = [("cat", 1, 1, 4, 4)]
    table = coco()
    if kind == "voc":
        voc(two, "annotations/test/testcat.xml", *box)
        voc(two, "annotations/test/testdog.xml")
    elif kind == "masks":
        cv2.imwrite(str(two / "annotations/test/testcat.png"), np.ones((20, 30), np.uint8))
    else:
        table["annotations"] = table["annotations"][:1]
        (two / "annotations/test.json").write_text(json.dumps(table))
    datamodule = Folder(str(two), READERS[kind], objectless_classes=["Dog"])
    assert datamodule.objectless == {1}
    assert datamodule.notes == ["classes without objects, which count in classification alone: dog"]
    assert [len(datamodule.split("test").gt_boxes(index)[0]) for index in range(2)] == [1, 0]
    if kind == "voc":
        voc(two, "annotations/test/testdog.xml", ("dog", 1, 1, 4, 4))
    elif kind == "masks":
        cv2.imwrite(str(two / "annotations/test/testdog.png"), np.ones((20, 30), np.uint8))
    else:
        (two / "annotations/test.json").write_text(json.dumps(coco()))
    wrong = Folder(str(two), READERS[kind], objectless_classes=["dog"])
    checked = check_splits({"test": wrong.split("test")}, wrong.class_names, lambda items, *_: items, objectless=[1])
    (error,) = checked.errors
    assert error.startswith("test: 1 images of objectless classes have a true box, first test/dog/testdog.png: remove")


@pytest.mark.parametrize("kind", ["voc", "coco", "csv", "masks"])
def test_a_split_of_classes_without_objects_needs_no_annotation(kind: str, two: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Folder(str(two), READERS[kind], objectless_classes=["dog"]).split("test")
    (two / "annotations").mkdir()
    if kind == "csv":  # there is a table, which annotates others
        (two / "annotations" / "test.csv").write_text("file,x0,y0,x1,y1\nother.png,1,1,4,4\n")
        with pytest.raises(FileNotFoundError, match="annotates none of the 2 images"):
            Folder(str(two), READERS[kind], objectless_classes=["dog"]).split("test")
    split = Folder(str(two), READERS[kind], objectless_classes=["dog", "cat"]).split("test")
    assert [[len(boxes) for boxes in split.gt_boxes(index)] for index in range(len(split))] == [[0], [0]]


def test_annotation_without_objects_is_an_error_that_names_all_files(two: Path) -> None:
    for name in ("cat", "dog"):
        voc(two, f"test/{name}/test{name}.xml")
    with pytest.raises(
        DataProblems, match=r"2 problems .*: \(1\) .*testcat\.xml: it has no object; annotate .*testdog\."
    ):
        Folder(str(two), VocReader()).split("test")


def test_a_class_without_objects_must_exist(two: Path) -> None:
    with pytest.raises(
        ValueError, match="objectless_classes names good, and there is no such class folder; found cat, d"
    ):
        Folder(str(two), objectless_classes=["good", "cat"])


def test_folders_of_a_split_are_called_one_way(two: Path) -> None:
    (two / "valid").mkdir()
    with pytest.raises(ValueError, match="val and valid are both val; keep one"):
        Folder(str(two))
    (two / "valid").rmdir()
    (two / "test").rename(two / "Test")
    with pytest.raises(ValueError, match="rename the folder Test to test"):
        Folder(str(two))


def test_one_class_is_refused(two: Path) -> None:
    with pytest.raises(ValueError, match=r"has one folder, and the splits lie in it; give datamodule\.root=.*/two$"):
        Folder(str(two.parent))
    shutil.rmtree(two / "train" / "dog")
    with pytest.raises(
        ValueError, match=r"has one class folder, cat: there is nothing to distinguish it from; give the folder"
    ):
        Folder(str(two))


def test_names_are_the_same_whatever_their_case_and_spaces(two: Path) -> None:
    for name in ("cat", "dog"):
        voc(
            two,
            f"test/{name}/test{name}.xml",
            (f" {name.upper()}", 1, 1, 4, 4),
            ("CAT" if name == "dog" else "Dog", 5, 5, 9, 9),
        )
    datamodule = Folder(str(two), VocReader())
    assert [datamodule.split("test").gt_boxes(i)[0].tolist() for i in range(2)] == [[[0, 0, 4, 4]]] * 2
    assert datamodule.notes == []


def test_boxes_of_names_that_are_not_a_class_are_reported(two: Path) -> None:
    for name in ("cat", "dog"):
        voc(two, f"test/{name}/test{name}.xml", ("animal", 1, 1, 4, 4))
    datamodule = Folder(str(two), VocReader())
    datamodule.split("test")
    assert datamodule.notes == ["test: no object is named like a class, but animal; all boxes are taken"]


@pytest.mark.parametrize("ending", [".png", "_mask.png"])
def test_masks_next_to_the_images_are_not_images(ending: str, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            image = images(tmp_path, f"{split}/{name}/{split}{name}.jpg") / split / name / f"{split}{name}.jpg"
            mask = np.zeros((20, 30), np.uint8)
            mask[2:5, 3:7] = 1
            cv2.imwrite(str(image.with_name(image.stem + ending)), mask)
    datamodule = Folder(str(tmp_path), MaskReader())
    assert [len(datamodule.split(name)) for name in ("train", "val", "test")] == [2, 2, 2]
    assert datamodule.split("test").gt_boxes(1)[0].tolist() == [[3, 2, 7, 5]]
    without = Folder(str(tmp_path))
    assert len(without.split("train")) == (2 if ending == "_mask.png" else 4)
    assert without.notes == (
        [f"{tmp_path / 'train'}: 2 files *_mask.png are not images and were left out"] if ending == "_mask.png" else []
    )


def test_masks_next_to_the_images_are_found_where_a_folder_holds_other_annotation(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            images(tmp_path, f"{split}/{name}/{split}{name}.jpg")
            cv2.imwrite(str(tmp_path / split / name / f"{split}{name}.png"), np.ones((20, 30), np.uint8))
    voc(tmp_path, "annotations/test/testcat.xml", ("cat", 1, 1, 4, 4))
    datamodule = Folder(str(tmp_path), MaskReader())
    assert len(datamodule.split("train")) == 2
    assert datamodule.split("test").gt_boxes(0)[0].tolist() == [[0, 0, 30, 20]]


def test_boxes_are_cut_at_the_edge_and_those_of_another_size_scaled(two: Path) -> None:
    for name in ("cat", "dog"):
        voc(two, f"test/{name}/test{name}.xml", (name, 1, 1, 330, 40), size=(200, 300))
    datamodule = Folder(str(two), VocReader())
    assert datamodule.split("test").gt_boxes(0)[0].tolist() == [[0, 0, 30, 4]]
    cut, size = datamodule.notes
    assert cut == "test: 2 true boxes reached beyond their images and were cut off"
    assert size.startswith("test: the boxes of 2 images are of another size and were scaled to them, first ")


def test_one_folder_and_one_table_may_annotate_all_splits(two: Path) -> None:
    for split in ("val", "test"):
        for name in ("cat", "dog"):
            voc(two, f"annotations/{split}{name}.xml", (name, 1, 1, 4, 4))
    lines = [f"{split}{name}.png,0,0,3,3" for split in ("val", "test") for name in ("cat", "dog")]
    (two / "annotations.csv").write_text("\n".join(["file,x0,y0,x1,y1", *lines]))
    for kind, box in (("voc", [0, 0, 4, 4]), ("csv", [0, 0, 3, 3])):
        datamodule = Folder(str(two), READERS[kind])
        for name in ("val", "test"):
            assert datamodule.split(name).gt_boxes(1)[0].tolist() == [box]  # type: ignore[arg-type] # a split
        assert datamodule.notes == []


def test_a_table_of_all_splits_must_say_which_image_it_means(tmp_path: Path) -> None:
    root = images(tmp_path, *(f"{split}/{name}/1.png" for split in ("train", "val", "test") for name in ("cat", "dog")))
    (root / "annotations.csv").write_text("file,x0,y0,x1,y1\ncat/1.png,0,0,3,3\n")
    with pytest.raises(ValueError, match=r"cat/1\.png could be train/cat/1\.png or val/cat/1\.png; name the"):
        Folder(str(root), CsvReader()).split("test")
    (root / "annotations.csv").write_text("file,x0,y0,x1,y1\ntest/cat/1.png,0,0,3,3\n")
    assert Folder(str(root), CsvReader()).split("test").gt_boxes(0)[0].tolist() == [[0, 0, 3, 3]]
    with pytest.raises(ValueError, match="no true box for any of the 2 images of val"):
        Folder(str(root), CsvReader()).split("val")


def test_what_was_looked_for_and_what_was_found_are_shown(two: Path) -> None:
    voc(two, "annotations/test/other.xml", ("cat", 1, 1, 2, 2))
    with pytest.raises(
        FileNotFoundError,
        match=r"test/cat/testcat\.png, for example, would be test/cat/testcat\.xml there, and it has other\.xml",
    ):
        Folder(str(two), VocReader()).split("test")


def test_accents_composed_otherwise_and_linked_folders_are_found(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    root = images(tmp_path / "root", f"train/{apart}/1.png", "train/tea/2.png")
    images(tmp_path / "elsewhere" / apart, f"{apart}3.png", f"{apart}4.png")
    images(root, "test/tea/5.png", "test/tea/6.png")
    (root / "test" / apart).symlink_to(tmp_path / "elsewhere" / apart)
    for number in (3, 4):
        voc(tmp_path / "elsewhere", f"{apart}/{composed}{number}.xml", (composed, 1, 1, 4, 4))
        voc(root, f"test/tea/{number + 2}.XML", ("tea", 1, 1, 4, 4))
    datamodule = Folder(str(root), VocReader())
    assert all(len(datamodule.split(name).gt_boxes(i)[0]) == 1 for name in ("val", "test") for i in range(2))
    assert datamodule.notes == [f"{root / 'test'}: dealt by a hash of names and the seed: 2 val, 2 test"]


def test_names_that_are_not_utf8_are_read_and_can_be_written(tmp_path: Path) -> None:
    root = images(tmp_path, *(f"{split}/tea/{split}.png" for split in ("train", "val", "test")))
    for split in ("train", "val", "test"):
        folder = os.fsdecode(os.fsencode(root / split) + b"/caf\xe9")
        os.mkdir(folder)  # noqa: PTH102 - a path of bytes
        Path(folder, os.fsdecode(b"\xff.png")).write_bytes((root / split / "tea" / f"{split}.png").read_bytes())
        Path(folder, os.fsdecode(b"\xff_mask.png")).write_bytes(
            cv2.imencode(".png", np.ones((20, 30), np.uint8))[1].tobytes()
        )
        cv2.imwrite(str(root / split / "tea" / f"{split}_mask.png"), np.ones((20, 30), np.uint8))
    datamodule = Folder(str(root), MaskReader())
    assert datamodule.class_names == ("caf\\xe9", "tea")
    test = datamodule.split("test")
    assert test.image_id(0) == "test/caf\\xe9/\\xff.png"
    assert test.image(0).shape == (3, 20, 30)
    assert test.gt_boxes(0)[0].tolist() == [[0, 0, 30, 20]]
    assert test.masks(0) is not None


def test_a_split_that_is_dealt_no_image_is_an_error(tmp_path: Path) -> None:
    images(tmp_path, "cat/1.png", "dog/1.png")
    place = deal(["cat/1.png", "dog/1.png"], (0.15, 0.15), seed=0).tolist()
    empty = next(name for number, name in enumerate(SPLIT_NAMES) if number not in place)
    with pytest.raises(
        ValueError, match=rf"no image is left for {empty} in .*; add images, give another seed, or a folder {empty}/ wi"
    ):
        Folder(str(tmp_path)).split(empty)

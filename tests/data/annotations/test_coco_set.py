"""Which files of a folder are COCO's, and whose images they are of."""

import json
from pathlib import Path

import pytest

from camloc.data.annotations.coco_set import CocoSet
from camloc.data.annotations.problems import DataProblems


def write(file: Path, name: str, label: str = "cat") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": 1, "file_name": name}],
        "annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 3, 3]}],
        "categories": [{"id": 2, "name": label}],
    }
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "folder", "name", "split"),
    [
        ("annotations/instances_val2017.json", "val2017", "val2017/1.jpg", "val"),
        ("annotations/instances_train.json", "images/train", "images/train/1.jpg", "train"),
        ("annotations/instances_default.json", "images", "1.jpg", ""),
        ("valid/_annotations.coco.json", "valid", "valid/1.jpg", "val"),
        ("test/labels.json", "test/images", "test/images/1.jpg", "test"),
        ("result.json", "images", "1.jpg", ""),
    ],
)
def test_a_file_says_its_split_and_its_images_folder(
    file: str, folder: str, name: str, split: str, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    write(tmp_path / file, "1.jpg")
    table = CocoSet().read(tmp_path)
    assert (table.names, table.splits) == ([name], [split])
    assert CocoSet().recognise(tmp_path) == f"COCO, {file}"


def test_files_of_other_tasks_are_not_read_where_there_are_instances(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "instances_val2017.json", "1.jpg")
    write(tmp_path / "annotations" / "person_keypoints_val2017.json", "1.jpg", "person")
    assert CocoSet().read(tmp_path).class_names == ("cat",)


def test_one_file_for_all_beside_one_for_each_split_is_not_read_twice(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / "annotations" / f"{split}.json", f"{split}.jpg")
    write(tmp_path / "all.json", "train.jpg")
    assert CocoSet().read(tmp_path).names == ["train.jpg", "val.jpg"]


@pytest.mark.parametrize("content", ["", "[]", '[{"images": 1}]', '{"version": 1}', "\udcff"])
def test_other_jsons_are_not_recognised(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content, errors="surrogateescape")
    assert CocoSet().recognise(tmp_path) is None


def test_all_files_are_read_before_anything_is_told(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / "annotations" / f"{split}.json").write_text('{"images": [')
    with pytest.raises(DataProblems, match=r"2 problems .*train\.json is not .*val\.json is not "):
        CocoSet().read(tmp_path)


def test_categories_that_no_file_uses_are_said_once(tmp_path: Path) -> None:
    for split, used in (("train", 1), ("val", 2)):
        write(tmp_path / f"{split}.json", f"{split}.jpg")
        content = json.loads((tmp_path / f"{split}.json").read_text())
        content["categories"] = [{"id": i, "name": name} for i, name in enumerate(["things", "ant", "bee", "cow"])]
        content["annotations"][0]["category_id"] = used
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    table = CocoSet().read(tmp_path)
    assert table.class_names == ("ant", "bee")
    assert table.notes == [
        "2 categories have no annotation, which makes a class only if datamodule.classes names it: things, cow"
    ]

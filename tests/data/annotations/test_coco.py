import json
from pathlib import Path
from typing import Any

import pytest

from camloc.data.annotations.coco import add_coco, read_coco
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import TableBuilder


def content(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - json
    return {
        "images": [{"id": 3, "file_name": "cat/1.jpg"}, {"id": 900, "file_name": "2.jpg"}],
        "annotations": [annotation()],
        "categories": [{"id": 90, "name": "cat"}, {"id": 1, "name": "dog"}],
    } | changes


def annotation(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - json
    return {"image_id": 3, "category_id": 90, "bbox": [10.5, 20.25, 4, 2.5]} | changes


def write(folder: Path, value: object) -> Path:
    path = folder / "val.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_corners_are_width_and_height_away_and_ids_have_gaps(tmp_path: Path) -> None:
    dog = annotation(category_id=1, bbox=[0, 0, 1, 1], segmentation=[[0, 0, 9, 0, 9, 9]])
    found = read_coco(write(tmp_path, content(annotations=[annotation(), dog])))
    assert list(found) == ["cat/1.jpg", "2.jpg"]
    assert found["cat/1.jpg"].boxes.tolist() == [[10.5, 20.25, 14.5, 22.75], [0, 0, 1, 1]]
    assert found["cat/1.jpg"].names == ("cat", "dog")
    assert found["2.jpg"].boxes.shape == (0, 4)


def test_crowds_are_left_out_whatever_their_segmentation(tmp_path: Path) -> None:
    crowd = annotation(iscrowd=1, segmentation={"counts": [5, 3], "size": [2, 4]})
    found = read_coco(write(tmp_path, content(annotations=[crowd, annotation(iscrowd=0)])))
    assert len(found["cat/1.jpg"].boxes) == 1


def test_a_box_beyond_the_image_is_returned_unchanged(tmp_path: Path) -> None:
    images = [{"id": 3, "file_name": "1.jpg", "width": 5, "height": 5}]
    found = read_coco(write(tmp_path, content(images=images, annotations=[annotation(bbox=[-2, 0, 20, 5])])))
    assert found["1.jpg"].boxes.tolist() == [[-2, 0, 18, 5]]


def test_a_byte_order_mark_is_not_content(tmp_path: Path) -> None:
    path = tmp_path / "val.json"
    path.write_text(json.dumps(content()), encoding="utf-8-sig")
    assert len(read_coco(path)["cat/1.jpg"].boxes) == 1


@pytest.mark.parametrize(
    "annotations",
    [
        [annotation(image_id=[3])],
        [annotation(category_id={"id": 90})],
        [annotation(bbox=None)],
        [annotation(bbox=[1, 2, 3])],
        [annotation(bbox="1234")],
        [annotation(bbox=[1, 2, "wide", 4])],
        [annotation(bbox=[10**400, 2, 3, 4])],
        [{"image_id": 3, "category_id": 90}],
    ],
)
def test_an_annotation_without_ids_and_numbers_is_named_by_its_place(annotations: list[object], tmp_path: Path) -> None:
    path = write(tmp_path, content(annotations=[annotation(), *annotations]))
    with pytest.raises(ValueError, match=r"val\.json, annotations\[1\]: expected image_id, category_id and bbox with"):
        read_coco(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": None}, "is not a COCO json with images, annotations and categories: ValidationError"),
        ({"images": [{"id": 3}]}, "is not a COCO json .*: ValidationError .*`file_name`"),
        ({"categories": [{"id": 90}]}, "is not a COCO json .*: ValidationError .*`name`"),
        ({"images": [{"id": [3], "file_name": "1.jpg"}]}, "is not a COCO json .*: TypeError"),
        ({"annotations": [annotation(bbox=[float("nan"), 0, 1, 1])]}, "is not a COCO json .*: DecodeError"),
        ({"annotations": [annotation(bbox=[5, 5, -3, 2])]}, r"annotations\[0\]: the box 5 5 2 7 .* is inverted"),
        ({"annotations": [annotation(image_id=4)]}, r"annotations\[0\]: image_id 4 is not among the images"),
        ({"annotations": [annotation(category_id=2)]}, "category_id 2 is not among the categories"),
        ({"categories": [{"id": 90, "name": "cat"}] * 2}, "the category id '90' occurs 2 times"),
    ],
)
def test_what_is_broken_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_coco(write(tmp_path, content(**changes)))


@pytest.mark.parametrize(
    ("ids", "names", "message"),
    [
        ((1, 2, 2), ("a.jpg", "z.jpg", "c.jpg"), "the image id '2' occurs 2 times"),
        ((1, 2, 3), ("a.jpg", "z.jpg", "z.jpg"), r"the file_name 'z\.jpg' occurs 2 times"),
    ],
)
def test_what_occurs_twice_is_named(ids: tuple[int, ...], names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    images = [{"id": number, "file_name": name} for number, name in zip(ids, names, strict=True)]
    with pytest.raises(ValueError, match=message):
        read_coco(write(tmp_path, content(images=images, annotations=[])))


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'"text"'])
def test_what_is_not_json_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "val.json"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"val\.json is not a COCO json"):
        read_coco(path)


def test_an_id_is_the_same_as_number_and_as_text(tmp_path: Path) -> None:
    images = [{"id": "3", "file_name": "1.jpg"}, {"id": 0, "file_name": "2.jpg"}]
    annotations = [annotation(category_id="90"), annotation(image_id="0"), annotation(image_id=0.0)]
    found = read_coco(write(tmp_path, content(images=images, annotations=annotations)))
    assert {name: len(objects.boxes) for name, objects in found.items()} == {"1.jpg": 1, "2.jpg": 2}


def test_all_that_is_broken_is_named_at_once(tmp_path: Path) -> None:
    broken = [annotation(image_id=4), annotation(bbox=[1, 2]), annotation(bbox=[1, 2, 0, 4]), annotation()]
    with pytest.raises(DataProblems) as refused:
        read_coco(write(tmp_path, content(annotations=broken)))
    assert [where.rpartition(", ")[2] for where, _ in refused.value.problems] == [
        "annotations[0]",
        "annotations[1]",
        "annotations[2]",
    ]


def test_an_image_shows_its_crowds_and_unused_categories_are_said(tmp_path: Path) -> None:
    table = TableBuilder()
    add_coco(write(tmp_path, content(annotations=[annotation(iscrowd=1)])), table, "val", "images/val")
    built = table.build()
    assert (built.names, built.splits) == (["images/val/cat/1.jpg", "images/val/2.jpg"], ["val", "val"])
    assert (built.class_names, built.labels.tolist(), len(built.boxes)) == (("cat",), [[0, 0]], 0)
    assert [note.removeprefix(f"{tmp_path / 'val.json'}: ") for note in built.notes] == [
        "1 crowds (iscrowd) are boxes of many objects; their labels count, their boxes do not",
        "1 category has no annotation, which makes a class only if datamodule.classes names it: dog",
    ]

import json
from pathlib import Path
from typing import Any

import pytest

from camloc.data.annotations.image_names import ImageNames
from camloc.data.annotations.label_studio import LabelStudioSet
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import AnnotatedImages


def rectangle(name: str, box: tuple[float, ...], value: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    x, y, width, height = box
    known = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [name]}
    return region("rectanglelabels", known | (value or {}), **more)


def region(kind: str, value: dict[str, Any], **more: object) -> dict[str, Any]:
    size = {"original_width": 80, "original_height": 60, "image_rotation": 0}
    return {"id": "r1", "type": kind, "from_name": "label", "to_name": "image", "value": value, **size, **more}


def task(image: str, results: list[dict[str, Any]] | None, number: int = 1) -> dict[str, Any]:
    annotations = (
        [] if results is None else [{"id": 9, "was_cancelled": False, "ground_truth": False, "result": results}]
    )
    return {"id": number, "annotations": annotations, "data": {"image": image}, "predictions": []}


def read(root: Path, tasks: list[dict[str, Any]]) -> AnnotatedImages:
    (root / "project-1.json").write_text(json.dumps(tasks))
    return LabelStudioSet().read(root)


def problem(root: Path, tasks: list[dict[str, Any]]) -> str:
    with pytest.raises(DataProblems) as error:
        read(root, tasks)
    ((_, message),) = error.value.problems
    return message


def test_rectangles_polygons_and_choices(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        [
            task(
                "/data/upload/1/1a2b3c4d-red%20cell.jpg",
                [
                    rectangle("RBC", (10, 20, 30, 40)),
                    region("polygonlabels", {"points": [[5, 5], [50, 10], [20, 90]], "polygonlabels": ["WBC"]}),
                    region("choices", {"choices": ["stained", "blurred"]}),
                ],
            ),
            task("/data/upload/1/5e6f7a8b-none.jpg", [], 2),
        ],
    )
    assert table.units == "percent"
    assert table.names == ["1a2b3c4d-red cell.jpg", "5e6f7a8b-none.jpg"]
    assert table.sizes.tolist() == [[60, 80], [0, 0]]
    assert table.class_names == ("RBC", "WBC", "blurred", "stained")
    assert table.labels.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert table.boxes.tolist() == [[10, 20, 40, 60], [5, 5, 50, 90]]
    assert table.box_class.tolist() == [0, 1]
    assert ImageNames(["images/red cell.jpg", "none.jpg"]).find(table.names, "").places == [0, 1]
    assert LabelStudioSet().recognise(tmp_path) == "Label Studio, project-1.json"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=cells%2Fa%20b.jpg", "cells/a b.jpg"),
        ("s3://bucket/cells/1.jpg", "cells/1.jpg"),
        ("https://example.org/x/1%2B1.jpg?X-Amz-Signature=3f&u=.png", "x/1+1.jpg"),
        ("cells/what?.jpg", "cells/what?.jpg"),
        ("C:\\cells\\1.jpg", "C:\\cells\\1.jpg"),
    ],
)
def test_addresses_name_files(tmp_path: Path, address: str, name: str) -> None:
    assert read(tmp_path, [task(address, [])]).names == [name]


def test_another_field_may_name_the_image(tmp_path: Path) -> None:
    made = task("", [])
    made["data"] = {"patient": "7", "picture": "/data/upload/3/00112233-x.png"}
    assert read(tmp_path, [made]).names == ["00112233-x.png"]
    made["data"] = {"text": "hello"}
    assert "no field of its data names an image (text)" in problem(tmp_path, [made])


def test_a_region_may_have_several_labels(tmp_path: Path) -> None:
    table = read(tmp_path, [task("1.jpg", [rectangle("a", (0, 0, 50, 50), value={"rectanglelabels": ["a", "b"]})])])
    assert table.boxes.tolist() == 2 * [[0, 0, 50, 50]]
    assert table.labels.tolist() == [[0, 0], [0, 1]]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    skipped = task("2.jpg", [], 2)
    skipped["annotations"][0]["was_cancelled"] = True
    unlabelled = region("rectangle", {"x": 1, "y": 1, "width": 5, "height": 5})
    tasks = [task("1.jpg", [unlabelled, region("textarea", {"text": ["?"]})], 1), skipped, task("3.jpg", None, 3)]
    table = read(tmp_path, tasks)
    assert table.names == ["1.jpg"]
    assert sorted(table.notes) == [
        "1 regions have no label and were left out",
        "1 results of the type textarea are not read",
        "2 tasks without annotation, or skipped, were left out",
    ]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (
            [rectangle("a", (0, 0, 5, 5), value={"rotation": 30})],
            "turned by 30 degrees; draw it upright, or as a polygon",
        ),
        ([rectangle("a", (0, 0, 5, 5), image_rotation=90)], "the image was turned in Label Studio"),
        ([rectangle("a", (0, 0, 0, 5))], "is inverted, empty or not finite"),
        ([rectangle("a", (0, 0, 5, 5), value={"x": None})], "it has no x, y, width, height or points in percent"),
        (
            [region("brushlabels", {"rle": [1], "format": "rle", "brushlabels": ["a"]})],
            "brushlabels is not read; export",
        ),
        ([region("polygonlabels", {"points": [[1]], "polygonlabels": ["a"]})], "it has no x, y"),
    ],
)
def test_what_cannot_be_a_box_is_named(tmp_path: Path, results: list[dict[str, Any]], message: str) -> None:
    assert message in problem(tmp_path, [task("1.jpg", results)])


def test_of_two_people_the_ground_truth_counts(tmp_path: Path) -> None:
    both = task("1.jpg", [rectangle("a", (0, 0, 5, 5))])
    both["annotations"].append({"result": [rectangle("b", (1, 1, 5, 5))], "was_cancelled": False})
    assert "2 people annotated 1.jpg; mark one annotation as ground truth" in problem(tmp_path, [both])
    both["annotations"][1]["ground_truth"] = True
    assert read(tmp_path, [both]).class_names == ("b",)


def test_a_file_for_each_split(tmp_path: Path) -> None:
    for split, name in (("train", "1.jpg"), ("validation", "2.jpg")):
        (tmp_path / f"{split}.json").write_text(json.dumps([task(name, [rectangle("a", (0, 0, 5, 5))])]))
    table = LabelStudioSet().read(tmp_path)
    assert dict(zip(table.names, table.splits, strict=True)) == {"1.jpg": "train", "2.jpg": "val"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"annotations": ', "this is not JSON"),
        ('["annotations", "file_upload"]', "it is no list of tasks"),
        ('[{"image": "/data/upload/1.jpg", "label": [{"rectanglelabels": ["a"]}]}]', "as in JSON-MIN; export it by"),
    ],
)
def test_what_is_no_export_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataProblems, match=message):
        LabelStudioSet().read(tmp_path)


def test_coco_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert LabelStudioSet().recognise(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="has no Label Studio export"):
        LabelStudioSet().read(tmp_path)


@pytest.mark.parametrize("names", ["cat", 3, [3], [None], {"cat": 1}])
def test_labels_that_are_no_list_of_texts(tmp_path: Path, names: object) -> None:
    drawn = rectangle("cat", (1, 1, 5, 5), {"rectanglelabels": names})
    chosen = region("choices", {"choices": names})
    for each in (drawn, chosen):
        assert problem(tmp_path, [task("a.jpg", [each])]).startswith("its labels are no list of texts, found {")


def test_a_stated_side_beyond_all_images_is_no_size(tmp_path: Path) -> None:
    drawn = rectangle("cat", (1, 1, 5, 5), original_width=2**70)
    assert read(tmp_path, [task("a.jpg", [drawn])]).sizes.tolist() == [[0, 0]]

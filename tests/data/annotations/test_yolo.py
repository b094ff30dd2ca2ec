from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import AnnotatedImages
from camloc.data.annotations.yolo import YoloSet


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


NAMES = {"data.yaml": "nc: 2\nnames: [dog, cat]\n"}
SPLIT = {
    "images/train/a.jpg": "",
    "labels/train/a.txt": "1 0.5 0.25 0.5 0.5\n0 0.25 0.25 0.5 0.25\n",
    "images/val/x/b.png": "",
    "labels/val/x/b.txt": "0 0.25 0.25 0.75 0.25 0.5 0.75\n",
    "images/val/empty.jpg": "",
    "labels/val/empty.txt": "",
}


def boxes(table: AnnotatedImages) -> list[tuple[str, str, list[float]]]:
    pairs = zip(table.box_image, table.box_class, table.boxes.tolist(), strict=True)
    return [(table.names[image], table.class_names[kind], box) for image, kind, box in pairs]


def problems(root: Path) -> list[tuple[str, str]]:
    with pytest.raises(DataProblems) as error:
        YoloSet().read(root)
    return [(where.replace(f"{root}/", ""), message) for where, message in error.value.problems]


def test_boxes_and_polygons_in_split_folders(tmp_path: Path) -> None:
    root = write(tmp_path, NAMES | SPLIT)
    table = YoloSet().read(root)
    assert YoloSet().recognise(root) == "YOLO, images with labels, data.yaml"
    assert table.units == "fractions"
    assert dict(zip(table.names, table.splits, strict=True)) == {
        "images/train/a.jpg": "train",
        "images/val/empty.jpg": "val",
        "images/val/x/b.png": "val",
    }
    assert boxes(table) == [
        ("images/train/a.jpg", "cat", [0.25, 0.0, 0.75, 0.5]),
        ("images/train/a.jpg", "dog", [0.0, 0.125, 0.5, 0.375]),
        ("images/val/x/b.png", "dog", [0.25, 0.25, 0.75, 0.75]),
    ]
    assert [(table.names[i], table.class_names[c]) for i, c in table.labels] == [
        ("images/train/a.jpg", "cat"),
        ("images/train/a.jpg", "dog"),
        ("images/val/x/b.png", "dog"),
    ]
    assert table.notes == []


@pytest.mark.parametrize(
    "text", ["names:\n  0: dog\n  1: cat\n", "names: {0: dog, 1: cat}\nnc: 2\n", 'names: ["dog", "cat"]']
)
def test_roboflows_folders(tmp_path: Path, text: str) -> None:
    files = {"data.yaml": f"train: ../train/images\nval: ../valid/images\n{text}"}
    for split in ("train", "valid", "test"):
        files |= {f"{split}/images/{split}.rf.1a.jpg": "", f"{split}/labels/{split}.rf.1a.txt": "1 0.5 0.5 1 1"}
    table = YoloSet().read(write(tmp_path, files))
    assert dict(zip(table.names, table.splits, strict=True)) == {
        "test/images/test.rf.1a.jpg": "test",
        "train/images/train.rf.1a.jpg": "train",
        "valid/images/valid.rf.1a.jpg": "val",
    }
    assert [(kind, box) for _, kind, box in boxes(table)] == 3 * [("cat", [0, 0, 1, 1])]


@pytest.mark.parametrize("name", ["classes.txt", "labels/classes.txt", "obj.names"])
def test_names_in_a_text_file(tmp_path: Path, name: str) -> None:
    files = {name: "dog\r\ncat\r\n", "images/a.jpg": "", "labels/a.txt": "1 0.5 0.5 1 1"}
    table = YoloSet().read(write(tmp_path, files))
    assert boxes(table) == [("images/a.jpg", "cat", [0, 0, 1, 1])]
    assert table.splits == [""]
    assert table.notes == []


def test_splits_of_other_names_are_those_of_data_yaml(tmp_path: Path) -> None:
    files = {
        "data.yaml": "path: /home/me/set\ntrain: [images/one, images/two]\nval: C:\\set\\images\\three\n"
        "test: lists/last.txt\nnames: [dog]",
        "lists/last.txt": "./images/four/4.jpg\n/elsewhere/images/four/5.jpg\n",
    }
    for number, folder in enumerate(("one", "two", "three", "four", "four"), start=1):
        files |= {f"images/{folder}/{number}.jpg": "", f"labels/{folder}/{number}.txt": "0 0.5 0.5 1 1"}
    table = YoloSet().read(write(tmp_path, files))
    found = {Path(name).stem: split for name, split in zip(table.names, table.splits, strict=True)}
    assert found == {"1": "train", "2": "train", "3": "val", "4": "test", "5": "test"}


def test_one_folder_for_all_splits_has_none(tmp_path: Path) -> None:
    files = {"data.yaml": "train: images\nval: images\nnames: [dog]", "images/1.jpg": "", "labels/1.txt": ""}
    assert YoloSet().read(write(tmp_path, files)).splits == [""]


def test_no_path_of_data_yaml_leads_out(tmp_path: Path) -> None:
    write(tmp_path, {"secret.txt": "images/1.jpg", "outside/images/9.jpg": ""})
    files = {
        "data.yaml": "train: ../secret.txt\nval: ../outside/images\ntest: /etc/passwd\nnames: [dog]",
        "images/1.jpg": "",
        "labels/1.txt": "",
    }
    table = YoloSet().read(write(tmp_path / "root", files))
    assert (table.names, table.splits) == (["images/1.jpg"], ["val"]), "of val, images below the root is what is there"


def test_data_yaml_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    files = {
        "data.yaml": f"names: !!python/object/apply:os.mkdir ['{marker}']\n",
        "images/1.jpg": "",
        "labels/1.txt": "",
    }
    found = problems(write(tmp_path / "root", files))
    assert found[0][0] == "data.yaml"
    assert "this is not YAML" in found[0][1]
    assert not marker.exists()


def test_images_without_labels_show_nothing_and_labels_without_images_are_left_out(tmp_path: Path) -> None:
    files = {"images/train/none.jpg": "", "labels/train/gone.txt": "0 0.5 0.5 1 1"}
    table = YoloSet().read(write(tmp_path, NAMES | SPLIT | files))
    assert "images/train/none.jpg" in table.names
    assert table.notes == [
        "1 images have no label file, first images/train/none.jpg: they show no object, as YOLO has it",
        "1 label files are of no image and were left out, first labels/train/gone.txt",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 1 1", "class 2 has no name, and 2 have one, counted from 0"),
        ("-1 0.5 0.5 1 1", "class -1 has no name"),
        ("0.5 0.5 0.5 1 1", "class 0.5 has no name"),
        ("dog 0.5 0.5 1 1", "expected numbers, found 'dog 0.5 0.5 1 1'"),
        ("0 nan 0.5 1 1", "expected numbers"),
        ("0 0.5 0.5 1", "found 4 numbers"),
        ("0 0.5 0.5 1 1 0.9", "found 6 numbers; a sixth is the score of a prediction"),
        ("0 320 240 100 50", "is not in shares of the image's sides, 0 to 1"),
        ("0 0.5 0.5 0 1", "is inverted, empty or not finite"),
    ],
)
def test_what_is_wrong_in_a_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    files = {"images/1.jpg": "", "labels/1.txt": f"1 0.5 0.5 1 1\n{line}\n"}
    ((where, found),) = problems(write(tmp_path, NAMES | files))
    assert where == "labels/1.txt, line 2"
    assert message in found


def test_all_problems_are_collected(tmp_path: Path) -> None:
    files = {"images/1.jpg": "", "labels/1.txt": "7 0 0 1 1\n0 1\n", "images/2.jpg": "", "labels/2.txt": "x"}
    assert [where for where, _ in problems(write(tmp_path, NAMES | files))] == [
        "labels/1.txt, line 1",
        "labels/1.txt, line 2",
        "labels/2.txt, line 1",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data.yaml": "nc: 3\nnames: [dog, cat]"}, "nc: is 3 and names: has 2"),
        ({"data.yaml": "names: dog"}, "names: must be a list"),
        ({"data.yaml": "names: {dog: 0}"}, "names: must be a list"),
        ({"data.yaml": "names: [dog, dog]"}, "two classes have one name"),
        ({"data.yaml": "names: [dog, cat]", "classes.txt": "cat\ndog\n"}, "its classes are not those of data.yaml"),
        ({"data.yaml": "- dog"}, "it has no names"),
        ({"data.yaml": "names: [dog"}, "this is not YAML"),
        ({}, "there are no names of classes; add data.yaml"),
    ],
)
def test_what_is_wrong_with_the_names_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    root = write(tmp_path, {"images/1.jpg": "", "labels/1.txt": ""} | files)
    assert any(message in found for _, found in problems(root))


def test_a_pose_has_its_box_first(tmp_path: Path) -> None:
    files = {
        "data.yaml": "kpt_shape: [2, 3]\nnames: [dog]",
        "images/1.jpg": "",
        "labels/1.txt": "0 0.5 0.5 0.5 0.25 0.1 0.1 2 0.2 0.2 2\n",
    }
    assert boxes(YoloSet().read(write(tmp_path, files))) == [("images/1.jpg", "dog", [0.25, 0.375, 0.75, 0.625])]


@pytest.mark.parametrize("missing", ["data.yaml", "labels/train/a.txt"])
def test_other_folders_are_not_recognised(tmp_path: Path, missing: str) -> None:
    files = NAMES | {name: text for name, text in SPLIT.items() if "/train/a" in name}
    del files[missing]
    assert YoloSet().recognise(write(tmp_path, files)) is None


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_end_in_a_table_or_in_problems(
    tmp_path_factory: pytest.TempPathFactory, labels: bytes, config: bytes
) -> None:
    root = write(tmp_path_factory.mktemp("root"), NAMES | {"images/1.jpg": "", "labels/1.txt": ""})
    (root / "labels" / "1.txt").write_bytes(labels)
    (root / "data.yaml").write_bytes(config)
    with suppress(DataProblems):
        assert YoloSet().read(root).names == ["images/1.jpg"]

"""Whole data sets from annotation files, in each format, against objects written by hand."""

import json
import re
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch

from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.datasets.annotated import Annotated

TREES = run_path(str(Path(__file__).with_name("annotated_trees.py")))
IMAGES, SPLITS, WRITERS = (TREES[name] for name in ("IMAGES", "SPLITS", "WRITERS"))
write_voc_set, write_images, coco_content = (TREES[name] for name in ("write_voc_set", "write_images", "coco_content"))
CLASSES = ("ant", "cat", "dog")
SINGLE = {name: IMAGES[name] for name in ("b.png", "d.png", "f.png")}


def names_of(datamodule: Annotated, split: Any) -> list[str]:  # noqa: ANN401 - a name of a split
    return [Path(datamodule.split(split).image_id(i)).name for i in range(len(datamodule.split(split)))]


def boxes_of(image: str, label: str) -> list[list[float]]:
    return [list(map(float, box)) for name, *box in IMAGES[image] if name == label]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_labels_boxes_and_splits_that_were_written(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path)
    datamodule = Annotated(str(tmp_path))
    assert datamodule.class_names == CLASSES
    assert datamodule.several_labels
    assert datamodule.split_names == ("train", "val", "test")
    datamodule.train_with_boxes()
    for name, images in SPLITS.items():
        split = datamodule.split(name)
        assert names_of(datamodule, name) == list(images)
        for index, image in enumerate(images):
            shown = {label for label, *_ in IMAGES[image]}
            target = split.target(index)
            assert isinstance(target, torch.Tensor)
            assert target.tolist() == [label in shown for label in CLASSES]
            wanted = [boxes_of(image, label) for label in CLASSES if label in shown]
            assert [boxes.tolist() for boxes in split.gt_boxes(index)] == wanted
            assert split.image(index).shape == (3, 20, 30)


def test_training_has_no_boxes(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    split = Annotated(str(tmp_path)).split("train")
    assert [len(boxes) for boxes in split.gt_boxes(0)] == [0, 0]


def test_what_was_recognised_and_decided_is_said(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    write_images(tmp_path / "JPEGImages", ["z.png"])
    assert Annotated(str(tmp_path)).notes == [
        "annotation is Pascal VOC, XML files in Annotations",
        "1 images have no annotation and were left out, first JPEGImages/z.png (1 in JPEGImages)",
        "images have up to 2 labels: several_labels=true",
        "1 of 6 images are negative: they have no label",
    ]


def test_one_label_each_is_a_single_label(tmp_path: Path) -> None:
    write_voc_set(tmp_path, SINGLE, image_sets=False)
    datamodule = Annotated(str(tmp_path), val_share=0.3, test_share=0.3)
    assert not datamodule.several_labels
    targets = {
        Path(split.image_id(i)).name: split.target(i)
        for split in map(datamodule.split, datamodule.split_names)
        for i in range(len(split))
    }
    assert targets == {"b.png": 1, "d.png": 2, "f.png": 0}


def test_an_image_with_two_labels_is_refused_where_one_is_asked_for(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    with pytest.raises(ValueError, match=r"several_labels=false, and 2 of 6 images have several, first a: cat, dog;"):
        Annotated(str(tmp_path), several_labels=False)


def test_images_without_label_are_left_out_where_one_is_asked_for(tmp_path: Path) -> None:
    write_voc_set(tmp_path, {**SINGLE, "c.png": []}, image_sets=False)
    datamodule = Annotated(str(tmp_path), several_labels=False, val_share=0.3, test_share=0.3)
    assert "1 images have no label and were left out, first c" in datamodule.notes
    assert sum(len(datamodule.split(name)) for name in datamodule.split_names) == 3
    assert Annotated(str(tmp_path)).several_labels


def test_chosen_classes_keep_their_order_and_other_labels_do_not_count(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    datamodule = Annotated(str(tmp_path), classes=["dog", "ant"])
    assert datamodule.class_names == ("dog", "ant")
    split = datamodule.split("test")
    assert split.target(0).tolist() == [True, False]  # type: ignore[union-attr] # a tensor
    assert [boxes.tolist() for boxes in split.gt_boxes(0)] == [boxes_of("e.png", "dog")]


def test_a_class_that_no_image_shows_can_be_measured_and_not_trained(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    classes = ["ant", "bee", "cat", "dog", "eel"]
    datamodule = Annotated(str(tmp_path), classes=classes, objectless_classes=["eel"])
    assert datamodule.class_names == tuple(classes)
    assert datamodule.objectless == {4}
    split = datamodule.split("test")
    assert split.target(0).tolist() == [label in {name for name, *_ in IMAGES["e.png"]} for label in classes]  # type: ignore[union-attr] # a tensor
    assert [boxes.tolist() for boxes in split.gt_boxes(0)] == [boxes_of("e.png", "cat"), boxes_of("e.png", "dog")]
    with pytest.raises(ValueError, match=r"classes names bee, eel, and the annotation has ant, cat, dog$"):
        datamodule.split("train")
    with pytest.raises(ValueError, match=r"classes names bee, and the annotation has ant, cat, dog$"):
        Annotated(str(tmp_path), classes=["bee"])


def test_images_of_other_classes_are_not_said_to_have_no_label(tmp_path: Path) -> None:
    write_voc_set(tmp_path / "all", SINGLE, image_sets=False)
    classes = ["ant", "cat"]
    several = Annotated(str(tmp_path / "all"), classes=classes)
    assert several.several_labels
    assert "1 of 3 images are negative: they have another class's label" in several.notes
    assert several.one_label_hint == (
        "datamodule.several_labels=false leaves out the 1 images whose label is none of datamodule.classes"
    )
    one = Annotated(str(tmp_path / "all"), classes=classes, several_labels=False)
    assert "1 images have another class's label and were left out, first d" in one.notes
    assert one.one_label_hint == ""
    write_voc_set(tmp_path / "negative", {**SINGLE, "c.png": []}, image_sets=False)
    with_negative = Annotated(str(tmp_path / "negative"), classes=classes)
    assert with_negative.one_label_hint == ""
    assert "1 of 4 images are negative: they have no label" in with_negative.notes


def test_an_objectless_class_has_no_box(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    file = tmp_path / "Annotations" / "f.xml"
    with pytest.raises(ValueError, match=r"objectless_classes: 1 boxes are of these classes, first one of ant in f;"):
        Annotated(str(tmp_path), objectless_classes=["ant"])
    file.unlink()
    with pytest.raises(ValueError, match="objectless_classes names good, and the annotation has cat, dog"):
        Annotated(str(tmp_path), objectless_classes=["good"])


def test_without_splits_images_are_dealt_and_stay_where_they_are(tmp_path: Path) -> None:
    images = {f"{number}.png": IMAGES["a.png"] for number in range(40)}
    write_voc_set(tmp_path / "some", dict(list(images.items())[:30]), image_sets=False)
    write_voc_set(tmp_path / "all", images, image_sets=False)
    some, more = (Annotated(str(tmp_path / name)) for name in ("some", "all"))
    for name in some.split_names:
        assert set(names_of(some, name)) <= set(names_of(more, name))
    assert more.dealt is not None
    assert [len(part) for part in more.dealt] == [40, 40, 40]
    assert "the format says no splits: images were dealt by a hash of their names" in more.notes


def test_a_format_with_train_alone_is_not_said_to_have_no_splits(tmp_path: Path) -> None:
    rows = [f"{name},cat,train" for name in IMAGES]
    write_images(tmp_path)
    (tmp_path / "a.csv").write_text("\n".join(["file,label,split", *rows]))
    wanted = "the format says no split but train: images were dealt by a hash of their names"
    assert wanted in Annotated(str(tmp_path)).notes


def test_groups_stay_together_and_one_in_two_splits_is_an_error(tmp_path: Path) -> None:
    images = {f"p{number // 4}_{number}.png": IMAGES["a.png"] for number in range(40)}
    write_voc_set(tmp_path, images, image_sets=False)
    datamodule = Annotated(str(tmp_path), group_by=r"^(p\d+)_", val_share=0.3, test_share=0.3)
    patients = [{name.partition("_")[0] for name in names_of(datamodule, split)} for split in datamodule.split_names]
    assert sum(map(len, patients)) == 10
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("p0_0\n")
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("p0_1\n")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("p1_4\n")
    with pytest.raises(ValueError, match=r"groups of datamodule\.group_by are in two splits, first p0"):
        Annotated(str(tmp_path), group_by=r"^(p\d+)_")
    with pytest.raises(ValueError, match=r"group_by=patient is no regular expression .* no column that voc has"):
        Annotated(str(tmp_path), group_by="patient")


def test_a_dealt_split_without_images_names_what_helps(tmp_path: Path) -> None:
    write_voc_set(tmp_path, {f"p{number % 2}_{number}.png": IMAGES["a.png"] for number in range(8)}, image_sets=False)
    grouped = Annotated(str(tmp_path), group_by=r"^(p\d+)_")
    missing: Any = next(name for name in ("train", "val", "test") if name not in grouped.split_names)
    with pytest.raises(ValueError, match=rf"left for {missing}: all 2 groups were dealt to .*datamodule\.seed"):
        grouped.split(missing)
    few = Annotated(str(tmp_path), val_share=0)
    with pytest.raises(ValueError, match="no image is left for val: all 8 images were dealt to "):
        few.split("val")


def test_no_chosen_class_is_refused_by_name(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    with pytest.raises(ValueError, match=r"datamodule\.classes=\[\] names no class"):
        Annotated(str(tmp_path), classes=[])


def test_trainval_is_dealt_and_images_of_no_list_are_left_out(tmp_path: Path) -> None:
    images = {f"{number}.png": IMAGES["a.png"] for number in range(40)}
    write_voc_set(tmp_path, images, image_sets=False)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("".join(f"{number}\n" for number in range(30)))
    (lists / "test.txt").write_text("".join(f"{number}\n" for number in range(30, 38)))
    datamodule = Annotated(str(tmp_path), val_share=0.3)
    assert set(names_of(datamodule, "test")) == {f"{number}.png" for number in range(30, 38)}
    both = names_of(datamodule, "train") + names_of(datamodule, "val")
    assert sorted(both) == sorted(f"{number}.png" for number in range(30))
    assert 0 < len(names_of(datamodule, "val")) < 20
    assert datamodule.dealt is not None
    assert [len(part) for part in datamodule.dealt] == [38, 38, 38]
    assert any(note.startswith("2 images are in no split of the format and were left out") for note in datamodule.notes)


def test_copies_are_left_out_of_the_measured_split(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    folder = tmp_path / "JPEGImages"
    (folder / "d.png").write_bytes((folder / "b.png").read_bytes())
    assert names_of(Annotated(str(tmp_path)), "val") == ["c.png", "d.png"]
    assert names_of(Annotated(str(tmp_path), on_copies="leave_out"), "val") == ["c.png"]


def test_names_of_another_splits_folder_are_not_taken_for_missing_ones(tmp_path: Path) -> None:
    WRITERS["roboflow_coco"](tmp_path)
    (tmp_path / "valid" / "d.png").rename(tmp_path / "test" / "d.png")
    datamodule = Annotated(str(tmp_path))
    assert names_of(datamodule, "val") == ["c.png"]
    assert "1 of 6 annotated images are not there, first valid/d.png" in datamodule.notes


def test_where_images_lie_elsewhere_it_is_said(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    for file in (tmp_path / "JPEGImages").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="no file of 6 of 6 annotated images, first a, b, c; there is no image"):
        Annotated(str(tmp_path))


def test_all_that_is_wrong_in_all_files_is_told(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation>")
    broken = (tmp_path / "Annotations" / "b.xml").read_text().replace("<xmax>8</xmax>", "<xmax>wide</xmax>")
    (tmp_path / "Annotations" / "b.xml").write_text(broken)
    with pytest.raises(DataProblems, match=r"2 problems .*a\.xml cannot be read .*b\.xml.*found 'wide'") as refused:
        Annotated(str(tmp_path))
    assert len(refused.value.problems) == 2


def test_a_box_outside_its_image_is_told_for_all(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    for name in ("d", "e"):
        file = tmp_path / "Annotations" / f"{name}.xml"
        text = re.sub("<size>.*</size>", "", file.read_text())
        file.write_text(text.replace("<ymax>", "<ymax>9").replace("<ymin>", "<ymin>9"))
    datamodule = Annotated(str(tmp_path))
    with pytest.raises(DataProblems, match=r"the box .* lies outside .*d\.png, which is 30 wide and 20 high"):
        datamodule.split("val")


def test_a_single_pixel_is_no_box_and_is_counted(tmp_path: Path) -> None:
    images = dict(IMAGES) | {"e.png": [("cat", 5, 5, 6, 6), ("cat", 0, 0, 9, 9), ("dog", 7, 7, 8, 8)]}
    write_voc_set(tmp_path, images)
    datamodule = Annotated(str(tmp_path))
    assert [boxes.tolist() for boxes in datamodule.split("test").gt_boxes(0)] == [[[0, 0, 9, 9]], []]
    assert datamodule.notes[-1].startswith("test: 2 true boxes are a single pixel and were left out, first of ")


def test_corners_of_zero_make_all_files_count_from_zero(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    file = tmp_path / "Annotations" / "f.xml"
    file.write_text(file.read_text().replace("<xmin>4</xmin>", "<xmin>0</xmin>"))
    datamodule = Annotated(str(tmp_path))
    assert datamodule.split("val").gt_boxes(1)[0].tolist() == [[5, 5, 10, 20]]
    assert any(
        note.startswith("corners are taken to count from 0, since 1 files have one") for note in datamodule.notes
    )


def test_formats_that_are_not_there_are_listed(tmp_path: Path) -> None:
    write_images(tmp_path)
    with pytest.raises(
        ValueError, match=r"has annotation in no known format; looked for .*coco: annotations/\*\.json.*voc: "
    ):
        Annotated(str(tmp_path))
    with pytest.raises(ValueError, match=r"in no known format; .*label, or of 0 and 1 for each class; label_studio"):
        Annotated(str(tmp_path))
    with pytest.raises(ValueError, match=r"format=kitti is none of auto, coco, .*voc"):
        Annotated(str(tmp_path), "kitti")
    with pytest.raises(FileNotFoundError, match="has no COCO json"):
        Annotated(str(tmp_path), "coco")


@pytest.mark.parametrize("split", ["", "train/"])
def test_class_folders_are_said_to_be_those_of_another_data_module(split: str, tmp_path: Path) -> None:
    write_images(tmp_path / f"{split}cat", ["a.png"])
    with pytest.raises(ValueError, match="in no known format") as refused:
        Annotated(str(tmp_path))
    assert "datamodule=folder" not in str(refused.value)  # one folder is that of all images
    write_images(tmp_path / f"{split}dog", ["b.png"])
    with pytest.raises(ValueError, match=r"; found folders of images, which are classes to datamodule=folder$"):
        Annotated(str(tmp_path))


def test_a_table_that_is_nearly_read_is_shown(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file;kind\n1.jpg;cat\n")
    with pytest.raises(ValueError, match=r"in no known format; .*; found .*list\.csv with the columns file;kind$"):
        Annotated(str(tmp_path))


def test_several_formats_are_a_choice(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    (tmp_path / "all.json").write_text(json.dumps(coco_content([*IMAGES])))
    with pytest.raises(ValueError, match=r"in several formats; choose one: format=coco: COCO, all\.json; format=voc: "):
        Annotated(str(tmp_path))
    assert Annotated(str(tmp_path), "coco").class_names == CLASSES


class Sidecars(SetReader):
    """A format of one's own: the label of each image in a text file beside it."""

    name, wanted = "sidecars", "*.txt"

    def recognise(self, root: Path) -> str | None:
        return "text files" if any(root.glob("*.txt")) else None

    def read(self, root: Path) -> AnnotatedImages:
        table = TableBuilder()
        for file in sorted(root.glob("*.txt")):
            table.label(table.image(file.stem, "test"), file.read_text())
        return table.build()


def test_a_format_of_ones_own_is_a_reader(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    for name, label in (("a", "dog"), ("b", "cat")):
        (tmp_path / f"{name}.txt").write_text(label)
    datamodule = Annotated(str(tmp_path), Sidecars())
    assert datamodule.class_names == ("cat", "dog")
    assert datamodule.split_names == ("test",)
    assert [datamodule.split("test").target(index) for index in range(2)] == [1, 0]
    with pytest.raises(ValueError, match="the annotation names no train images, but test alone"):
        datamodule.split("train")

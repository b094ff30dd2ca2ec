"""Tables as chest X-ray data sets and tools write them, against rows written by hand."""

from pathlib import Path

import pytest

from camloc.data.annotations.csv_set import CsvSet
from camloc.data.annotations.problems import DataProblems
from camloc.data.annotations.table import AnnotatedImages


def read(folder: Path, group: str | None = None, **tables: str) -> AnnotatedImages:
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    reader = CsvSet()
    reader.group_column = group
    return reader.read(folder)


def shown(table: AnnotatedImages) -> dict[str, list[str]]:
    labels = table.labels.tolist()
    return {name: [table.class_names[c] for i, c in labels if i == n] for n, name in enumerate(table.names)}


def test_a_plain_table_of_files_and_labels(tmp_path: Path) -> None:
    table = read(
        tmp_path, labels="file,label,patient,split\n1.jpg,cat,p1,train\n2.jpg,dog|cat,p2,valid\n3.jpg,,p1,test\n"
    )
    assert shown(table) == {"1.jpg": ["cat"], "2.jpg": ["cat", "dog"], "3.jpg": []}
    assert table.splits == ["train", "val", "test"]
    assert table.groups == ["p1", "p2", "p1"]
    assert len(table.boxes) == 0


def test_nih_labels_boxes_patients_and_lists_complete_each_other(tmp_path: Path) -> None:
    (tmp_path / "train_val_list.txt").write_text("1_0.png\n2_0.png\n")
    (tmp_path / "test_list.txt").write_text("3_0.png\n")
    table = read(
        tmp_path,
        Data_Entry_2017="Image Index,Finding Labels,Follow-up #,Patient ID,OriginalImage[Width,Height],\n"
        "1_0.png,Infiltration|Mass,0,1,2682,2749,\n2_0.png,No Finding,0,2,2500,2048,\n3_0.png,Mass,0,3,2500,2048,\n",
        BBox_List_2017="Image Index,Finding Label,Bbox [x,y,w,h],,,\n1_0.png,Infiltrate,10.5,20,30,40.25,,,\n",
    )
    assert shown(table) == {"1_0.png": ["Infiltration", "Mass"], "2_0.png": [], "3_0.png": ["Mass"]}
    assert table.boxes.tolist() == [[10.5, 20, 40.5, 60.25]]
    assert table.class_names[table.box_class[0]] == "Infiltration"
    assert table.groups == ["1", "2", "3"]
    assert table.splits == ["trainval", "trainval", "test"]


def test_rsna_targets_and_its_classes(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        stage_2_train_labels="patientId,x,y,width,height,Target\na,,,,,0\nb,264.0,152.0,213.0,379.0,1\nb,5,6,7,8,1\n",
    )
    assert shown(table) == {"a": [], "b": ["Lung Opacity"]}
    assert table.boxes.tolist() == [[264, 152, 477, 531], [5, 6, 12, 14]]


def test_vindr_boxes_of_several_readers_and_no_finding(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        train="image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
        "a,No finding,14,R11,,,,\nb,Cardiomegaly,3,R10,691,1375,1653,1831\nb,Cardiomegaly,3,R9,690,1370,1650,1830\n",
    )
    assert shown(table) == {"a": [], "b": ["Cardiomegaly"]}
    assert len(table.boxes) == 2


def test_roboflow_tables_name_images_beside_them(tmp_path: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    for folder, name in (("train", "1.jpg"), ("valid", "2.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "_annotations.csv").write_text(f"{header}{name},30,20,cat,1,2,3,4\n")
    table = read(tmp_path)
    assert table.names == ["train/1.jpg", "valid/2.jpg"]
    assert table.splits == ["train", "val"]
    assert table.sizes.tolist() == [[20, 30], [20, 30]]


def test_a_column_of_ones_own_groups(tmp_path: Path) -> None:
    assert read(tmp_path, "Camera", a="file,label,camera\n1.jpg,cat,north\n").groups == ["north"]


def test_all_that_is_wrong_in_all_tables_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataProblems) as refused:
        read(
            tmp_path,
            a="file,label,x0,y0,x1,y1\n1.jpg,cat,0,0,wide,1\n2.jpg,cat,5,5,4,4\n3.jpg,,0,0,1,1\n",
            b="file,label\n1.jpg\n",
        )
    assert sorted(where.rpartition("/")[2] for where, _ in refused.value.problems) == [
        "a.csv, line 2",
        "a.csv, line 3",
        "a.csv, line 4",
        "b.csv, line 2",
    ]


def test_tables_of_other_things_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "sample_submission.csv").write_text("image_id,PredictionString\na,14 1 0 0 1 1\n")
    (tmp_path / "notes.csv").write_text("date,text\n")
    (tmp_path / "empty.csv").write_text("")
    assert CsvSet().recognise(tmp_path) is None


def test_roboflow_tables_with_a_column_for_each_class(tmp_path: Path) -> None:
    rows = {"train": "1.jpg, 0, 1, 0\n2.jpg, 1, 1, 0\n", "valid": "3.jpg, 0, 0, 0\n"}
    for folder, lines in rows.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "_classes.csv").write_text(f"filename, Red cell, Platelet, a|b\n{lines}")
    assert CsvSet().recognise(tmp_path) == "CSV, train/_classes.csv, valid/_classes.csv"
    table = read(tmp_path)
    assert shown(table) == {"train/1.jpg": ["Platelet"], "train/2.jpg": ["Platelet", "Red cell"], "valid/3.jpg": []}
    assert table.splits == ["train", "train", "val"]


def test_columns_of_classes_beside_split_patient_and_row_number(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        labels=",image,MEL,No Finding,patient_id,split\n0,a,1.0,0.0,0,train\n1,b,0.0,1.0,1,test\n\n"
        "2,c,1.0,0.0,1,test\n",
    )
    assert shown(table) == {"a": ["MEL"], "b": [], "c": ["MEL"]}
    assert (table.splits, table.groups) == (["train", "test", "test"], ["0", "1", "1"])


def test_other_values_in_columns_of_classes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataProblems) as refused:
        read(tmp_path, _classes="filename,cat,dog\n1.jpg,0,1\n2.jpg,-1,1\n3.jpg,1,\n4.jpg,1\n")
    assert [(where.rpartition("/")[2], message) for where, message in refused.value.problems] == [
        ("_classes.csv, line 3", "cat must be 0 or 1, as whether the image shows it, found '-1'"),
        ("_classes.csv, line 4", "dog must be 0 or 1, as whether the image shows it, found ''"),
        ("_classes.csv, line 5", "expected 3 fields, filename,cat,dog; found 4.jpg,1"),
    ]


@pytest.mark.parametrize(
    "text", ["image,age\na,1\n", "image,cat,dog\na,1,2\n", "image,cat,dog\n", "x,cat,dog\na,1,0\n"]
)
def test_numbers_that_are_no_columns_of_classes(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert CsvSet().recognise(tmp_path) is None


def test_a_class_of_two_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,cat,cat\na,1,0\n")
    assert CsvSet().recognise(tmp_path) is None


def test_a_table_with_other_columns_is_shown(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no CSV with labels: .*found .*a\.csv with the columns file;kind$"):
        read(tmp_path, a="File;Kind\n1.jpg;cat\n")
    with pytest.raises(FileNotFoundError, match=r"found .*a\.csv, line 1: the header must name file .* picture;kind$"):
        read(tmp_path, a="picture;kind\n1.jpg;cat\n")

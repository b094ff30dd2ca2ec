from pathlib import Path

import pytest

from camloc.data.annotations.matching import file_names, files_below, match, stems


def masks(image: str) -> list[str]:
    return stems(image, [".png", "_mask.png"])


def test_the_class_folder_decides_before_the_bare_name() -> None:
    annotated = {"cat/001.png": "with its folder", "001_mask.png": "flat", "009.png": "of nobody"}
    found, left = match(["cat/001.jpg", "dog/001.jpg", "emu/002.jpg"], annotated, masks, "annotations/val")
    assert found == ["with its folder", "flat", None]
    assert left == ["009.png"]


def test_a_flat_name_that_two_images_share_names_both() -> None:
    with pytest.raises(ValueError, match=r"val: 001\.png could belong to cat/001\.jpg or to dog/001\.jpg; name the"):
        match(["cat/001.jpg", "dog/001.jpg"], {"001.png": "flat"}, masks, "val")


def test_a_table_goes_by_path_before_unique_name() -> None:
    found, left = match(["cat/1.jpg", "dog/1.jpg"], {"1.jpg": 1, "cat/1.jpg": 2}, file_names, "val.csv")
    assert found == [2, 1]
    assert left == []


def test_files_are_found_in_folders_by_ending_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("cat/1.XML", "2.xml", "cat/._1.xml", "cat/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.xml").mkdir()
    assert list(files_below(tmp_path, [".xml"])) == ["2.xml", "cat/1.xml"]


def test_a_stem_that_two_images_of_one_folder_share_asks_for_another_name() -> None:
    with pytest.raises(ValueError, match=r"cat/1\.xml could belong to cat/1\.jpg or to cat/1\.png; rename one of the"):
        match(["cat/1.jpg", "cat/1.png"], {"cat/1.xml": 1}, lambda image: stems(image, [".xml"]), "val")

"""A new format is one class: readers of every kind, as a user writes them, work in the folder data set."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from camloc.data.annotations.contract import IGNORED, INSIDE, BoxFileReader, BoxTableReader, MaskFileReader
from camloc.data.annotations.objects import Objects
from camloc.data.datasets.folder import Folder
from camloc.data.images.decode import read_image_size


class Fractions(BoxFileReader):
    """``x y width height`` of a box, centre and size in fractions of the image's sides."""

    endings = (".txt", ".box.txt")

    def read(self, file: Path, image: Path) -> Objects:
        height, width = read_image_size(image)
        x, y, w, h = (float(value) for value in file.read_text().split())
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return Objects.checked([box], [None], str(file))


class Tabs(BoxTableReader):
    files: tuple[str, ...] = ("annotations/{split}.tsv", "{split}/boxes.tsv", "annotations.tsv")

    def read(self, file: Path) -> Mapping[str, Objects]:
        rows = [line.split("\t") for line in file.read_text().splitlines()]
        return {
            name: Objects.checked([(int(x0), int(y0), int(x1), int(y1))], [None], str(file))
            for name, x0, y0, x1, y1 in rows
        }


class Arrays(MaskFileReader):
    endings = ("_seg.npy",)

    def read(self, file: Path) -> NDArray[np.uint8]:
        return np.asarray(np.load(file), np.uint8)


class BitmapMasks(MaskFileReader):
    """Masks that could be taken for images."""

    endings = ("_seg.bmp", ".bmp")

    def read(self, file: Path) -> NDArray[np.uint8]:
        return (np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) > 0).astype(np.uint8)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes with an image of 20 by 30 pixels in each split."""
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "mine" / split / name).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / "mine" / split / name / f"{split}{name}.png"), np.zeros((20, 30, 3), np.uint8))
    return tmp_path / "mine"


def boxes(datamodule: Folder) -> list[list[list[float]]]:
    split = datamodule.split("test")
    return [split.gt_boxes(index)[0].tolist() for index in range(len(split))]


@pytest.mark.parametrize("ending", [".txt", ".box.txt"])
@pytest.mark.parametrize("folder", ["test/{}", "annotations/test/{}", "annotations/test", "annotations"])
def test_a_file_per_image_is_found_wherever_it_may_lie(folder: str, ending: str, root: Path) -> None:
    for name in ("cat", "dog"):
        file = root / folder.format(name) / f"test{name}{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("0.5 0.5 0.2 0.5")
    assert boxes(Folder(str(root), Fractions())) == [[[12, 5, 18, 15]]] * 2


def test_the_first_ending_is_read_where_an_image_has_several_files(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / "test" / name / f"test{name}.txt").write_text("0.5 0.5 1 1")
        (root / "test" / name / f"test{name}.box.txt").write_text("0.5 0.5 0.2 0.5")
    assert boxes(Folder(str(root), Fractions())) == [[[0, 0, 30, 20]]] * 2


@pytest.mark.parametrize("file", ["annotations/test.tsv", "test/boxes.tsv", "annotations.tsv"])
def test_a_table_is_found_wherever_the_reader_says(file: str, root: Path) -> None:
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text("testcat.png\t1\t2\t3\t4\ndog/testdog.png\t5\t6\t7\t8\n")
    assert boxes(Folder(str(root), Tabs())) == [[[1, 2, 3, 4]], [[5, 6, 7, 8]]]


def test_the_first_table_is_read_and_a_missing_one_is_named(root: Path) -> None:
    reader = Tabs()
    with pytest.raises(
        FileNotFoundError,
        match=r"datamodule\.annotations \(Tabs\): there is no .*annotations/test\.tsv, nor .*mine/annotations\.tsv",
    ):
        Folder(str(root), reader).split("test")
    (root / "annotations.tsv").write_text("testcat.png\t0\t0\t1\t1\ntestdog.png\t0\t0\t1\t1\n")
    (root / "annotations").mkdir()
    (root / "annotations" / "test.tsv").write_text("testcat.png\t0\t0\t9\t9\ntestdog.png\t0\t0\t9\t9\n")
    assert boxes(Folder(str(root), reader)) == [[[0, 0, 9, 9]]] * 2
    reader.files = ("only.tsv",)
    with pytest.raises(FileNotFoundError, match=r"\(Tabs\): there is no .*mine/only\.tsv$"):
        Folder(str(root), reader).split("test")


def test_a_table_serves_class_folders_without_split_folders(tmp_path: Path) -> None:
    names = [f"{name}/{name}{number}.png" for name in ("cat", "dog") for number in range(3)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "boxes.tsv").write_text("".join(f"{name}\t1\t2\t3\t4\n" for name in names))
    assert boxes(Folder(str(tmp_path), Tabs())) == [[[1, 2, 3, 4]]] * 2


def test_masks_of_another_format_have_pieces_and_pixels_to_ignore(root: Path) -> None:
    levels = np.zeros((20, 30), np.uint8)
    levels[2:5, 3:9], levels[10:12, 0:4], levels[15, 20] = INSIDE, INSIDE, IGNORED
    for name in ("cat", "dog"):
        np.save(root / "test" / name / f"test{name}_seg.npy", levels)
    datamodule = Folder(str(root), Arrays())
    assert boxes(datamodule) == [[[3, 2, 9, 5], [0, 10, 4, 12]]] * 2
    masks = datamodule.split("test").masks(0)
    assert masks is not None
    assert torch.equal(masks[0][0], torch.from_numpy(levels == INSIDE))
    assert masks[1][0].nonzero().tolist() == [[15, 20]]


@pytest.mark.parametrize("ending", ["_seg.bmp", ".bmp"])
def test_masks_next_to_the_images_are_not_images(ending: str, root: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            cv2.imwrite(str(root / split / name / f"{split}{name}{ending}"), np.ones((20, 30), np.uint8))
    datamodule = Folder(str(root), BitmapMasks())
    assert [len(datamodule.split(name)) for name in ("train", "val", "test")] == [2, 2, 2]
    assert boxes(datamodule) == [[[0, 0, 30, 20]]] * 2
    assert len(Folder(str(root)).split("train")) == 4

"""The summary before a run, and images left out of it."""

import json
from pathlib import Path
from typing import Unpack

import cv2
import numpy as np
import pytest

from camloc.data.datasets.textures import Textures
from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.files import FileSplit
from camloc.data.loading.split import Split, SplitName
from camloc.experiment.preflight import preflight
from camloc.experiment.run_directory import RunDirectory

NAMES: tuple[SplitName, ...] = ("train", "val", "test")


class Images(LocalizationDataModule):
    """Four images a split, the third of train and the first of test unreadable."""

    def __init__(self, root: Path, **options: Unpack[LoaderOptions]) -> None:
        super().__init__(("cat", "dog"), **options)
        self.root = root
        for number, name in enumerate(NAMES):
            for index in range(4):
                cv2.imwrite(str(root / f"{name}{index}.png"), np.full((4, 6, 3), 4 * number + index, np.uint8))
        (root / "train2.png").write_bytes(b"cut off")
        (root / "test0.png").write_bytes(b"")

    def load_split(self, name: SplitName) -> Split:
        boxes = None if name == "train" else [np.array([[0, 0, 3, 3]])] * 4
        return FileSplit(self.root, [f"{name}{index}.png" for index in range(4)], [0, 1, 0, 1], boxes)


def test_unreadable_images_are_listed_when_all_are_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datamodule = Images(tmp_path)
    with pytest.raises(ValueError, match=r"train: 1 images cannot be read: .*train2.*test: 1 images .*test0"):
        preflight(datamodule, NAMES, RunDirectory(tmp_path), open_all=True)
    assert "train" in capsys.readouterr().out


def test_headers_are_read_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datamodule = Images(tmp_path)
    with pytest.raises(ValueError, match=r"train: 1 images cannot be read: .*train2.*; on_.*test: 1 images .*test0"):
        preflight(datamodule, NAMES, RunDirectory(tmp_path))
    for name in ("train2", "test0"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 6, 3), 99 + len(name), np.uint8))
    content = (tmp_path / "val3.png").read_bytes()
    (tmp_path / "val3.png").write_bytes(content[:-20])
    preflight(datamodule, NAMES, RunDirectory(tmp_path))  # cut off behind the header: not opened, not known
    cv2.imwrite(str(tmp_path / "test3.png"), np.zeros((4, 7), np.uint8))
    monkeypatch.setattr("camloc.data.images.headers.MAX_PIXELS", 27)
    with pytest.raises(ValueError, match=r"test3\.png: it is 7 by 4 pixels, and 27 are the most that are decoded"):
        preflight(datamodule, NAMES, RunDirectory(tmp_path))
    monkeypatch.setattr("camloc.experiment.preflight.FEW_HEADERS", 3)
    preflight(datamodule, NAMES, RunDirectory(tmp_path))


def test_unreadable_images_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datamodule = Images(tmp_path)
    preflight(datamodule, NAMES, RunDirectory(tmp_path), "skip")
    printed = capsys.readouterr().out
    assert "note: train: 1 images cannot be read: " in printed
    assert "train2.png" in printed
    assert [len(datamodule.split(name)) for name in NAMES] == [3, 4, 3]
    assert [datamodule.split("test").image_id(i) for i in range(3)] == ["test1.png", "test2.png", "test3.png"]
    assert datamodule.split("train").target(2) == 1
    assert [index for index, _ in json.loads((tmp_path / "unreadable.json").read_text())["train"]] == [2]


def test_other_processes_leave_out_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preflight(Images(tmp_path), NAMES, RunDirectory(tmp_path), "skip")
    monkeypatch.setenv("LOCAL_RANK", "1")
    second = Images(tmp_path)
    preflight(second, NAMES, RunDirectory(tmp_path), "skip")
    assert [len(second.split(name)) for name in NAMES] == [3, 4, 3]


def test_a_class_that_loses_its_last_image_is_an_error(tmp_path: Path) -> None:
    datamodule = Images(tmp_path)
    (tmp_path / "train0.png").write_bytes(b"")
    with pytest.raises(ValueError, match="train has no image of 1 of 2 classes, first cat"):
        preflight(datamodule, NAMES, RunDirectory(tmp_path), "skip")


def test_processes_that_were_started_together_look_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datamodule = Images(tmp_path)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    (tmp_path / "unreadable.json").write_text('{"train": [], "val": [], "test": []}')  # another run's
    preflight(datamodule, NAMES, RunDirectory(tmp_path), "skip")
    assert [len(datamodule.split(name)) for name in NAMES] == [3, 4, 3]


def test_the_classes_are_named_and_a_long_list_of_images_is_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datamodule = Images(tmp_path)
    for index in range(4):
        (tmp_path / f"val{index}.png").write_bytes(b"[/red]")
    with pytest.raises(
        ValueError, match=r"val: 4 images cannot be read: .*; all are listed in .*unreadable\.json; on_un"
    ):
        preflight(datamodule, NAMES, RunDirectory(tmp_path), open_all=True)
    assert "classes: cat, dog\n" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "unreadable.json").read_text())["val"]) == 4


def test_an_unknown_choice_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on_unreadable must be error or skip, found 'ignore'"):
        preflight(Images(tmp_path), NAMES, RunDirectory(tmp_path), "ignore")  # type: ignore[arg-type] # on purpose


def test_boxes_that_a_centre_crop_cuts_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 2 x 2 of the 4 x 6 images are not shown left and right; the boxes (0,0,3,3) are cut.
    datamodule = Images(tmp_path, eval_transform="centre_crop")
    (tmp_path / "train2.png").write_bytes((tmp_path / "train0.png").read_bytes())
    (tmp_path / "test0.png").write_bytes((tmp_path / "test2.png").read_bytes())
    preflight(datamodule, NAMES, RunDirectory(tmp_path))
    printed = capsys.readouterr().out
    for name in ("val", "test"):
        assert (
            f"{name}: the centre crop cuts 4 of 4 true boxes and shows nothing of 0; they are measured whole."
            in printed
        )


def test_pseudo_boxes_are_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Textures(num_train=9, num_val=3, num_test=3, image_size=64, pseudo_boxes="border_contrast")
    preflight(data, ("val", "test"), RunDirectory(tmp_path))
    of_split = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()[:1]}
    assert "3 pseudo" in of_split["val"]
    assert "pseudo" not in of_split["test"]

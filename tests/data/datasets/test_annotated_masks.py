"""Masks of annotated sets, pair by pair, and PxAP by hand."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from camloc.data.annotations.mask_folders import MaskFolders
from camloc.data.annotations.mask_images import MaskReader
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.datasets.annotated import Annotated
from camloc.data.datasets.folder import Folder
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.metrics.pxap import PxAP

Boxes = list[tuple[int, int, int, int]]
SIZE = (8, 8)
LEFT: Boxes = [(1, 1, 3, 5)]
ACROSS: Boxes = [(2, 4, 6, 8)]
NOTHING: Boxes = []


def draw(file: Path, boxes: Boxes = NOTHING, size: tuple[int, int] = SIZE, background: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, background, np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = 255
    assert cv2.imwrite(str(file), pixels)


def drawn(*boxes: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> list[list[bool]]:
    pixels = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = True
    found: list[list[bool]] = pixels.tolist()
    return found


class Written(SetReader):
    """Labels that no mask gives, beside masks."""

    name, wanted = "written", "nothing"

    def recognise(self, root: Path) -> str | None:
        return str(root)

    def read(self, root: Path) -> AnnotatedImages:  # noqa: ARG002 - it stands here
        table = TableBuilder()
        first, second, third = (table.image(f"{name}.png", "test") for name in "abc")
        table.mask(first, "scratch", "m/1.png")
        table.mask(first, "dent", "m/2.png")
        table.mask(first, "scratch", "m/3.png")
        for label in ("dirt", "ant"):
            table.label(first, label)
        table.mask(second, None, "m/4.png")
        table.label(third, "dirt")
        return table.build()


def test_each_pair_has_the_masks_of_its_class(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        draw(tmp_path / f"{name}.png", background=number)
    for number, boxes in enumerate([LEFT, ACROSS, [(6, 6, 8, 8)], NOTHING], start=1):
        draw(tmp_path / "m" / f"{number}.png", boxes)
    datamodule = Annotated(str(tmp_path), Written(), classes=["scratch", "dirt", "dent"])
    assert not any("no annotation" in note for note in datamodule.notes)
    split = datamodule.split("test")
    found = split.masks(0)
    assert found is not None
    assert found[0].tolist() == [drawn(*LEFT, (6, 6, 8, 8)), drawn(), drawn(*ACROSS)]
    assert found[1].tolist() == [drawn(), drawn((0, 0, 8, 8)), drawn()]
    assert split.masks(1) is None  # negative, in spite of a file with nothing inside
    assert split.masks(2) is None
    assert [boxes.tolist() for boxes in split.gt_boxes(0)] == [[], [], []]
    assert Annotated(str(tmp_path), Written(), classes=["dirt", "ant"]).split("test").masks(0) is None


def test_a_mask_of_another_size_is_that_of_the_nearest_pixels(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "test" / "a.png", size=(16, 24))
    draw(tmp_path / "masks" / "dent" / "a.png", [(1, 0, 3, 4)], size=(8, 12))
    split = Annotated(str(tmp_path), "masks").split("test")
    found = split.masks(0)
    assert found is not None
    assert found[0].tolist() == [drawn((2, 0, 6, 8), size=(16, 24))]
    assert not found[1].any()
    assert split.gt_boxes(0)[0].tolist() == [[2, 0, 6, 8]]


def test_training_sees_no_masks(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        draw(tmp_path / "images" / split / f"{split}.png", background=number)
        draw(tmp_path / "masks" / "dent" / f"{split}.png", LEFT)
    datamodule = Annotated(str(tmp_path), "masks")
    assert datamodule.split("train").masks(0) is None
    assert datamodule.split("test").masks(0) is not None


def ramp_pxap(datamodule: LocalizationDataModule) -> dict[str, Any]:
    """Measure maps that are 1 in the left half of each image and 0 in the right one."""
    metric = PxAP()
    for batch in datamodule.test_dataloader():
        truth = batch.truth
        measured = truth.with_masks
        if truth.masks is not None and measured.any():
            masks = truth.masks[measured]
            maps = torch.zeros(masks.shape[0], *SIZE)
            maps[:, :, : SIZE[1] // 2] = 1
            metric.update(maps, masks[:, 0], masks[:, 1])
    return {name: float(value) for name, value in metric.compute().items()}


def mvtec_and_folder(root: Path) -> tuple[Path, Path]:
    """The same images of a test split, as masks of a set and as class folders."""
    whole, folders = root / "whole", root / "folders"
    images = {"good/0": NOTHING, "good/1": NOTHING, "cut/0": LEFT, "cut/1": ACROSS, "hole/0": LEFT + ACROSS}
    for number, (name, boxes) in enumerate(images.items()):
        draw(whole / "test" / f"{name}.png", background=number)
        draw(folders / "test" / f"{name}.png", background=number)
        if boxes:
            draw(whole / "ground_truth" / f"{name}_mask.png", boxes)
            draw(folders / "annotations" / "test" / f"{name}_mask.png", boxes)
    for number, name in enumerate(("good", "cut", "hole"), start=9):
        for split in ("train", "val"):
            draw(folders / split / name / f"{split}.png", background=10 * number + len(split))
            draw(folders / "annotations" / split / name / f"{split}_mask.png", NOTHING if name == "good" else LEFT)
    return whole, folders


def test_pxap_of_a_set_of_masks_by_hand_and_as_of_class_folders(tmp_path: Path) -> None:
    whole, folders = mvtec_and_folder(tmp_path)
    options: dict[str, Any] = {"input_size": 8, "batch_size": 2, "num_workers": 0, "objectless_classes": ["good"]}
    reader = MaskFolders(masks="ground_truth/{class}/{stem}_mask.png", images="{split}/{class}/{stem}.*")
    annotated = ramp_pxap(Annotated(str(whole), reader, **options))
    folder = ramp_pxap(Folder(str(folders), annotations=MaskReader(), **options))
    # The masks have 8, 16 and 8 + 16 - 1 pixels, of which 8, 8 and 15 lie in the left halves of 32 pixels each.
    precision, recall, share = (8 + 8 + 15) / (3 * 32), (8 + 8 + 15) / (8 + 16 + 23), (8 + 16 + 23) / (3 * 64)
    assert annotated["pxap"] == pytest.approx(recall * precision + (1 - recall) * share, abs=1e-12)
    assert annotated == folder
    assert annotated["num_images"] == 3

"""One data set annotated in every format is the same data set: what predictions are measured against is equal."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from runpy import run_path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from camloc.data.datasets.textures import Textures
from camloc.data.datasets.tiny_imagenet import TinyImageNet
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.split import Split, Subset
from camloc.experiment.entry import prepare
from camloc.records import Truth

ROOT = Path(__file__).parent.parent
TREES = run_path(str(ROOT / "tests" / "data" / "datasets" / "folder_trees.py"))
Shared = Callable[[str], Path]


def every(split: Split, step: int) -> Subset:
    return Subset(split, np.arange(0, len(split), step))


def textures(_: Shared) -> tuple[list[str], dict[str, Split]]:
    datamodule = Textures(num_train=18, num_val=18, num_test=27, image_size=64)
    return list(datamodule.class_names), {name: datamodule.split(name) for name in ("train", "val", "test")}


def tiny_imagenet(shared_data: Shared) -> tuple[list[str], dict[str, Split]]:
    root = shared_data("tiny-imagenet-200")
    datamodule = TinyImageNet(str(root), classes=["n01443537", "n02165456", "n07749582"], val_per_class=25)
    return list(datamodule.wnids), {
        "train": every(datamodule.split("train"), 60),
        "val": datamodule.split("val"),
        "test": every(datamodule.split("test"), 3),
    }


def configured(root: Path, annotations: str) -> LocalizationDataModule:
    """Build the data module as the command line would."""
    prepare()
    overrides = ["datamodule=folder", f"datamodule.root={root}", f"datamodule/annotations={annotations}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", [*overrides, "datamodule.input_size=64", "datamodule.num_workers=0"])
    datamodule: LocalizationDataModule = instantiate(config.datamodule)
    return datamodule


class Measured(NamedTuple):
    """What the prediction for an image is measured against; boxes sorted, because their order has no meaning."""

    image_id: str
    class_name: str
    image_boxes: list[list[float]]
    gt_boxes: list[list[float]]
    image_size: tuple[int, int]


def truths(batches: Iterable[object], classes: Sequence[str]) -> list[Measured]:
    found = []
    for batch in batches:
        truth: Truth = batch.truth  # type: ignore[attr-defined] # what evaluation loaders yield
        names = [classes[target] for target in truth.target.tolist()]
        image_boxes, gt_boxes = (
            [sorted(boxes.tolist()) for boxes in field] for field in (truth.image_boxes, truth.gt_boxes)
        )
        found += list(map(Measured, truth.image_ids, names, image_boxes, gt_boxes, truth.image_sizes))
    return sorted(found)


@pytest.mark.parametrize("source", [textures, tiny_imagenet])
def test_voc_coco_csv_and_masks_are_measured_against_the_same(
    source: Callable[[Shared], tuple[list[str], dict[str, Split]]], shared_data: Shared, tmp_path: Path
) -> None:
    classes, splits = source(shared_data)
    for name, split in splits.items():
        TREES["write_images"](split, classes, tmp_path / name)
        if name != "train":
            for kind in TREES["FORMATS"]:
                TREES["write_annotations"](kind, split, classes, tmp_path / "annotations", name)
    found = {}
    for kind in TREES["FORMATS"]:
        datamodule = configured(tmp_path, kind)
        loaders = {"val": datamodule.val_dataloader(), "test": datamodule.test_dataloader()}
        found[kind] = {name: truths(loader, datamodule.class_names) for name, loader in loaders.items()}
        assert datamodule.notes == []
    assert found["voc"] == found["coco"] == found["csv"] == found["masks"]
    for name, rows in found["voc"].items():
        split = splits[name]
        original = {TREES["image_file"](split, classes, Path(name), i).as_posix(): i for i in range(len(split))}
        assert {row.image_id for row in rows} == original.keys()
        for row in rows:
            index = original[row.image_id]
            assert row.class_name == classes[split.target(index)]
            assert row.image_boxes == sorted(split.gt_boxes(index)[0].tolist())


def test_without_annotation_nothing_is_measured(tmp_path: Path) -> None:
    split = Textures(num_train=1, num_test=18, image_size=64).split("test")
    classes = list(Textures().class_names)
    for name in ("train", "val", "test"):
        TREES["write_images"](split, classes, tmp_path / name)
    batch = next(iter(configured(tmp_path, "none").test_dataloader()))
    assert not batch.truth.with_boxes.any()
    assert all(torch.equal(boxes, torch.zeros(0, 4)) for boxes in batch.truth.gt_boxes)

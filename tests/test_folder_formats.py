"""One checkpoint, the same true boxes in four formats: the same counts."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from subprocess import CompletedProcess

import numpy as np
import pytest

from camloc.data.datasets.textures import Textures
from camloc.data.datasets.tiny_imagenet import TinyImageNet
from camloc.data.loading.split import Split, Subset

Entry = Callable[..., CompletedProcess[str]]
TREES = run_path(str(Path(__file__).parent / "data" / "folder_trees.py"))
SHARED = Path(os.environ.get("CAMLOC_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
TINY = SHARED / "tiny-imagenet-200"
OPTIONS = ("datamodule.input_size=64", "datamodule.num_workers=0", "trainer.accelerator=cpu", "callbacks.gallery=null")


def every(split: Split, step: int) -> Subset:
    return Subset(split, np.arange(0, len(split), step))


def textures() -> tuple[list[str], dict[str, Split]]:
    datamodule = Textures(num_train=36, num_val=18, num_test=27, image_size=64, input_size=64)
    return list(datamodule.class_names), {name: datamodule.split(name) for name in ("train", "val", "test")}


def tiny_imagenet() -> tuple[list[str], dict[str, Split]]:
    datamodule = TinyImageNet(str(TINY), classes=["n01443537", "n02165456", "n07749582"], val_per_class=25)
    return list(datamodule.wnids), {
        "train": every(datamodule.split("train"), 20),
        "val": datamodule.split("val"),
        "test": datamodule.split("test"),
    }


@pytest.mark.parametrize(
    "source",
    [
        textures,
        pytest.param(
            tiny_imagenet,
            marks=pytest.mark.skipif(not TINY.is_dir(), reason=f"Tiny ImageNet is not at {TINY} (CAMLOC_SHARED_DATA)"),
        ),
    ],
)
def test_voc_coco_csv_and_masks_give_identical_counts(
    source: Callable[[], tuple[list[str], dict[str, Split]]], entry: Entry, tmp_path: Path
) -> None:
    classes, splits = source()
    for name, split in splits.items():
        TREES["write_images"](split, classes, tmp_path / "mine" / name)
        if name != "train":
            for kind in TREES["FORMATS"]:
                TREES["write_annotations"](kind, split, classes, tmp_path / "mine" / "annotations", name)
    run = tmp_path / "run"
    mine = ("datamodule=folder", f"datamodule.root={tmp_path / 'mine'}", "datamodule.annotations=voc")
    finished = entry("train.py", *mine, *OPTIONS, "trainer.max_epochs=1", f"hydra.run.dir={run}")
    assert finished.returncode == 0, finished.stderr
    counts = {"voc": json.loads((run / "metrics.json").read_text())}
    for kind in ("coco", "csv", "masks"):
        again = tmp_path / kind
        finished = entry(
            *("evaluate.py", f"checkpoint={run}", f"datamodule.annotations={kind}", f"hydra.run.dir={again}"),
            *("trainer.accelerator=cpu", "callbacks.gallery=null"),
        )
        assert finished.returncode == 0, finished.stderr
        counts[kind] = json.loads((again / "metrics.json").read_text())
    assert counts["voc"]["test/localization/num_images"] == len(splits["test"])
    assert 0 < counts["voc"]["test/localization/gt_known_hits"] < len(splits["test"])
    assert counts["voc"] == counts["coco"] == counts["csv"] == counts["masks"]

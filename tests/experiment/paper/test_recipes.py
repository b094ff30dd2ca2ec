"""Every recipe composes, passes the check of its options, builds, and measures a batch of images like ImageNet's."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from camloc.experiment import sources
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.paper.rows import recipe_files
from camloc.experiment.paper.runs import PaperRun, read_runs

Here = Callable[..., Any]
WNIDS = ("n01440764", "n02100735", "n02119789")
EXPERIMENTS = configuration_directory() / "experiment"
EVALUATED = {name for name, file in recipe_files().items() if "camloc evaluate experiment=" in file.read_text()}
SMALL = sorted(path.stem for path in (EXPERIMENTS / "paper_small").glob("*.yaml"))
QUICK = ("googlenet_gap", "googlenet")
"""One that is trained and one that is only measured; the others take the same way, with larger networks."""


def image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 72, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path.with_suffix(".jpg")), pixels)
    path.with_suffix(".jpg").rename(path)


def xml(path: Path, wnid: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    box = "<bndbox><xmin>10</xmin><ymin>8</ymin><xmax>50</xmax><ymax>44</ymax></bndbox>"
    size = "<size><width>72</width><height>60</height><depth>3</depth></size>"
    path.write_text(
        f"<annotation><filename>{path.stem}</filename>{size}<object><name>{wnid}</name>{box}</object></annotation>"
    )


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Three classes as Kaggle lays them out, each with six training and one validation image; and the devkit."""
    root, devkit = tmp_path_factory.mktemp("ILSVRC"), tmp_path_factory.mktemp("devkit")
    data, annotations = root / "ILSVRC/Data/CLS-LOC", root / "ILSVRC/Annotations/CLS-LOC"
    for place, wnid in enumerate(WNIDS):
        for number in range(6):
            image(data / "train" / wnid / f"{wnid}_{number}.JPEG", seed=10 * place + number)
            xml(annotations / "train" / wnid / f"{wnid}_{number}.xml", wnid)
        name = f"ILSVRC2012_val_{place + 1:08d}"
        image(data / "val" / f"{name}.JPEG", seed=100 + place)
        xml(annotations / "val" / f"{name}.xml", wnid)
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} name of {wnid}\n" for wnid in WNIDS))
    (devkit / "data").mkdir()
    (devkit / "data/map_clsloc.txt").write_text("".join(f"{wnid} {i} x\n" for i, wnid in enumerate(WNIDS, start=1)))
    (devkit / "data/ILSVRC2014_clsloc_validation_blacklist.txt").write_text("2\n")
    return str(root), str(devkit)


def check(run: Path, name: str) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert json.loads((run / "status.json").read_text())["status"] == "completed"
    assert {f"test/classification/top{k}_error" for k in (1, 5)} <= set(metrics)
    assert {f"test/localization/ilsvrc_top{k}_error" for k in (1, 5)} <= set(metrics)
    assert f"recipe: {name}\n" in (run / "config.yaml").read_text()
    with (run / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == metrics["test/num_images"]


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in recipe_files()]
)
def test_every_recipe_measures_a_batch(
    name: str, imagenet: tuple[str, str], here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_refuse_random_weights", lambda *_: None)  # there are none for three classes
    root, devkit = imagenet
    run = tmp_path / "run"
    arguments = [
        *(
            f"experiment=paper/{name}",
            f"datamodule.root={root}",
            f"datamodule.devkit={devkit}",
            "backbone.weights=null",
            "paper.needs=[]",
        ),
        *("trainer.accelerator=cpu", "datamodule.num_workers=0", "datamodule.batch_size=3", f"hydra.run.dir={run}"),
        *("datamodule.input_size=64", "+trainer.limit_test_batches=1"),
    ]
    training = ("datamodule.val_per_class=1", "trainer.max_epochs=1", "+trainer.limit_train_batches=1")
    command = "evaluate" if name in EVALUATED else "train"
    done = here(command, *arguments, *(training if command == "train" else ()))
    assert done.returncode == 0, done.stderr
    check(run, name)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test/localization/ilsvrc_num_blacklisted"] == 1
    # The list is of the validation images, which are test here; val is held out of the training images.
    assert metrics.get("val/localization/ilsvrc_num_blacklisted", 0) == 0
    (in_tables,) = read_runs([run])
    assert isinstance(in_tables, PaperRun)
    assert in_tables.deviations[2] == [
        "datamodule.input_size=64 (recipe: null)",
        "3 instead of 50,000 images",
        "1 instead of 1,762 images blacklisted",
    ]
    if "table3_heuristic" in recipe_files()[name].read_text():
        assert "test/localization/heuristic_top5_error" in metrics


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in SMALL])
def test_every_small_row_trains_on_tiny_imagenet(
    name: str, here: Here, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = here(
        "train",
        *(f"experiment=paper_small/{name}", f"datamodule.root={shared_data('tiny-imagenet-200')}"),
        *("trainer.accelerator=cpu", "datamodule.num_workers=0", "datamodule.batch_size=4", f"hydra.run.dir={run}"),
        *("trainer.max_epochs=1", *(f"++trainer.limit_{split}_batches=1" for split in ("train", "val", "test"))),
    )
    assert done.returncode == 0, done.stderr
    check(run, name)


def test_every_small_row_is_one_of_the_paper() -> None:
    assert set(SMALL) <= set(recipe_files())
    assert SMALL


@pytest.mark.parametrize(("name", "missing"), [("googlenet", "datamodule.devkit"), ("nin", "backbone.weights")])
def test_what_a_recipe_needs_is_asked_for(
    name: str, missing: str, imagenet: tuple[str, str], here: Here, tmp_path: Path
) -> None:
    root, devkit = imagenet
    given = [] if missing == "datamodule.devkit" else [f"datamodule.devkit={devkit}"]
    arguments = [f"experiment=paper/{name}", f"datamodule.root={root}", f"hydra.run.dir={tmp_path / 'run'}"]
    done = here("evaluate", *arguments, *given)
    assert done.returncode == 1
    assert f"error: {missing} must be given: experiment=paper/{name} is measured with it\n" in done.stderr

"""One data set written in every format is the same data set: what a run measures on it is equal."""

import json
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest

from camloc.data.annotations.voc_set import VocSet

Here = Callable[..., Any]
Shared = Callable[[str], Path]
TREES = run_path(str(Path(__file__).parent / "data" / "datasets" / "annotated_trees.py"))
Tree = Any
SMALL = (
    *("datamodule=annotated", "objective=multi_label", "datamodule.input_size=64", "datamodule.num_workers=0"),
    *("datamodule.batch_size=6", "trainer.accelerator=cpu", "trainer.max_epochs=1", "callbacks.gallery=null"),
    "localization=[several_labels,pxap]",
)
EVALUATED = ("trainer.accelerator=cpu", "callbacks.gallery=null")


def drawn_tree(_: Shared) -> Tree:
    """Images of several shapes: negative ones, several boxes of a class, boxes that overlap, and one of one pixel."""
    draw = np.random.default_rng(3)
    splits = {
        split: tuple(f"{split}{number:02}.png" for number in range(count))
        for split, count in (("train", 8), ("val", 9), ("test", 11))
    }
    images, sizes = {}, {}
    for names in splits.values():
        for number, name in enumerate(names):
            height, width = sizes[name] = (int(draw.integers(31, 90)), int(draw.integers(31, 90)))
            found = []
            for _box in range((0, 1, 3, 5)[number % 4]):
                x0, y0 = int(draw.integers(0, width - 4)), int(draw.integers(0, height - 4))
                x1, y1 = int(draw.integers(x0 + 3, width + 1)), int(draw.integers(y0 + 3, height + 1))
                found.append((("cat", "dog", "emu")[int(draw.integers(3))], x0, y0, x1, y1))
            images[name] = found
    images["test03.png"].append(("cat", 7, 9, 8, 10))
    images["test01.png"] = [("dog", 4, 4, 5, 5)]
    images["train01.png"] = [("emu", 0, 0, 9, 9)]
    return TREES["Tree"](images, splits, sizes)


def bccd_tree(shared_data: Shared) -> Tree:
    """Blood cells, with both of the boxes of one pixel."""
    root = shared_data("bccd")
    table = VocSet().read(root)
    images: dict[str, list[tuple[str, int, int, int, int]]] = {f"{name}.jpg": [] for name in table.names}
    for image, kind, box in zip(table.box_image, table.box_class, table.boxes.tolist(), strict=True):
        images[f"{table.names[image]}.jpg"].append((table.class_names[kind], *map(int, box)))
    clicks = {"val": ("BloodImage_00338.jpg",), "test": ("BloodImage_00343.jpg",), "train": ()}
    all_clicks = {name for names in clicks.values() for name in names}
    splits = {}
    for split, click in clicks.items():
        names = [f"{name}.jpg" for name, own in zip(table.names, table.splits, strict=True) if own == split]
        splits[split] = tuple(sorted([*click, *[name for name in names if name not in all_clicks][:11]]))
    used = {name: images[name] for names in splits.values() for name in names}
    return TREES["Tree"](used, splits, dict.fromkeys(used, (480, 640)), root / "JPEGImages")


@pytest.mark.integration
@pytest.mark.parametrize("made", [drawn_tree, bccd_tree])
def test_a_run_measures_the_same_on_every_format(
    made: Callable[[Shared], Tree], shared_data: Shared, here: Here, tmp_path: Path
) -> None:
    tree = made(shared_data)
    for kind, write in TREES["WRITERS"].items():
        write(tmp_path / kind, tree=tree)
    trained = here("train", *SMALL, f"datamodule.root={tmp_path / 'voc'}", f"hydra.run.dir={tmp_path / 'run'}")
    assert trained.returncode == 0, trained.stderr
    measured = {}
    for kind in TREES["WRITERS"]:
        evaluated = here(
            *("evaluate", f"checkpoint={tmp_path / 'run'}", f"datamodule.root={tmp_path / kind}", *EVALUATED),
            f"hydra.run.dir={tmp_path / 'evaluated' / kind}",
        )
        assert evaluated.returncode == 0, evaluated.stderr
        assert "are a single pixel and were left out" in " ".join(evaluated.stdout.split()), kind
        measured[kind] = json.loads((tmp_path / "evaluated" / kind / "metrics.json").read_text())
    wanted = measured["voc"]
    assert "test/localization/gt_known_error" in wanted
    of_masks = {key for key in measured["masks"] if "/pxap" in key}
    assert {"val/localization/pxap", "test/localization/pxap"} <= of_masks
    assert {key: value for key, value in measured.pop("masks").items() if key not in of_masks} == wanted
    for kind, numbers in measured.items():
        assert numbers == wanted, kind

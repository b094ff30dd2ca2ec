"""A data set with one or several labels per image, written in the formats of whole data sets, as other tools would."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

Object = tuple[str, int, int, int, int]
"""Class and half-open xyxy pixels."""
SIZE = (20, 30)
IMAGES: Mapping[str, Sequence[Object]] = {
    "a.png": [("dog", 2, 3, 12, 9), ("cat", 0, 0, 5, 5), ("dog", 20, 10, 30, 20)],
    "b.png": [("cat", 1, 1, 8, 8)],
    "c.png": [],
    "d.png": [("dog", 4, 4, 9, 19)],
    "e.png": [("cat", 7, 2, 29, 12), ("dog", 1, 12, 6, 20)],
    "f.png": [("ant", 3, 3, 9, 9)],
}
SPLITS = {"train": ("a.png", "b.png", "f.png"), "val": ("c.png", "d.png"), "test": ("e.png",)}


class Tree(NamedTuple):
    """What is written."""

    images: Mapping[str, Sequence[Object]] = IMAGES
    splits: Mapping[str, Sequence[str]] = SPLITS
    sizes: Mapping[str, tuple[int, int]] = {}
    """``(height, width)`` of images that are not of ``SIZE``."""
    source: Path | None = None
    """Holds the images; null draws noise."""

    def size(self, name: str) -> tuple[int, int]:
        return self.sizes.get(name, SIZE)

    @property
    def classes(self) -> list[str]:
        return sorted({label for objects in self.images.values() for label, *_ in objects})


TREE = Tree()


def write_images(folder: Path, names: Sequence[str] = tuple(IMAGES), tree: Tree = TREE) -> None:
    """Write images that all differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if tree.source is not None:
            shutil.copyfile(tree.source / name, folder / name)
            continue
        pixels = np.random.default_rng(sum(map(ord, name))).integers(0, 255, (*tree.size(name), 3), np.uint8)
        cv2.imwrite(str(folder / name), pixels)


def write_voc_set(
    root: Path,
    images: Mapping[str, Sequence[Object]] | None = None,
    *,
    image_sets: bool = True,
    tree: Tree = TREE,
) -> None:
    """Write ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``."""
    tree = tree if images is None else tree._replace(images=images)
    write_images(root / "JPEGImages", list(tree.images), tree)
    (root / "Annotations").mkdir()
    for name, objects in tree.images.items():
        boxes = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for label, x0, y0, x1, y1 in objects
        )
        height, width = tree.size(name)
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        (root / "Annotations" / name).with_suffix(".xml").write_text(f"<annotation>{size}{boxes}</annotation>")
    if image_sets:
        (root / "ImageSets" / "Main").mkdir(parents=True)
        lists = {**tree.splits, "trainval": (*tree.splits["train"], *tree.splits["val"])}
        for split, names in lists.items():
            lines = "".join(f"{Path(name).stem}\n" for name in names)
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text(lines)


def coco_content(names: Sequence[str], tree: Tree = TREE) -> dict[str, object]:
    """Return what a COCO json of some images holds."""
    categories = [{"id": 0, "name": "things", "supercategory": "none"}]
    categories += [{"id": 5 + 2 * n, "name": label, "supercategory": "things"} for n, label in enumerate(tree.classes)]
    sizes = [tree.size(name) for name in names]
    return {
        "images": [
            {"id": n, "file_name": name, "height": height, "width": width}
            for n, (name, (height, width)) in enumerate(zip(names, sizes, strict=True))
        ],
        "annotations": [
            {"image_id": n, "category_id": 5 + 2 * tree.classes.index(label), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for n, name in enumerate(names)
            for label, x0, y0, x1, y1 in tree.images[name]
        ],
        "categories": categories,
    }


def write_roboflow_coco(root: Path, tree: Tree = TREE) -> None:
    """Write ``train|valid|test/_annotations.coco.json`` beside the images."""
    for split, names in tree.splits.items():
        folder = root / {"val": "valid"}.get(split, split)
        write_images(folder, names, tree)
        (folder / "_annotations.coco.json").write_text(json.dumps(coco_content(names, tree)))


def write_coco(root: Path, tree: Tree = TREE) -> None:
    """Write ``annotations/instances_<split>.json`` and ``images/<split>/``."""
    (root / "annotations").mkdir(parents=True)
    for split, names in tree.splits.items():
        write_images(root / "images" / split, names, tree)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco_content(names, tree)))


def write_csv_rows(file: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as content:
        csv.writer(content).writerows([header, *rows])


def write_csv(root: Path, tree: Tree = TREE) -> None:
    """Write ``labels.csv`` with a column for the split; an image without objects has a line without a class."""
    write_images(root / "images", list(tree.images), tree)
    rows: list[Sequence[object]] = []
    for split, names in tree.splits.items():
        for name in names:
            rows += [(name, split, *found) for found in tree.images[name]] or [(name, split, "", "", "", "", "")]
    write_csv_rows(root / "labels.csv", ("file", "split", "class", "x0", "y0", "x1", "y1"), rows)


def write_masks(root: Path, tree: Tree = TREE) -> None:
    """Write ``masks/<class>/<image>_<number>.png``, a file per object, and ``images/<split>/``."""
    for split, names in tree.splits.items():
        write_images(root / "images" / split, names, tree)
        for name in names:
            for number, (label, x0, y0, x1, y1) in enumerate(tree.images[name], start=1):
                mask = np.zeros(tree.size(name), np.uint8)
                mask[y0:y1, x0:x1] = 255
                file = root / "masks" / label / f"{Path(name).stem}_{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), mask)


def write_yolo(root: Path, tree: Tree = TREE) -> None:
    """Write ``images/<split>/``, ``labels/<split>/`` and ``data.yaml``; shares have six decimals."""
    classes = tree.classes[::-1]
    for split, names in tree.splits.items():
        write_images(root / "images" / split, names, tree)
        (root / "labels" / split).mkdir(parents=True)
        for name in names:
            height, width = tree.size(name)
            lines = "".join(
                f"{classes.index(label)} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
                f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}\n"
                for label, x0, y0, x1, y1 in tree.images[name]
            )
            (root / "labels" / split / name).with_suffix(".txt").write_text(lines)
    places = "train: images/train\nval: images/val\ntest: images/test\n"
    (root / "data.yaml").write_text(f"{places}nc: {len(classes)}\nnames: [{', '.join(classes)}]\n")


def write_label_studio(root: Path, tree: Tree = TREE) -> None:
    """Write ``annotations/<split>.json`` as Label Studio exports it, in percent, and ``images/``."""
    write_images(root / "images", list(tree.images), tree)
    (root / "annotations").mkdir()
    for split, names in tree.splits.items():
        tasks = [_task(number, name, tree) for number, name in enumerate(names, start=1)]
        (root / "annotations" / f"{split}.json").write_text(json.dumps(tasks))


def _task(number: int, name: str, tree: Tree) -> dict[str, object]:
    height, width = tree.size(name)
    drawn = {"type": "rectanglelabels", "original_width": width, "original_height": height, "image_rotation": 0}
    regions: list[dict[str, object]] = []
    for label, x0, y0, x1, y1 in tree.images[name]:
        sides = {"width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height}
        box = {"x": 100 * x0 / width, "y": 100 * y0 / height, **sides}
        regions.append({**drawn, "id": f"r{len(regions)}", "value": {**box, "rotation": 0, "rectanglelabels": [label]}})
    annotations = [{"id": number, "was_cancelled": False, "ground_truth": False, "result": regions}]
    return {"id": number, "annotations": annotations, "data": {"image": f"/data/upload/1/{name}"}, "predictions": []}


WRITERS = {
    "voc": write_voc_set,
    "roboflow_coco": write_roboflow_coco,
    "coco": write_coco,
    "csv": write_csv,
    "masks": write_masks,
    "yolo": write_yolo,
    "label_studio": write_label_studio,
}

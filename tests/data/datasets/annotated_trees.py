"""A small data set with one or several labels per image, written in the formats of whole data sets."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def write_images(folder: Path, names: Sequence[str] = tuple(IMAGES), size: tuple[int, int] = SIZE) -> None:
    """Write images that all differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = np.random.default_rng(sum(map(ord, name))).integers(0, 255, (*size, 3), np.uint8)
        cv2.imwrite(str(folder / name), pixels)


def write_voc_set(root: Path, images: Mapping[str, Sequence[Object]] = IMAGES, *, image_sets: bool = True) -> None:
    """Write ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``."""
    write_images(root / "JPEGImages", list(images))
    (root / "Annotations").mkdir()
    for name, objects in images.items():
        boxes = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for label, x0, y0, x1, y1 in objects
        )
        size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>"
        (root / "Annotations" / name).with_suffix(".xml").write_text(f"<annotation>{size}{boxes}</annotation>")
    if image_sets:
        (root / "ImageSets" / "Main").mkdir(parents=True)
        lists = {**SPLITS, "trainval": SPLITS["train"] + SPLITS["val"]}
        for split, names in lists.items():
            lines = "".join(f"{Path(name).stem}\n" for name in names)
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text(lines)


def coco_content(names: Sequence[str], images: Mapping[str, Sequence[Object]] = IMAGES) -> dict[str, object]:
    """Return what a COCO json of some images holds."""
    classes = sorted({label for objects in images.values() for label, *_ in objects})
    categories = [{"id": 0, "name": "things", "supercategory": "none"}]
    categories += [{"id": 5 + 2 * n, "name": label, "supercategory": "things"} for n, label in enumerate(classes)]
    return {
        "images": [{"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for n, name in enumerate(names)],
        "annotations": [
            {"image_id": n, "category_id": 5 + 2 * classes.index(label), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for n, name in enumerate(names)
            for label, x0, y0, x1, y1 in images[name]
        ],
        "categories": categories,
    }


def write_roboflow_coco(root: Path) -> None:
    """Write ``train|valid|test/_annotations.coco.json`` beside the images."""
    for split, names in SPLITS.items():
        folder = root / {"val": "valid"}.get(split, split)
        write_images(folder, names)
        (folder / "_annotations.coco.json").write_text(json.dumps(coco_content(names)))


def write_coco(root: Path) -> None:
    """Write ``annotations/instances_<split>.json`` and ``images/<split>/``."""
    (root / "annotations").mkdir(parents=True)
    for split, names in SPLITS.items():
        write_images(root / "images" / split, names)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco_content(names)))


def write_csv_rows(file: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as content:
        csv.writer(content).writerows([header, *rows])


def write_csv(root: Path) -> None:
    """Write ``labels.csv`` with a column for the split; an image without objects has a line without a class."""
    write_images(root / "images")
    rows: list[Sequence[object]] = []
    for split, names in SPLITS.items():
        for name in names:
            rows += [(name, split, *found) for found in IMAGES[name]] or [(name, split, "", "", "", "", "")]
    write_csv_rows(root / "labels.csv", ("file", "split", "class", "x0", "y0", "x1", "y1"), rows)


def write_yolo(root: Path) -> None:
    """Write ``images/<split>/``, ``labels/<split>/`` and ``data.yaml``; shares have six decimals."""
    classes = ["dog", "cat", "ant"]
    height, width = SIZE
    for split, names in SPLITS.items():
        write_images(root / "images" / split, names)
        (root / "labels" / split).mkdir(parents=True)
        for name in names:
            lines = "".join(
                f"{classes.index(label)} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
                f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}\n"
                for label, x0, y0, x1, y1 in IMAGES[name]
            )
            (root / "labels" / split / name).with_suffix(".txt").write_text(lines)
    places = "train: images/train\nval: images/val\ntest: images/test\n"
    (root / "data.yaml").write_text(f"{places}nc: 3\nnames: [{', '.join(classes)}]\n")


def label_studio_task(number: int, name: str, objects: Sequence[Object], size: tuple[int, int]) -> dict[str, object]:
    """Return an image's task with its rectangles in percent."""
    height, width = size
    regions = [
        {
            "id": f"r{place}",
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": 100 * x0 / width,
                "y": 100 * y0 / height,
                "width": 100 * (x1 - x0) / width,
                "height": 100 * (y1 - y0) / height,
                "rotation": 0,
                "rectanglelabels": [label],
            },
        }
        for place, (label, x0, y0, x1, y1) in enumerate(objects)
    ]
    annotations = [{"id": number, "was_cancelled": False, "ground_truth": False, "result": regions}]
    return {"id": number, "annotations": annotations, "data": {"image": f"/data/upload/1/{name}"}, "predictions": []}


def write_label_studio(root: Path) -> None:
    """Write ``annotations/<split>.json`` as Label Studio exports it, and ``images/``."""
    write_images(root / "images")
    (root / "annotations").mkdir()
    for split, names in SPLITS.items():
        tasks = [label_studio_task(number, name, IMAGES[name], SIZE) for number, name in enumerate(names, start=1)]
        (root / "annotations" / f"{split}.json").write_text(json.dumps(tasks))


def write_mask_files(folder: Path, name: str, objects: Sequence[Object], size: tuple[int, int]) -> None:
    """Write ``<class>/<image>_<number>.png`` for each object of an image."""
    for number, (label, x0, y0, x1, y1) in enumerate(objects, start=1):
        mask = np.zeros(size, np.uint8)
        mask[max(y0, 0) : y1, max(x0, 0) : x1] = 255
        file = folder / label / f"{Path(name).stem}_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), mask)


def write_masks(root: Path) -> None:
    """Write ``masks/<class>/``, a file per object, and ``images/<split>/``."""
    for split, names in SPLITS.items():
        write_images(root / "images" / split, names)
        for name in names:
            write_mask_files(root / "masks", name, IMAGES[name], SIZE)


WHOLE_PIXELS = {
    "voc": write_voc_set,
    "roboflow_coco": write_roboflow_coco,
    "coco": write_coco,
    "csv": write_csv,
    "masks": write_masks,
}
ROUNDED = {"yolo": write_yolo, "label_studio": write_label_studio}
"""Formats that hold boxes as shares."""
WRITERS = {**WHOLE_PIXELS, **ROUNDED}

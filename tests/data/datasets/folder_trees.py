"""Write any split as class folders of images with annotation in every format, as other tools would."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from camloc.data.loading.split import Split

FORMATS = ("voc", "coco", "csv", "masks")


def write_images(split: Split, classes: list[str], folder: Path) -> None:
    """Write ``<class>/<number>.png``, without loss."""
    for index in range(len(split)):
        file = image_file(split, classes, folder, index)
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), split.image(index).permute(1, 2, 0).numpy()[..., ::-1])


def image_file(split: Split, classes: list[str], folder: Path, index: int) -> Path:
    return folder / classes[split.target(index)] / f"{index:05d}.png"


def write_annotations(kind: str, split: Split, classes: list[str], annotations: Path, name: str) -> None:
    """Write the annotations of the split ``name`` in one format."""
    annotations.mkdir(parents=True, exist_ok=True)
    {"voc": write_voc, "coco": write_coco, "csv": write_csv, "masks": write_masks}[kind](
        split, classes, annotations, name
    )


def objects(split: Split, index: int) -> list[list[int]]:
    return [[round(value) for value in box] for box in split.gt_boxes(index)[0].tolist()]


def write_voc(split: Split, classes: list[str], annotations: Path, name: str) -> None:
    for index in range(len(split)):
        target = classes[split.target(index)]
        height, width = split.image(index).shape[-2:]
        boxes = "".join(
            f"<object><name>{target}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for x0, y0, x1, y1 in objects(split, index)
        )
        file = annotations / name / target / f"{index:05d}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            f"<annotation><folder>x</folder><filename>other.jpg</filename><path>/etc/passwd</path>"
            f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{boxes}</annotation>"
        )


def write_coco(split: Split, classes: list[str], annotations: Path, name: str) -> None:
    images, found = [], []
    for index in range(len(split)):
        target = split.target(index)
        images.append({"id": 1000 + 3 * index, "file_name": f"{name}/{classes[target]}/{index:05d}.png"})
        for x0, y0, x1, y1 in objects(split, index):
            box = [x0, y0, x1 - x0, y1 - y0]
            found.append({"image_id": 1000 + 3 * index, "category_id": 90 - 7 * target, "bbox": box, "iscrowd": 0})
    categories = [{"id": 90 - 7 * number, "name": label} for number, label in enumerate(classes)]
    content = {"images": images, "annotations": found, "categories": categories}
    (annotations / f"{name}.json").write_text(json.dumps(content))


def write_csv(split: Split, classes: list[str], annotations: Path, name: str) -> None:
    with (annotations / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "file", "xmin", "ymin", "xmax", "ymax"])
        for index in range(len(split)):
            target = classes[split.target(index)]
            writer.writerows([target, f"{target}/{index:05d}.png", *box] for box in objects(split, index))


def write_masks(split: Split, classes: list[str], annotations: Path, name: str) -> None:
    for index in range(len(split)):
        height, width = split.image(index).shape[-2:]
        mask = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in objects(split, index):
            mask[y0:y1, x0:x1] = 255
        file = annotations / name / classes[split.target(index)] / f"{index:05d}_mask.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), mask)

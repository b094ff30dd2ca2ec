"""Boxes from an exported network: ``python localize.py IMAGE...``; needs numpy, onnxruntime, and Pillow for files."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[Any], Any]  # from images to probabilities, classes and score maps


def largest_component_box(score_map: Any, threshold: float) -> list[int]:  # noqa: ANN401 - an array
    """Return the half-open xyxy box of a map's largest 8-connected component above a share of its maximum."""
    height, width = score_map.shape
    none, highest = height * width, score_map.max()
    mask = score_map > np.float32(threshold) * highest
    if not (np.isfinite(score_map).all() and highest > 0 and mask.any()):
        return [0, 0, 0, 0]
    label = np.where(mask, np.arange(none).reshape(height, width), none)
    while True:  # each pixel takes the first pixel of its neighbourhood, then that pixel's own, until none changes
        around = np.pad(label, 1, constant_values=none)
        near = [around[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        first = np.where(mask, np.minimum.reduce(near), none)
        first = np.append(first, none)[first]
        if (first == label).all():
            break
        label = first
    rows, columns = np.nonzero(label == np.bincount(label[mask]).argmax())
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def localize(run: Run, card: dict[str, Any], image: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - an array
    """Find the classes of an (H,W,3) uint8 RGB image and their boxes, half-open xyxy pixels of the image."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = 0, 0, width, height
    if card["window"] == "centre_crop":
        side = max(1, round(min(height, width) * (224 / 256)))
        x0, y0 = (width - side) // 2, (height - side) // 2
        x1, y1 = x0 + side, y0 + side
    shown = np.ascontiguousarray(image[y0:y1, x0:x1].transpose(2, 0, 1))[None]
    (probabilities,), (classes,), (score_maps,) = run(shown)
    scale = np.array([(x1 - x0) / card["input_size"], (y1 - y0) / card["input_size"]] * 2)
    found = []
    for index, score_map in zip(classes.tolist(), score_maps, strict=True):
        probability = float(probabilities[index])
        if probability < card["least_probability"]:
            continue
        box = None if index in card["objectless"] else largest_component_box(score_map, card["cam_threshold"])
        placed = (np.array(box) * scale + [x0, y0, x0, y0]).tolist() if box and box[2] > box[0] else None
        found.append({"class": card["class_names"][index], "probability": probability, "box": placed})
    return found


def load(folder: Path) -> tuple[Run, dict[str, Any]]:
    """Return the network that lies in a folder, as a function of (B,3,H,W) uint8 images, and its card."""
    import onnxruntime  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415 - no types published

    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # not the warning that more_classes has a value in the file
    session = onnxruntime.InferenceSession(str(folder / card["file"]), options, providers=["CPUExecutionProvider"])
    return (lambda images: session.run(["probabilities", "classes", "score_maps"], {"images": images})), card


def read(name: str) -> Any:  # noqa: ANN401 - an array
    """Return an image file as an upright (H,W,3) uint8 RGB image; ends the program where it has more than 8 bits."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - for files alone

    with Image.open(name) as image:
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # which Pillow would clip to white
            sys.exit(f"{name}: mode {image.mode} has more than 8 bits; convert it to 8 bits first")
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


if __name__ == "__main__":
    network, about = load(Path(__file__).parent)
    for name in sys.argv[1:]:
        pixels = read(name)
        print(json.dumps({"image": name, "classes": localize(network, about, pixels)}))  # noqa: T201 - to its user

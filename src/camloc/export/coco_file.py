"""COCO json of what was found: for tools that show, correct or train on boxes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from camloc.export.replaced import replaced
from camloc.localized import LocalizedImage, run_lengths


def write_coco(path: Path, images: Iterable[LocalizedImage], class_names: Sequence[str]) -> None:
    """Write ``images``, ``annotations`` with a ``score`` each, and ``categories``, whose ids are class indices plus 1.

    Masks become ``segmentation`` in run lengths. An image without a box is listed, one that could not be read is not.

    Args:
        path: The file; it appears when it is whole.
        images: In their order; iterated over twice.
        class_names: (C,).
    """
    readable = _Readable(images)
    categories = [{"id": index, "name": name} for index, name in enumerate(class_names, start=1)]
    with replaced(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write('{"images": [')
        file.writelines(_separated(_image(number, image) for number, image in enumerate(readable, start=1)))
        file.write('],\n"annotations": [')
        found = (one for number, image in enumerate(readable, start=1) for one in _annotations(number, image))
        file.writelines(_separated({"id": number, **one} for number, one in enumerate(found, start=1)))
        file.write('],\n"categories": [')
        file.writelines(_separated(categories))
        file.write("]}\n")


class _Readable:
    def __init__(self, images: Iterable[LocalizedImage]) -> None:
        self.images = images

    def __iter__(self) -> Iterator[LocalizedImage]:
        return (image for image in self.images if image.error is None)


def _image(number: int, image: LocalizedImage) -> dict[str, Any]:
    return {"id": number, "file_name": image.name, "height": image.size[0], "width": image.size[1]}


def _annotations(number: int, image: LocalizedImage) -> Iterator[dict[str, Any]]:
    for found, box in image.boxes:
        x0, y0, x1, y1 = box.box
        width, height = x1 - x0, y1 - y0
        one: dict[str, Any] = {
            "image_id": number,
            "category_id": found.class_index + 1,
            "bbox": [x0, y0, width, height],
            "area": width * height if box.mask is None else int(box.mask.sum()),
            "iscrowd": 0,
            "score": box.score,
        }
        if box.mask is not None:
            one["segmentation"] = {"size": list(image.size), "counts": run_lengths(box.mask)}
        yield one


def _separated(values: Iterable[dict[str, Any]]) -> Iterator[str]:
    for number, value in enumerate(values):
        yield f"{',' if number else ''}\n{json.dumps(value)}"

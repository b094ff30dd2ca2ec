"""Label Studio pre-annotations of what was found: tasks whose boxes a person corrects instead of drawing them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from camloc.export.replaced import replaced
from camloc.localized import LocalizedImage

FROM_NAME, TO_NAME = "label", "image"
"""Names of the control and of the image in Label Studio's template of object detection with bounding boxes."""


def write_label_studio(path: Path, images: Iterable[LocalizedImage], model_version: str) -> None:
    """Write a task with a prediction for every image that could be read.

    The image is named as Label Studio's local storage serves it, ``/data/local-files/?d=<path>``.

    Args:
        path: The file; it appears when it is whole.
        images: In their order.
        model_version: What the predictions are from.
    """
    with replaced(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("[")
        tasks = (image for image in images if image.error is None)
        for number, image in enumerate(tasks):
            file.write(f"{',' if number else ''}\n{json.dumps(_task(image, model_version))}")
        file.write("]\n")


def _task(image: LocalizedImage, model_version: str) -> dict[str, Any]:
    height, width = image.size
    result = []
    for number, (found, box) in enumerate(image.boxes):
        x0, y0, x1, y1 = box.box
        result.append(
            {
                "id": f"box{number}",
                "type": "rectanglelabels",
                "from_name": FROM_NAME,
                "to_name": TO_NAME,
                "original_width": width,
                "original_height": height,
                "score": box.score,
                "value": {
                    "x": 100 * x0 / width,
                    "y": 100 * y0 / height,
                    "width": 100 * (x1 - x0) / width,
                    "height": 100 * (y1 - y0) / height,
                    "rotation": 0,
                    "rectanglelabels": [found.name],
                },
            }
        )
    score = max((box.score for _, box in image.boxes), default=0.0)
    prediction = {"model_version": model_version, "score": score, "result": result}
    address = f"/data/local-files/?d={quote(image.name, errors='surrogateescape')}"
    return {"data": {"image": address}, "predictions": [prediction]}

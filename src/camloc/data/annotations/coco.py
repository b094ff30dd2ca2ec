"""COCO: one json for many images; boxes are ``x, y, width, height``."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from camloc.data.annotations.contract import BoxTableReader
from camloc.data.annotations.objects import Objects
from camloc.data.datasets.wsol_metadata import leaves_folder
from camloc.data.images.regular import MAX_TABLE_BYTES, read_regular


class CocoReader(BoxTableReader):
    """COCO json; see :func:`read_coco`."""

    files = (
        "annotations/{split}.json",
        "annotations/instances_{split}.json",
        "{split}/annotations.json",
        "{split}/_annotations.coco.json",  # as Roboflow exports it
        "annotations.json",
    )

    def read(self, file: Path) -> dict[str, Objects]:
        """Read the objects of all images."""
        return read_coco(file)


def read_coco(path: Path) -> dict[str, Objects]:
    """Read the boxes of a json file. Crowds (``iscrowd``) are left out, segmentations are not read.

    Boxes that reach beyond the image are returned unchanged; they are counted or cut when the image is opened.

    Args:
        path: With ``images``, ``annotations`` and ``categories``.

    Returns:
        Objects by ``file_name``, which may have folders; an image without annotation has none.

    Raises:
        ValueError: If it is no regular file, not a COCO json, a name or an id occurs twice, a name leads out of the
            folder, an id is not defined, or a box is invalid.

    Example:
        >>> import tempfile
        >>> content = {
        ...     "images": [{"id": 7, "file_name": "cat/1.jpg"}],
        ...     "annotations": [{"image_id": 7, "category_id": 90, "bbox": [2, 3, 10, 5]}],
        ...     "categories": [{"id": 90, "name": "cat"}],
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "val.json").write_text(json.dumps(content))
        ...     read_coco(Path(folder, "val.json"))["cat/1.jpg"].boxes.tolist()
        [[2.0, 3.0, 12.0, 8.0]]
    """
    encoded = read_regular(path, MAX_TABLE_BYTES)
    try:
        content = json.loads(encoded.decode("utf-8-sig"))
        images, annotations, categories = (list(content[key]) for key in ("images", "annotations", "categories"))
        names = {category["id"]: str(category["name"]) for category in categories}
        files = {image["id"]: str(image["file_name"]) for image in images}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a COCO json with images, annotations and categories: {type(error).__name__} {error}"
        ) from None
    outside = next(filter(leaves_folder, files.values()), None)
    if outside is not None:
        raise ValueError(f"{path}: the file_name {outside!r} leads out of the images' folder")
    _refuse_repeats((image["id"] for image in images), f"{path}: the image id")
    _refuse_repeats((category["id"] for category in categories), f"{path}: the category id")
    _refuse_repeats((str(image["file_name"]) for image in images), f"{path}: the file_name")
    sizes = {str(image["file_name"]): _size(image) for image in images}
    found = {name: [Objects.checked([], [], f"{path}, {name}", sizes[name])] for name in files.values()}
    for number, annotation in enumerate(annotations):
        where = f"{path}, annotations[{number}]"
        if not (isinstance(annotation, dict) and annotation.get("iscrowd")):
            file, name, box = _parts(annotation, files, names, where)
            found[file].append(Objects.checked([box], [name], where))
    return {file: Objects.joined(parts) for file, parts in found.items()}


def _size(image: Any) -> tuple[int, int] | None:  # noqa: ANN401 - whatever the json holds
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0 else None


def _refuse_repeats(values: Iterable[Any], what: str) -> None:
    value, count = max(Counter(values).items(), key=lambda item: item[1], default=("", 1))
    if count > 1:
        raise ValueError(f"{what} {value!r} occurs {count} times")


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - whatever the json holds
    """Return a list unchanged; a text of four digits would be four numbers too."""
    if not isinstance(value, list):
        raise TypeError(f"bbox is {value!r}")
    return value


def _parts(
    annotation: Any,  # noqa: ANN401 - whatever the json holds
    files: dict[Any, str],
    names: dict[Any, str],
    where: str,
) -> tuple[str, str, tuple[float, float, float, float]]:
    try:
        x, y, width, height = (float(value) for value in _list(annotation["bbox"]))
        image, category = annotation["image_id"], annotation["category_id"]
        hash((image, category))  # a list is not an id
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{where}: expected image_id, category_id and bbox with four numbers, {type(error).__name__} {error}"
        ) from None
    if image not in files:
        raise ValueError(f"{where}: image_id {image} is not among the images")
    if category not in names:
        raise ValueError(f"{where}: category_id {category} is not among the categories")
    return files[image], names[category], (x, y, x + width, y + height)

"""COCO: one json for many images; boxes are ``x, y, width, height``."""

from array import array
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from camloc.data.annotations.contract import BoxTableReader
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.table import TableBuilder, objects_by_image
from camloc.data.images.regular import MAX_TABLE_BYTES, read_regular

MAX_SIDE = 2**31


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
        DataProblems: If a name or an id occurs twice, an id is not defined, or a box is invalid, naming all of them.
        ValueError: If it is no regular file, or not a COCO json.

    Example:
        >>> import json, tempfile
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
    table = TableBuilder()
    add_coco(path, table)
    return objects_by_image(table.build(), str(path))


def add_coco(path: Path, table: TableBuilder, split: str = "", folder: str = "") -> None:
    """Add what a json file says to a table: images with their stated sizes, labels and boxes.

    An image shows the classes of its crowds too, which have no box of an object. Ids are the same whether they are
    numbers or text. Categories without annotation are left out; Roboflow's first one always is.

    Args:
        path: With ``images``, ``annotations`` and ``categories``.
        table: Is added to, and gets the file's problems.
        split: Of its images.
        folder: That its names are relative to, below the root.

    Raises:
        ValueError: If it is no regular file, or not a COCO json.
    """
    try:
        content = _DECODER.decode(read_regular(path, MAX_TABLE_BYTES).removeprefix(BOM_UTF8))
        names = [(_id(one.id), _text(one.name)) for one in content.categories]
        files = [(_id(one.id), _text(one.file_name), _size(one)) for one in content.images]
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a COCO json with images, annotations and categories: {type(error).__name__} {error}"
        ) from None
    for what, values in (
        ("image id", [number for number, _, _ in files]),
        ("category id", [number for number, _ in names]),
        ("file_name", [name for _, name, _ in files]),
    ):
        _note_repeats(values, f"the {what}", str(path), table)
    table.categories(name for _, name in names)
    prefix = f"{folder}/" if folder else ""
    places = {number: table.image(prefix + name, split, size, source=str(path)) for number, name, size in files}
    _add_annotations(content.annotations, places, dict(names), path, table)


class _Image(Struct):
    id: Any
    file_name: Any
    height: Any = None
    width: Any = None


class _Category(Struct):
    id: Any
    name: Any


class _Annotation(Struct, gc=False):
    """Of any types, since all that are wrong are to be named and not the first alone."""

    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    iscrowd: Any = 0


class _Content(Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


# The fields that are not named are not kept: as dictionaries a million annotations would fill the memory.
_DECODER = Decoder(_Content)


def _add_annotations(
    annotations: Sequence[_Annotation], places: dict[str, int], names: dict[str, str], path: Path, table: TableBuilder
) -> None:
    images, classes, numbers, boxes = array("q"), array("q"), array("q"), array("d")
    class_of = {category: number for number, category in enumerate(names)}
    num_crowds = 0
    for number, one in enumerate(annotations):
        try:
            # Text of the same digits is the same id.
            image = places.get(str(one.image_id) if type(one.image_id) is int else _id(one.image_id))
            category = str(one.category_id) if type(one.category_id) is int else _id(one.category_id)
            if one.iscrowd:
                box = None
            else:
                x, y, width, height = map(float, _list(one.bbox))
                box = (x, y, x + width, y + height)
        except (TypeError, ValueError, OverflowError):
            table.problem(f"{path}, annotations[{number}]", _broken(one))
            continue
        if image is None:
            table.problem(f"{path}, annotations[{number}]", f"image_id {one.image_id!r} is not among the images")
        elif category not in class_of:
            message = f"category_id {one.category_id!r} is not among the categories"
            table.problem(f"{path}, annotations[{number}]", message)
        elif box is None:
            num_crowds += 1
            table.label(image, names[category])
        else:
            images.append(image)
            classes.append(class_of[category])
            numbers.append(number)
            boxes.extend(box)
    table.boxes(images, classes, list(names.values()), boxes, lambda row: f"{path}, annotations[{numbers[row]}]")
    if num_crowds:
        table.notes.append(
            f"{path}: {num_crowds} crowds (iscrowd) are boxes of many objects; their labels count, their boxes do not"
        )


def _broken(one: _Annotation) -> str:
    shown = f"image_id {one.image_id!r}, category_id {one.category_id!r}, bbox {one.bbox!r}"
    return f"expected image_id, category_id and bbox with four numbers, found {shown[:200]}"


def _size(image: _Image) -> tuple[int, int] | None:
    height, width = image.height, image.width
    return (height, width) if all(isinstance(side, int) and 0 < side < MAX_SIDE for side in (height, width)) else None


def _note_repeats(values: Sequence[str], what: str, where: str, table: TableBuilder) -> None:
    if len(set(values)) < len(values):
        for value, count in Counter(values).items():
            if count > 1:
                table.problem(where, f"{what} {value!r} occurs {count} times")


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - whatever the json holds
    """Return a list unchanged; a text of four digits would be four numbers too."""
    if not isinstance(value, list):
        raise TypeError(f"bbox is {value!r}")
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - whatever the json holds
    if value is None or isinstance(value, dict | list):
        raise TypeError(f"{value!r} is no name")
    return str(value)


def _id(value: Any) -> str:  # noqa: ANN401 - whatever the json holds
    """Spell an id, which may be a number in one place and text in another, or 3.0 for 3."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | str) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{value!r} is no id")

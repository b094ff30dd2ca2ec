"""COCO: one json for many images; boxes are ``x, y, width, height``."""

import json
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from camloc.data.annotations.contract import BoxTableReader
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.table import TableBuilder, objects_by_image
from camloc.data.images.regular import MAX_TABLE_BYTES, open_regular


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
    rows = _Rows()
    with open_regular(path, MAX_TABLE_BYTES) as file:
        encoded = file.read()
    try:
        text = encoded.decode("utf-8-sig")
        del encoded  # of half a gigabyte
        content = json.loads(text, object_hook=rows.taken)
        del text
        images, annotations, categories = (_list(content[key], key) for key in ("images", "annotations", "categories"))
        names = [(_id(category["id"]), str(category["name"])) for category in categories]
        files = [(_id(image["id"]), str(image["file_name"]), _size(image)) for image in images]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a COCO json with images, annotations and categories: {type(error).__name__} {error}"
        ) from None
    for what, values in (
        ("image id", [number for number, _, _ in files]),
        ("category id", [number for number, _ in names]),
        ("file_name", [name for _, name, _ in files]),
    ):
        _note_repeats(values, f"the {what}", str(path), table)
    prefix = f"{folder}/" if folder else ""
    places = {number: table.image(prefix + name, split, size, source=str(path)) for number, name, size in files}
    _add_rows(rows, annotations, places, dict(names), path, table)


class _Row(NamedTuple):
    """One annotation; ids as the file has them."""

    image: str
    category: str
    is_crowd: bool


class _Rows:
    """Takes annotations out of a json while it is parsed: a million dictionaries would fill the memory."""

    def __init__(self) -> None:
        self._ids: dict[Any, int] = {}
        self._known: list[str] = []
        self._numbers = array("q")
        self.boxes = array("d")

    def taken(self, value: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the json holds
        """Keep an annotation and leave a mark in its place; other objects, and broken ones, stay as they are."""
        if "bbox" not in value or "image_id" not in value or "category_id" not in value:
            return value
        try:
            x, y, width, height = map(float, _list(value["bbox"], "bbox"))
            image, category = self._place(value["image_id"]), self._place(value["category_id"])
        except (TypeError, ValueError, OverflowError):
            return value
        self._numbers.extend((image, category, bool(value.get("iscrowd"))))
        self.boxes.extend((x, y, x + width, y + height))
        return _MARK

    def __len__(self) -> int:
        """Return the number of annotations taken."""
        return len(self._numbers) // 3

    def row(self, index: int) -> _Row:
        """Return an annotation by its place among those taken."""
        image, category, is_crowd = self._numbers[3 * index : 3 * index + 3]
        return _Row(self._known[image], self._known[category], bool(is_crowd))

    def _place(self, value: Any) -> int:  # noqa: ANN401 - whatever the json holds
        place = self._ids.get((type(value), value))
        if place is None:
            place = self._ids[(type(value), value)] = len(self._known)
            self._known.append(_id(value))
        return place


_MARK = ()
"""What no json holds."""
MAX_SIDE = 2**31


def _add_rows(
    rows: _Rows,
    annotations: Sequence[Any],
    places: dict[str, int],
    names: dict[str, str],
    path: Path,
    table: TableBuilder,
) -> None:
    if sum(value is _MARK for value in annotations) != len(rows):
        table.problem(str(path), "an annotation lies within another one or outside annotations; export it anew")
        return
    num_crowds, used = 0, set()
    taken = iter(range(len(rows)))
    for number, value in enumerate(annotations):
        if value is not _MARK:
            if not (isinstance(value, dict) and value.get("iscrowd")):
                table.problem(f"{path}, annotations[{number}]", _broken(value))
            continue
        index = next(taken)
        image, category, is_crowd = rows.row(index)
        where = f"{path}, annotations[{number}]"
        if image not in places:
            table.problem(where, f"image_id {image!r} is not among the images")
        elif category not in names:
            table.problem(where, f"category_id {category!r} is not among the categories")
        elif is_crowd:
            num_crowds += 1
            table.label(places[image], names[category])
        else:
            table.box(places[image], names[category], rows.boxes[4 * index : 4 * index + 4], where)
        used.add(category)
    if num_crowds:
        table.notes.append(
            f"{path}: {num_crowds} crowds (iscrowd) are boxes of many objects; their labels count, their boxes do not"
        )
    unused = [name for number, name in names.items() if number not in used]
    if unused and len(unused) < len(names):
        shown = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")  # noqa: PLR2004 - enough to recognize
        table.notes.append(f"{path}: {len(unused)} categories have no annotation and are no classes: {shown}")


def _broken(value: Any) -> str:  # noqa: ANN401 - whatever the json holds
    try:
        box = _list(value["bbox"], "bbox")
        _id(value["image_id"]), _id(value["category_id"])
        found = f"bbox {box!r}"
    except (KeyError, TypeError, ValueError) as error:
        found = f"{type(error).__name__} {error}"
    return f"expected image_id, category_id and bbox with four numbers, {found[:200]}"


def _size(image: Any) -> tuple[int, int] | None:  # noqa: ANN401 - whatever the json holds
    height, width = image.get("height"), image.get("width")
    return (height, width) if all(isinstance(side, int) and 0 < side < MAX_SIDE for side in (height, width)) else None


def _note_repeats(values: Sequence[str], what: str, where: str, table: TableBuilder) -> None:
    if len(set(values)) < len(values):
        for value, count in Counter(values).items():
            if count > 1:
                table.problem(where, f"{what} {value!r} occurs {count} times")


def _list(value: Any, what: str) -> list[Any]:  # noqa: ANN401 - whatever the json holds
    """Return a list unchanged; a text of four digits would be four numbers too."""
    if not isinstance(value, list):
        raise TypeError(f"{what} is {value!r}")
    return value


def _id(value: Any) -> str:  # noqa: ANN401 - whatever the json holds
    """Spell an id, which may be a number in one place and text in another, or 3.0 for 3."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | str) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{value!r} is no id")

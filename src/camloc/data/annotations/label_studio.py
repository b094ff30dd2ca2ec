"""Label Studio's JSON export: boxes, polygons and choices, in percent of the image."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import parse_qs, unquote, urlsplit

from camloc.data.annotations.problems import collecting
from camloc.data.annotations.set_files import beginning, in_places
from camloc.data.annotations.split_names import split_of
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.images.regular import MAX_TABLE_BYTES, read_regular
from camloc.data.images.suffixes import IMAGE_SUFFIXES

KEYS = (b'"annotations"', b'"file_upload"', b'"rectanglelabels"', b'"total_annotations"')
UPLOADS = "data/upload/"
LABELS = ("rectanglelabels", "polygonlabels", "labels")
"""Fields of a region that name its class."""
CHOICES = "choices"
MAX_SIDE = 2**31
"""Pixels; what states more is no size."""
DRAWN = frozenset({"brush", "ellipse", "keypoint", "vector", "bitmask", "magicwand", "video"})
"""Regions that would be needed and have no box in the export."""


class LabelStudioSet(SetReader):
    """Tasks with their annotation, as ``Export > JSON`` writes them.

    Rectangles and polygons are boxes, choices are labels without a box. A task that was submitted without any shows no
    object; one that nobody annotated, or that was skipped, is left out and counted.

    Example:
        >>> LabelStudioSet().recognise(Path("nowhere"))
    """

    name = "label_studio"
    wanted = "a json of tasks with annotations, as Label Studio exports it by Export > JSON"

    def recognise(self, root: Path) -> str | None:
        """Name the files."""
        files = _task_files(root)
        return f"Label Studio, {', '.join(str(file.relative_to(root)) for file in files)}" if files else None

    def read(self, root: Path) -> AnnotatedImages:
        """Read all tasks."""
        files = _task_files(root)
        if not files:
            raise FileNotFoundError(f"datamodule.root={root} has no Label Studio export: {self.wanted}")
        table = TableBuilder("percent")
        left_out: Counter[str] = Counter()
        for file in files:
            with collecting(table.problems):
                for number, task in enumerate(_tasks(file)):
                    _add_task(task, f"{file}, task {task.get('id', number)}", split_of(file.stem), table, left_out)
        table.notes += [f"{count} {what}" for what, count in left_out.items()]
        return table.build()


def _task_files(root: Path) -> list[Path]:
    starts = {file: beginning(file) for file in in_places(root, ".json")}
    return [
        file for file, start in starts.items() if start.lstrip().startswith(b"[") and any(key in start for key in KEYS)
    ]


def _tasks(file: Path) -> list[Mapping[str, Any]]:
    try:
        tasks = json.loads(read_regular(file, MAX_TABLE_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: this is not JSON ({error}); export it again") from None
    if not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"{file}: it is no list of tasks; export it by Export > JSON")
    if any("annotations" not in task or not isinstance(task.get("data"), dict) for task in tasks):
        raise ValueError(f"{file}: tasks lack data or annotations, as in JSON-MIN; export it by Export > JSON")
    return list(tasks)


def _add_task(task: Mapping[str, Any], where: str, split: str, table: TableBuilder, left_out: "Counter[str]") -> None:
    name = _image_name(task["data"])
    if name is None:
        table.problem(where, f"no field of its data names an image ({', '.join(map(str, task['data']))})")
        return
    annotations = task["annotations"] if isinstance(task["annotations"], list) else []
    done = [each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")]
    agreed = [each for each in done if each.get("ground_truth")]
    done = agreed if len(agreed) == 1 else done
    if not done:
        left_out["tasks without annotation, or skipped, were left out"] += 1
        return
    if len(done) > 1:
        table.problem(where, f"{len(done)} people annotated {name}; mark one annotation as ground truth")
        return
    results = done[0].get("result")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        table.problem(where, "its result is no list of regions")
        return
    image = table.image(name, split, _size(results), source=where)
    for region in results:
        _add_region(region, image, where, table, left_out)


def _image_name(data: Mapping[str, Any]) -> str | None:
    """Return the path of a task's image, without what is of the server that showed it."""
    values = [data.get("image"), *data.values()]
    paths = [_path(value) for value in values if isinstance(value, str)]
    return next((path for path in paths if path.lower().endswith(IMAGE_SUFFIXES)), None)


def _path(address: str) -> str:
    """Return the file of an address.

    Example:
        >>> _path("/data/upload/1/1a2b3c4d-cat%201.jpg"), _path("/data/local-files/?d=cats/1.jpg"), _path("s3://b/c/1.jpg")
        ('1a2b3c4d-cat 1.jpg', 'cats/1.jpg', 'c/1.jpg')
    """
    if "://" not in address and not address.startswith("/data/"):
        return address  # a name may hold what would be a query
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    path = local[0] if local else unquote(parts.path)
    path = path.lstrip("/")
    return path.rpartition("/")[2] if path.startswith(UPLOADS) else path


def _size(results: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    sizes = [(each.get("original_height"), each.get("original_width")) for each in results]
    return next(((h, w) for h, w in sizes if _is_side(h) and _is_side(w)), None)


def _is_side(side: object) -> TypeGuard[int]:
    return isinstance(side, int) and 0 < side <= MAX_SIDE


def _names(value: Mapping[str, Any], fields: Sequence[str]) -> list[str] | None:
    """Return the classes that a region names; null where a field is no list of texts."""
    found = [value[field] for field in fields if value.get(field) is not None]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in found):
        return None
    return [name for names in found for name in names]


def _add_region(
    region: Mapping[str, Any], image: int, where: str, table: TableBuilder, left_out: "Counter[str]"
) -> None:
    kind, value = str(region.get("type")), region.get("value")
    where = f"{where}, region {region.get('id', '')}"
    if not isinstance(value, dict) or kind.removesuffix("labels") in DRAWN:
        fix = "export brushes as COCO or masks, and draw others as rectangles or polygons"
        table.problem(where, f"{kind} is not read; {fix}")
        return
    names = _names(value, (CHOICES,) if kind == CHOICES else LABELS)
    if names is None:
        table.problem(where, f"its labels are no list of texts, found {str(value)[:80]}")
    elif kind == CHOICES:
        for name in names:
            table.label(image, name)
    elif "points" in value or "width" in value:
        if region.get("image_rotation"):
            table.problem(where, "the image was turned in Label Studio; turn the file, and annotate it upright")
        elif value.get("rotation"):
            degrees = value["rotation"]
            table.problem(where, f"its {kind} are turned by {degrees} degrees; draw it upright, or as a polygon")
        elif not names:
            left_out["regions have no label and were left out"] += 1
        else:
            _add_box(value, names, image, where, table)
    else:
        left_out[f"results of the type {kind} are not read"] += 1


def _add_box(value: Mapping[str, Any], names: Sequence[str], image: int, where: str, table: TableBuilder) -> None:
    try:
        if "points" in value:
            xs, ys = zip(*((float(x), float(y)) for x, y in value["points"]), strict=True)
            box = min(xs), min(ys), max(xs), max(ys)
        else:
            x, y, width, height = (float(value[field]) for field in ("x", "y", "width", "height"))
            box = x, y, x + width, y + height
    except (TypeError, ValueError, KeyError):
        table.problem(where, f"it has no x, y, width, height or points in percent, found {str(value)[:80]}")
        return
    for name in names:
        table.box(image, name, box, where)

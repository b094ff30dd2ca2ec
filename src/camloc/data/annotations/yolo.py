"""YOLO: one text file of boxes or polygons per image, in shares of the image's sides."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # no types published

from camloc.data.annotations.problems import collecting
from camloc.data.annotations.split_names import split_of
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.annotations.text_files import read_lines
from camloc.data.images.regular import read_regular
from camloc.data.images.suffixes import IMAGE_SUFFIXES

IMAGES, LABELS = "images", "labels"
NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
MAX_BYTES = 2**24
"""Of an image's labels, or of ``data.yaml``."""
BOX = 5
POLYGON = 7
"""Numbers of a line: the class and a box, or the class and three points at least."""
FARTHEST = 2
"""Share of a side beyond which a number is none: it is in pixels or percent."""


class YoloSet(SetReader):
    """``images/<split>/`` with ``labels/<split>/``, or ``<split>/images/`` with ``<split>/labels/`` as Roboflow writes.

    Lines are ``class cx cy w h``, or the class and a polygon's points, around which a box is drawn. Names of classes
    come from ``data.yaml`` or ``classes.txt``. Splits are the folders'; where these have other names, those of
    ``data.yaml``. An image without labels shows no object, as YOLO has it.

    Example:
        >>> YoloSet().recognise(Path("nowhere"))
    """

    name = "yolo"
    wanted = "images/ with labels/, or <split>/images/ with <split>/labels/, and data.yaml or classes.txt"

    def recognise(self, root: Path) -> str | None:
        """Name the folders and the file of the classes' names."""
        folders = _image_folders(root)
        found = [file for file in (*_yaml_files(root), *NAME_FILES) if (root / file).is_file()]
        if not folders or not found or not any(_has_labels(root / _labels_of(folder)) for folder in folders):
            return None
        return f"YOLO, {', '.join(folders)} with labels, {found[0]}"

    def read(self, root: Path) -> AnnotatedImages:
        """Read all label files."""
        folders = _image_folders(root)
        if not folders:
            raise FileNotFoundError(f"datamodule.root={root} is no YOLO data set: {self.wanted}")
        table = TableBuilder("fractions")
        config = _config(root, table)
        class_names, points = _class_names(root, config, table), config.get("kpt_shape") is not None
        given = _given_splits(root, config, table)
        read, without = set(), []
        for folder in folders:
            for name in _images(root, folder):
                labels = f"{_labels_of(folder)}{os.path.splitext(name.removeprefix(folder))[0]}.txt"  # noqa: PTH122 - text
                image = table.image(name, split_of(name.rpartition("/")[0]) or given(name), source=labels)
                if not (root / labels).is_file():
                    without.append(name)
                    continue
                read.add(labels)
                _add_labels(root / labels, image, class_names, table, has_points=points)
        if without:
            table.notes.append(
                f"{len(without)} images have no label file, first {without[0]}: they show no object, as YOLO has it"
            )
        orphans = [file for folder in folders for file in _text_files(root, _labels_of(folder)) if file not in read]
        if orphans:
            table.notes.append(f"{len(orphans)} label files are of no image and were left out, first {orphans[0]}")
        return table.build()


def _image_folders(root: Path) -> list[str]:
    """Return ``images`` or the folders ``<split>/images`` that have ``labels`` beside them."""
    try:
        inside = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
    candidates = [IMAGES, *(f"{folder}/{IMAGES}" for folder in inside)]
    return [folder for folder in candidates if (root / folder).is_dir() and (root / _labels_of(folder)).is_dir()]


def _labels_of(folder: str) -> str:
    return folder.removesuffix(IMAGES) + LABELS


def _has_labels(folder: Path) -> bool:
    return any(name.endswith(".txt") for _, _, names in os.walk(folder) for name in names)


def _images(root: Path, folder: str) -> Iterator[str]:
    return (name for name in _files(root, folder) if name.lower().endswith(IMAGE_SUFFIXES))


def _text_files(root: Path, folder: str) -> Iterator[str]:
    return (name for name in _files(root, folder) if name.endswith(".txt") and not name.endswith("/classes.txt"))


def _files(root: Path, folder: str) -> Iterator[str]:
    for path, folders, names in os.walk(root / folder):
        folders.sort()
        inside = Path(path).relative_to(root).as_posix()
        yield from (f"{inside}/{name}" for name in sorted(names) if not name.startswith("."))


def _yaml_files(root: Path) -> list[str]:
    return [name for name in ("data.yaml", "data.yml", "dataset.yaml") if (root / name).is_file()]


def _config(root: Path, table: TableBuilder) -> Mapping[str, Any]:
    for name in _yaml_files(root)[:1]:
        try:
            found = yaml.safe_load(read_regular(root / name, MAX_BYTES))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            table.problem(name, f"this is not YAML ({str(error).splitlines()[0] if str(error) else 'too deep'})")
            return {}
        if isinstance(found, dict):
            return found
        table.problem(name, "it has no names: of classes; write a list or numbered names")
    return {}


def _class_names(root: Path, config: Mapping[str, Any], table: TableBuilder) -> dict[int, str]:
    """Return the classes by their numbers, as ``data.yaml`` names them, else as the text file does."""
    named: dict[str, dict[int, str]] = {}
    if "names" in config:
        where, names = _yaml_files(root)[0], config["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
        named[where] = {int(key): str(name) for key, name in pairs if str(key).isdecimal()}
        if not named[where] or len(named[where]) != len(names):
            table.problem(where, "names: must be a list of names or names numbered from 0")
        elif config.get("nc") not in (None, len(names)):
            table.problem(where, f"nc: is {config['nc']} and names: has {len(names)}; make them agree")
    for name in NAME_FILES:
        if (root / name).is_file():
            with collecting(table.problems):
                named[name] = {i: line.strip() for i, line in enumerate(read_lines(root / name))}
    (where, first), *others = named.items() or [("", {})]
    for other, names in others:
        if names != first:
            table.problem(other, f"its classes are not those of {where}; remove one of the files")
    if not named:
        table.problem(str(root), "there are no names of classes; add data.yaml with names:, or classes.txt")
    if len(set(first.values())) < len(first):
        table.problem(where, "two classes have one name; give each its own")
    return first


def _given_splits(root: Path, config: Mapping[str, Any], table: TableBuilder) -> Callable[[str], str]:
    """Return the split of an image by the folders or lists that ``data.yaml`` names; empty where it says none.

    A path is taken below the root, whatever stands before it: exports name the machine that they were made on.
    """
    folders: list[tuple[str, str]] = []
    listed: dict[str, str] = {}
    for key in ("train", "val", "valid", "test"):
        entries = config.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            inside = _below(root, str(entry)) if entry else None
            if inside is None:
                continue
            if (root / inside).is_dir():
                folders.append((f"{inside}/", split_of(key)))
            elif inside.endswith(".txt"):
                with collecting(table.problems):
                    for name in read_lines(root / inside):
                        listed[_below(root, name) or name] = split_of(key)

    def split(name: str) -> str:
        if name in listed:
            return listed[name]
        found = {of for folder, of in folders if name.startswith(folder)}
        return found.pop() if len(found) == 1 else ""  # one folder for all splits is a set without splits

    return split


def _below(root: Path, path: str) -> str | None:
    """Return the longest end of a path that is there below the root."""
    parts = [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".", "..")]
    ends = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((end for end in ends if (root / end).exists()), None)


def _add_labels(
    file: Path, image: int, class_names: Mapping[int, str], table: TableBuilder, *, has_points: bool
) -> None:
    try:
        lines = read_regular(file, MAX_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        table.problem(str(file), f"it cannot be read ({error}); write it again")
        return
    for number, line in enumerate(lines, start=1):
        where = f"{file}, line {number}"
        values = _numbers(line)
        if values is None:
            table.problem(where, f"expected numbers, found {line[:80]!r}")
        elif values:
            _add_object(values, image, class_names, table, where, has_points=has_points)


def _numbers(line: str) -> list[float] | None:
    try:
        values = [float(token) for token in line.split()]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _add_object(
    values: Sequence[float],
    image: int,
    class_names: Mapping[int, str],
    table: TableBuilder,
    where: str,
    *,
    has_points: bool,
) -> None:
    name = class_names.get(int(values[0])) if values[0].is_integer() else None
    if name is None:
        table.problem(where, f"class {values[0]:g} has no name, and {len(class_names)} have one, counted from 0")
    elif len(values) == BOX or (has_points and len(values) > BOX):
        cx, cy, width, height = values[1:BOX]
        _add_box(image, name, (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2), table, where)
    elif len(values) >= POLYGON and len(values) % 2:
        xs, ys = values[1::2], values[2::2]
        _add_box(image, name, (min(xs), min(ys), max(xs), max(ys)), table, where)
    else:
        table.problem(
            where,
            f"expected class cx cy w h, or the class and a polygon's points, found {len(values)} numbers"
            + ("; a sixth is the score of a prediction, which is no annotation" if len(values) == BOX + 1 else ""),
        )


def _add_box(image: int, name: str, box: Sequence[float], table: TableBuilder, where: str) -> None:
    if min(box) < 1 - FARTHEST or max(box) > FARTHEST:
        shown = " ".join(f"{value:g}" for value in box)
        table.problem(where, f"the box {shown} is not in shares of the image's sides, 0 to 1; divide it by its size")
        return
    table.box(image, name, box, where)

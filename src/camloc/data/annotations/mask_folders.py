"""Masks that lie in folders or beside their images, as whole data sets: which is which says a pattern of paths."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.image_masks import piece_boxes
from camloc.data.annotations.mask_images import read_mask
from camloc.data.annotations.split_names import split_of
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.images.suffixes import IMAGE_SUFFIXES, unread_note
from camloc.data.loading.index import is_junk

PARTS = {
    "{folder}/": r"(?:(?P<folder>.*)/)?",
    "{split}": r"(?P<split>[^/]+)",
    "{class}": r"(?P<kind>[^/]+)",
    "{stem}": r"(?P<stem>[^/]+?)",
    ".*": r"\.[^/.]+",
    "*": r"[^/]*",
}
"""What a pattern may hold, and what it stands for."""
_TOKEN = re.compile(r"(\{[^}]*\}/?|\.\*$|\*)")
_NUMBER = re.compile(r"_\d+$")


class MaskFolders(SetReader):
    """Mask files whose paths name their image, and their class where that is not the image's.

    Patterns are paths below the root with ``{stem}``, ``{class}``, ``{split}``, ``{folder}/`` for any folders or none,
    ``*`` for a part of a name and ``.*`` for any suffix. A mask is of the image that has the same of all that both
    patterns hold; ``<stem>_<number>`` is another mask of ``<stem>`` where no image is called so. Each 8-connected piece
    of a mask has a box. A file that could be both is a mask.

    Args:
        masks: Of the mask files.
        images: Of the images.
        objects: The class of masks where neither pattern has ``{class}``.
        without: The class of images in whose masks nothing is inside, or that have none; null where they have none.

    Raises:
        ValueError: If a pattern has no ``{stem}`` or holds something else in braces, or no class can be known.

    Example:
        >>> MaskFolders().recognise(Path("nowhere"))
    """

    name = "masks"
    wanted = "masks/<class>/<image's name>.png, and images anywhere else"

    def __init__(
        self,
        masks: str = "masks/{class}/{stem}.png",
        images: str = "{folder}/{stem}.*",
        objects: str | None = None,
        without: str | None = None,
    ) -> None:
        self._masks, self._images = _compiled(masks, "masks"), _compiled(images, "images")
        self._common = [part for part in self._masks.groupindex if part in self._images.groupindex and part != "split"]
        known = {*self._masks.groupindex, *self._images.groupindex}
        if "kind" not in known and objects is None:
            raise ValueError(
                f"neither masks={masks} nor images={images} has {{class}}; add it, or name the masks' class by objects="
            )
        self._patterns, self._objects, self._without = (masks, images), objects, without

    def recognise(self, root: Path) -> str | None:
        """Say which patterns fit."""
        kinds = {self._kind(name) for name in _files(root)} if self._patterns[0].startswith("masks/") else set()
        return f"masks, {self._patterns[0]}" if {"image", "mask"} <= kinds else None

    def read(self, root: Path) -> AnnotatedImages:
        """Read all masks."""
        by_kind: dict[str, list[str]] = defaultdict(list)
        for name in _files(root):
            by_kind[self._kind(name)].append(name)
        if not by_kind["image"] or not by_kind["mask"]:
            raise FileNotFoundError(
                f"datamodule.root={root} has {len(by_kind['image'])} images {self._patterns[1]} and "
                f"{len(by_kind['mask'])} masks {self._patterns[0]}; give the folder that has both"
            )
        table = TableBuilder()
        images: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in by_kind["image"]:
            found = self._matched(self._images, name)
            image = table.image(name, split_of(found.get("split", "") or found.get("folder", "")))
            images[self._key(found)].append(name)
            if "kind" in found:
                table.label(image, found["kind"])
        self._add_masks(root, by_kind["mask"], images, table)
        if note := unread_note(str(root), by_kind["other"]):
            table.notes.append(note)
        return table.build()

    def _kind(self, name: str) -> str:
        if not name.lower().endswith(IMAGE_SUFFIXES):
            return "other"
        return "mask" if self._masks.fullmatch(name) else "image" if self._images.fullmatch(name) else "other"

    @staticmethod
    def _matched(pattern: re.Pattern[str], name: str) -> dict[str, str]:
        match = pattern.fullmatch(name)
        if match is None:
            raise ValueError(f"{name} does not have the form {pattern.pattern}")
        return {part: value or "" for part, value in match.groupdict().items()}

    def _key(self, found: dict[str, str]) -> tuple[str, ...]:
        return tuple(found[part] for part in self._common)

    def _add_masks(
        self, root: Path, masks: list[str], images: dict[tuple[str, ...], list[str]], table: TableBuilder
    ) -> None:
        sizes: dict[str, tuple[int, int]] = {}
        shown: set[str] = set()
        num_empty = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders release the interpreter's lock
            for name, mask in zip(masks, pool.map(_read, [root / name for name in masks]), strict=True):
                found = self._matched(self._masks, name)
                of = self._images_of(found, images)
                if len(of) != 1:
                    what = f"could be of {of[0]} or {of[1]}; name the folder as well" if of else "is of no image"
                    table.problem(name, f"the mask {what}")
                    continue
                if mask.problem or sizes.setdefault(of[0], mask.size) != mask.size:
                    table.problem(
                        name, mask.problem or f"another mask of {of[0]} has another size; draw both on the image"
                    )
                    continue
                kind = found.get("kind") or self._matched(self._images, of[0]).get("kind") or self._objects or ""
                image = table.image(of[0], size=mask.size, source=name)
                num_empty += not len(mask.boxes)
                table.mask(image, kind if len(mask.boxes) else None, name)
                if len(mask.boxes):
                    shown.add(of[0])
                for box in mask.boxes.tolist():
                    table.box(image, kind, box, name)
        if num_empty:
            table.notes.append(f"nothing is inside of {num_empty} masks: they outline no object")
        self._add_without([name for names in images.values() for name in names if name not in shown], table)

    def _images_of(self, found: dict[str, str], images: dict[tuple[str, ...], list[str]]) -> list[str]:
        direct = images.get(self._key(found))
        return direct or images.get(self._key(found | {"stem": _NUMBER.sub("", found["stem"])})) or []

    def _add_without(self, names: list[str], table: TableBuilder) -> None:
        if "kind" in self._images.groupindex or not names:
            return
        for name in names if self._without is not None else []:
            table.label(table.image(name), str(self._without))
        what = "show no object" if self._without is None else f"are of the class {self._without}"
        table.notes.append(f"{len(names)} images have no mask with anything inside, first {names[0]}: they {what}")


class _Mask(NamedTuple):
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    problem: str = ""


def _read(file: Path) -> _Mask:
    try:
        mask = read_mask(file)
    except (OSError, ValueError) as error:
        return _Mask((0, 0), np.zeros((0, 4), np.float32), str(error))
    return _Mask((mask.shape[0], mask.shape[1]), piece_boxes(mask))


def _compiled(pattern: str, option: str) -> re.Pattern[str]:
    form = ""
    for token in _TOKEN.split(pattern):
        part = token if token in PARTS else token.removesuffix("/")
        if token.startswith("{") and part not in PARTS:
            raise ValueError(f"{option}={pattern} holds {token}; it may hold {', '.join(PARTS)}")
        form += PARTS[part] + ("/" if part != token else "") if part in PARTS else re.escape(token)
    if "{stem}" not in pattern:
        raise ValueError(f"{option}={pattern} has no {{stem}}, by which masks find their images")
    return re.compile(form, re.IGNORECASE)


def _files(root: Path) -> Iterator[str]:
    """Yield all files below a folder as paths relative to it, sorted, without what is hidden or no data."""
    for path, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_junk(name))
        inside = Path(path).relative_to(root).as_posix()
        yield from (name if inside == "." else f"{inside}/{name}" for name in sorted(names) if not name.startswith("."))

"""ILSVRC's files as people have them: where images and annotations lie, classes, labels and boxes.

From Kaggle ``ILSVRC/{Data,Annotations}/CLS-LOC/{train,val}`` with ``LOC_synset_mapping.txt`` and
``LOC_val_solution.csv`` next to ``ILSVRC``; for torchvision ``{train,val}``. Images are in a folder per class, those
of ``val`` possibly in none. The devkit has ``map_clsloc.txt`` and a ground truth of ids.
"""

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from camloc.data.annotations.objects import Objects
from camloc.data.annotations.text_files import located_lines, read_lines
from camloc.data.annotations.voc import read_voc
from camloc.data.images.sizes import read_image_sizes

GROUND_TRUTHS = ("ILSVRC2014_clsloc_validation_ground_truth.txt", "ILSVRC2012_validation_ground_truth.txt")
TOKENS_PER_BOX = 5
SAMPLED = 200


class Layout(NamedTuple):
    """Where things are; what is null is not there."""

    images: Path
    """Folder of ``train`` and ``val``."""
    annotations: Path | None
    """Folder of XML files ``val/*.xml`` and ``train/<wnid>/*.xml``."""
    synsets: Path | None
    """``LOC_synset_mapping.txt``."""
    solution: Path | None
    """``LOC_val_solution.csv``."""

    def xml(self, name: str) -> Path | None:
        """Return the folder of a split's XML files; null where there is none."""
        folder = None if self.annotations is None else self.annotations / name
        return folder if folder is not None and folder.is_dir() else None


def find_layout(root: Path, annotations: str | None) -> Layout:
    """Find the layout below a folder: that which holds ``ILSVRC``, that itself, or torchvision's.

    Args:
        root: Where to look.
        annotations: Folder of XML files that was given; null looks for ``Annotations/CLS-LOC``.

    Raises:
        FileNotFoundError: If there is neither ``train`` nor ``val``, or the given folder has no ``val``.
    """
    base = root / "ILSVRC" if (root / "ILSVRC").is_dir() else root
    images = base / "Data" / "CLS-LOC" if (base / "Data" / "CLS-LOC").is_dir() else base
    if not any((images / name).is_dir() for name in ("train", "val")):
        raise FileNotFoundError(
            f"datamodule.root={root} has neither ILSVRC/Data/CLS-LOC nor train or val; "
            "give the folder unpacked from Kaggle, or the one with train/<wnid> and val"
        )
    if annotations is not None and not (Path(annotations) / "val").is_dir():
        raise FileNotFoundError(
            f"datamodule.annotations={annotations} has no folder val; give the one with val/*.xml (Annotations/CLS-LOC)"
        )
    xml = base / "Annotations" / "CLS-LOC" if annotations is None else Path(annotations)
    # Who gives ILSVRC itself has these files above it.
    folders = [base, base.parent] if base.name == "ILSVRC" else [base]
    return Layout(
        images,
        xml if xml.is_dir() else None,
        _first_file(folders, "LOC_synset_mapping.txt"),
        _first_file(folders, "LOC_val_solution.csv"),
    )


def read_synsets(path: Path) -> dict[str, str]:
    """Return the first word of each WordNet id in lines like ``n01440764 tench, Tinca tinca``.

    Raises:
        ValueError: If a line has no name, or an id has two lines.
    """
    names: dict[str, str] = {}
    for where, line in located_lines(path):
        wnid, _, words = line.partition(" ")
        if not words.strip() or wnid in names:
            raise ValueError(f"{where}: expected a WordNet id, once, and its name; found {line!r}")
        names[wnid] = words.split(",")[0].strip()
    return names


class Devkit:
    """The devkit's ids 1 to 1000, which are not in the order of the WordNet ids.

    Args:
        folder: With ``map_clsloc.txt`` and optionally a ground truth, or with a folder ``data`` that has them.

    Raises:
        FileNotFoundError: If there is no ``map_clsloc.txt``.
        ValueError: If a line is malformed or repeats an id.
    """

    def __init__(self, folder: Path) -> None:
        found = [path for path in (folder, folder / "data") if (path / "map_clsloc.txt").is_file()]
        if not found:
            raise FileNotFoundError(
                f"datamodule.devkit={folder} has no map_clsloc.txt, nor has its folder data; give the devkit of "
                "ILSVRC2014 or later (that of 2012 has the same ids in a MATLAB file only)"
            )
        self.folder = found[0]
        self.ids: dict[str, int] = {}
        self.names: dict[str, str] = {}
        for where, line in located_lines(self.folder / "map_clsloc.txt"):
            wnid, number, name = line.split() if line.count(" ") == 2 else ("", "", "")  # noqa: PLR2004 # three fields
            if not number.isdecimal() or wnid in self.ids or int(number) in self.ids.values():
                raise ValueError(
                    f"{where}: expected a WordNet id and a number, each once, and a name, as in n02119789 1 kit_fox; "
                    f"found {line!r}"
                )
            self.ids[wnid], self.names[wnid] = int(number), name.replace("_", " ")

    def ids_of(self, wnids: Sequence[str]) -> tuple[int, ...]:
        """Return the ids of classes.

        Raises:
            ValueError: If one is not in ``map_clsloc.txt``.
        """
        unknown = [wnid for wnid in wnids if wnid not in self.ids]
        if unknown:
            raise ValueError(f"{self.folder / 'map_clsloc.txt'} lacks {len(unknown)} classes: {unknown[0]}, ...")
        return tuple(self.ids[wnid] for wnid in wnids)

    def ground_truth(self) -> tuple[Path, list[str]] | None:
        """Return the file and the WordNet id of every validation image by number; null without such a file.

        Raises:
            ValueError: If a line is not an id of ``map_clsloc.txt``.
        """
        path = next((path for name in GROUND_TRUTHS if (path := self.folder / name).is_file()), None)
        if path is None:
            return None
        wnid_of = {str(number): wnid for wnid, number in self.ids.items()}
        wnids: list[str] = []
        for where, line in located_lines(path):
            if line.strip() not in wnid_of:
                raise ValueError(f"{where}: expected an id of map_clsloc.txt, 1 to {len(wnid_of)}; found {line!r}")
            wnids.append(wnid_of[line.strip()])
        return path, wnids


def read_objects(paths: Sequence[Path]) -> list[Objects]:
    """Read XML files; their coordinates are taken as they are, the last row and column still in the box."""
    with ThreadPoolExecutor() as pool:  # they wait for slow file systems together
        files = pool.map(partial(read_voc, one_based=False), paths)
        shown = track(files, "reading XML", len(paths), console=Console(stderr=True), transient=True)
        return list(shown)


def refuse_resized(files: Sequence[Path], objects: Sequence[Objects]) -> None:
    """Refuse boxes that were drawn on larger or smaller images than those that are there.

    Only a sample of the images is opened: resizing usually affects all of them, and a single file that is wrong about
    its image's size may still have the right boxes.

    Args:
        files: (N,) the images.
        objects: (N,) what is annotated in them.

    Raises:
        ValueError: If most of the sizes that are annotated are not those of their images.
    """
    step = max(1, len(files) // SAMPLED)
    looked_at, other = 0, []
    for file, found, (height, width) in zip(
        files[::step], objects[::step], read_image_sizes(files[::step]).tolist(), strict=True
    ):
        if found.image_size is None or not height:  # reported when the image is opened
            continue
        looked_at += 1
        if found.image_size != (height, width):
            stated = f"{found.image_size[1]} by {found.image_size[0]}"
            other.append(f"{found.where} states {stated} pixels, and {file} has {width} by {height}")
    if len(other) > looked_at / 2:
        raise ValueError(
            f"{len(other)} of {looked_at} images have another size than their XML files state: {other[0]}; give the "
            "images as they were before they were resized, or resize the boxes too"
        )


def read_solution(path: Path) -> dict[str, Objects]:
    """Return the objects of each image, by its name without suffix, from ``LOC_val_solution.csv``.

    Raises:
        ValueError: If a line is malformed, a box is inverted, or an image has two lines.
    """
    objects: dict[str, Objects] = {}
    rows = csv.reader(read_lines(path))
    if next(rows, None) != ["ImageId", "PredictionString"]:
        raise ValueError(f"{path}, line 1: expected ImageId,PredictionString")
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        tokens = row[1].split() if len(row) == 2 else []  # noqa: PLR2004 # the header's two
        if not tokens or len(tokens) % TOKENS_PER_BOX or row[0] in objects:
            raise ValueError(f"{where}: expected an image, once, and boxes WNID x0 y0 x1 y1; found {row}")
        wnids, *corners = (tokens[column::TOKENS_PER_BOX] for column in range(TOKENS_PER_BOX))
        try:
            x0, y0, x1, y1 = (list(map(int, column)) for column in corners)
        except ValueError:
            raise ValueError(f"{where}: expected boxes WNID x0 y0 x1 y1 of whole numbers; found {row[1]!r}") from None
        boxes = [(left, top, right + 1, low + 1) for left, top, right, low in zip(x0, y0, x1, y1, strict=True)]
        objects[row[0]] = Objects.checked(boxes, wnids, where)
    return objects


def class_of(objects: Objects) -> str:
    """Return the class of all objects of an image.

    Raises:
        ValueError: If there is none, or several.
    """
    wnids = set(objects.names)
    if len(wnids) != 1:
        raise ValueError(f"{objects.where}: the objects of an image have one class; found {_listed(objects)}")
    return str(wnids.pop())


def boxes_of(objects: Objects, wnid: str) -> NDArray[np.float64]:
    """Return (m,4) half-open xyxy pixels, the boxes of a class.

    They may reach beyond the image's edge, as they do for the devkit.

    Raises:
        ValueError: If there is none.
    """
    of_class = np.array([name == wnid for name in objects.names], dtype=bool)
    if not of_class.any():
        raise ValueError(f"{objects.where}: the image is of class {wnid}, and no object is; found {_listed(objects)}")
    return np.asarray(objects.boxes[of_class])


def unique_names(names: Mapping[str, str]) -> list[str]:
    """Return the names by WordNet id; classes that share a name are distinguished by their ids.

    Example:
        >>> unique_names({"n02012849": "crane", "n03126707": "crane", "n02119789": "kit fox"})
        ['crane (n02012849)', 'kit fox', 'crane (n03126707)']
    """
    taken = list(names.values())
    return [name if taken.count(name) == 1 else f"{name} ({wnid})" for wnid, name in sorted(names.items())]


def _listed(objects: Objects) -> str:
    return ", ".join(sorted(map(str, set(objects.names)))) or "none"


def _first_file(folders: Sequence[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)

"""Pascal VOC as a whole data set: ``JPEGImages/``, ``Annotations/`` and perhaps ``ImageSets/Main/``."""

from pathlib import Path

import numpy as np

from camloc.data.annotations.problems import collecting
from camloc.data.annotations.split_names import SPLITS, TRAINVAL, split_of
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.annotations.text_files import located_lines
from camloc.data.annotations.voc import VocFile, in_shares, parse_voc, voc_objects

FOLDERS = ("Annotations", "annotations")
IMAGE_SETS = "ImageSets/Main"


class VocSet(SetReader):
    """A flat folder of XML files, each of the image of its name; a file without objects is of a negative image.

    Where a corner of any file is 0, all files count from 0, else from 1 as the format's description has it.

    Example:
        >>> VocSet().recognise(Path("nowhere"))
    """

    name = "voc"
    wanted = "Annotations/*.xml, or *.xml in a split's folder or its annotations/"

    def recognise(self, root: Path) -> str | None:
        """Name the folders."""
        folders = sorted({file.parent.relative_to(root).as_posix() for file, _ in self._files(root)})
        return f"Pascal VOC, XML files in {', '.join(folders)}" if folders else None

    def read(self, root: Path) -> AnnotatedImages:
        """Read all files; splits are what ``ImageSets/Main`` says, or the folders of splits."""
        files = self._files(root)
        if not files:
            raise FileNotFoundError(f"datamodule.root={root} has no Pascal VOC: {self.wanted}")
        table = TableBuilder()
        listed = _image_sets(root / IMAGE_SETS, table)
        parsed: list[tuple[VocFile, str]] = []
        for file, split in files:
            with collecting(table.problems):
                parsed.append((parse_voc(file), split))
        if len(listed) and not any(file.path.stem in listed for file, _ in parsed):
            table.problem(str(root / IMAGE_SETS), "it lists none of the images that have annotation")
        base = _base([file for file, _ in parsed], table)
        for one, split in parsed:
            name = one.path.relative_to(root).with_suffix("").as_posix() if split else one.path.stem
            image = table.image(name, listed.get(one.path.stem, split), one.size, source=str(one.path))
            if one.names:
                with collecting(table.problems):
                    objects = voc_objects(one, base)
                    for class_name, box in zip(one.names, objects.boxes.tolist(), strict=True):
                        table.box(image, class_name, box, str(one.path))
        return table.build()

    def _files(self, root: Path) -> list[tuple[Path, str]]:
        """Return the XML files, each with its folder's split."""
        flat = next((root / folder for folder in FOLDERS if any((root / folder).glob("*.xml"))), None)
        if flat is not None:
            return [(file, "") for file in _xml(flat)]
        try:
            folders = sorted(path for path in root.iterdir() if path.is_dir() and split_of(path.name))
        except OSError:
            return []
        of_splits = [(file, split_of(folder.name)) for folder in folders for file in _xml(folder) or _below(folder)]
        return of_splits or [(file, "") for file in _xml(root)]


def _below(folder: Path) -> list[Path]:
    return next((files for name in FOLDERS if (folder / name).is_dir() and (files := _xml(folder / name))), [])


def _xml(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".xml" and not file.name.startswith("."))


def _base(files: list[VocFile], table: TableBuilder) -> int | None:
    """Return the first pixel that all files count from; null for shares, which count none."""
    if in_shares(files):
        return None
    from_zero = [file for file in files if len(file.corners) and np.any(file.corners[:, :2] == 0)]
    if from_zero:
        count, first = len(from_zero), from_zero[0].path
        table.notes.append(f"corners are taken to count from 0, since {count} files have one that is 0, first {first}")
    return 0 if from_zero else 1


def _image_sets(folder: Path, table: TableBuilder) -> dict[str, str]:
    """Return the split of each image that ``train.txt``, ``val.txt``, ``test.txt`` or else ``trainval.txt`` lists."""
    found: dict[str, str] = {}
    for split in (*SPLITS, TRAINVAL):
        file = folder / f"{split}.txt"
        if file.is_file():
            with collecting(table.problems):
                for where, line in located_lines(file):
                    name = line.split()[0] if line.strip() else ""
                    if split != TRAINVAL and found.get(name, split) != split:
                        table.problem(where, f"{name} is in {found[name]} and in {split}; keep one")
                    if name:
                        found.setdefault(name, split)
    return found

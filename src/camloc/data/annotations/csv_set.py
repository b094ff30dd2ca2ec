"""Tables as a whole data set: a file and its label or labels in each line, with or without a box."""

from pathlib import Path

from camloc.data.annotations.csv_boxes import CsvTable, Fields, open_table
from camloc.data.annotations.problems import collecting
from camloc.data.annotations.set_files import image_folder, in_places
from camloc.data.annotations.split_names import split_of
from camloc.data.annotations.table import AnnotatedImages, SetReader, TableBuilder
from camloc.data.annotations.text_files import read_lines

NEGATIVE = frozenset(("no finding", "no findings"))
"""What labels say of images that show nothing, in small letters."""
RSNA_CLASS = "Lung Opacity"
"""What a ``Target`` of 1 says; so the challenge's own table of classes calls it."""
RENAMED = {"Infiltrate": "Infiltration"}
"""Of NIH's table of boxes, as its table of labels has them."""
LISTS = {"train_val_list.txt": "trainval", "test_list.txt": "test"}
"""Files of NIH that list the images of its splits."""


class CsvSet(SetReader):
    """CSV tables: a plain one of files and labels, Roboflow's, NIH ChestX-ray14's, RSNA's and VinDr's.

    Labels may be joined by ``|``, or each class has a column that holds 1 where an image shows it. Images without a
    label, and those of "No Finding", are negative. Several tables of the same images complete each other, as one with
    labels and one with boxes.

    Example:
        >>> CsvSet().recognise(Path("nowhere"))
    """

    name = "csv"
    wanted = (
        "*.csv, annotations/*.csv, <split>/_annotations.csv or _classes.csv with a column for the file and one for the "
        "label, or of 0 and 1 for each class"
    )

    def recognise(self, root: Path) -> str | None:
        """Name the tables."""
        files = self._files(root)
        return f"CSV, {', '.join(str(file.relative_to(root)) for file in files)}" if files else None

    def missed(self, root: Path) -> str | None:
        """Name the columns of the first table whose columns are others."""
        for file in in_places(root, ".csv"):
            try:
                with open_table(file) as rows:
                    header = rows.shown_header
            except (OSError, ValueError) as error:
                return str(error)
            return f"{file} with the columns {header}"
        return None

    def read(self, root: Path) -> AnnotatedImages:
        """Read all tables; a split is what a column, a file or its folder says."""
        files = self._files(root)
        if not files:
            missed = self.missed(root)
            found = f"; found {missed}" if missed else ""
            raise FileNotFoundError(f"datamodule.root={root} has no CSV with labels: {self.wanted}{found}")
        table = TableBuilder()
        listed = _lists(root, table)
        for file in files:
            folder, split = image_folder(root, file)
            with collecting(table.problems), open_table(file, self.group_column) as rows:
                _add(rows, table, folder, split, listed)
                table.problems += rows.problems
        return table.build()

    def _files(self, root: Path) -> list[Path]:
        found = []
        for file in in_places(root, ".csv"):
            try:
                with open_table(file) as rows:
                    is_set = rows.labels is not None or rows.target is not None or bool(rows.classes)
            except (OSError, ValueError):
                continue
            found += [file] if is_set else []
        return found


def _add(rows: CsvTable, table: TableBuilder, folder: str, split: str, listed: dict[str, str]) -> None:
    for fields in rows:
        own = listed.get(fields.file, split_of(fields.split) if fields.split else split)
        name = f"{folder}/{fields.file}" if folder else fields.file
        image = table.image(name, own, fields.size, fields.group, str(rows.path))
        labels = _labels(fields, has_target=rows.target is not None)
        for label in labels:
            if fields.box is None:
                table.label(image, label)
            else:
                table.box(image, label, fields.box, fields.where)
        if fields.box is not None and not labels:
            table.problem(fields.where, "a box without a label; name its class, or remove the line")


def _labels(fields: Fields, *, has_target: bool) -> list[str]:
    if has_target and not fields.label:
        return [RSNA_CLASS] if fields.target == "1" else []
    labels = [*fields.shown, *(label.strip() for label in fields.label.split("|"))]
    return [RENAMED.get(label, label) for label in labels if label and label.casefold() not in NEGATIVE]


def _lists(root: Path, table: TableBuilder) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, split in LISTS.items():
        if (root / name).is_file():
            with collecting(table.problems):
                found |= dict.fromkeys((line.strip() for line in read_lines(root / name)), split)
    return found

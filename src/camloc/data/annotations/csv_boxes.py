"""CSV: a line per box or label under a header that names its columns."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from camloc.data.annotations.contract import BoxTableReader
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.problems import DataProblems, collecting
from camloc.data.annotations.table import TableBuilder, objects_by_image
from camloc.data.images.regular import MAX_TABLE_BYTES, open_regular

if TYPE_CHECKING:
    from _csv import Reader

FILE_COLUMNS = (
    *("file", "filename", "file_name", "image", "path", "image_path", "image_name", "img"),
    *("image index", "image_id", "patientid"),  # of NIH, VinDr and RSNA
)
CLASS_COLUMNS = (
    *("class", "label", "name", "class_name", "label_name", "category", "category_name"),
    *("labels", "finding labels", "finding label"),
)
CORNER_COLUMNS = (
    *(("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2")),
    ("x_min", "y_min", "x_max", "y_max"),
)
SIDE_COLUMNS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("bbox [x", "y", "w", "h]"))
SPLIT_COLUMNS = ("split", "subset", "set", "partition")
GROUP_COLUMNS = ("patient id", "patient_id", "patient", "subject", "subject_id", "group")
TARGET = "target"
YES, NO = ("1", "1.0"), ("0", "0.0")
"""In columns that are classes."""


class CsvReader(BoxTableReader):
    """CSV with a header; see :func:`read_csv`."""

    files = (
        "annotations/{split}.csv",
        "{split}/annotations.csv",
        "{split}/_annotations.csv",  # as Roboflow exports it
        "annotations.csv",
        "_annotations.csv",
    )

    def read(self, file: Path) -> dict[str, Objects]:
        """Read the objects of all images."""
        return read_csv(file)


class Fields(NamedTuple):
    """What one line says; empty where it does not."""

    where: str
    file: str
    label: str
    box: tuple[float, float, float, float] | None
    """Half-open xyxy; null where the line has none."""
    size: tuple[int, int] | None
    """``(height, width)`` of the image."""
    split: str
    group: str
    target: str
    shown: tuple[str, ...]
    """Classes whose own columns hold 1."""


def read_csv(path: Path) -> dict[str, Objects]:
    r"""Read boxes given by their corners, half-open: ``x1 - x0`` is the width.

    Boxes that reach beyond the image are returned unchanged; they are counted or cut when the image is opened.

    Args:
        path: Its header names ``file`` (or filename, image, path), the corners ``x0,y0,x1,y1`` (or xmin,ymin,xmax,ymax
            or x1,y1,x2,y2) and optionally ``class`` (or label, category, name), in any order; ``width`` and ``height``
            beside them are the image's. Fields are divided by commas, semicolons or tabs.

    Returns:
        Objects by file, which may have folders; a line with an empty class has no name. The image of a line with empty
        corners has no objects.

    Raises:
        DataProblems: If a line has fewer or more fields than the header, a corner is not a number, or a box is
            invalid; all of them are named by their lines.
        ValueError: If it is no regular file, not a UTF-8 CSV, or a column that is read occurs twice or is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "val.csv").write_text("file,x0,y0,x1,y1,class\ncat/1.jpg,0,0,10,5,cat\n")
        ...     read_csv(Path(folder, "val.csv"))["cat/1.jpg"].names
        ('cat',)
    """
    table = TableBuilder()
    empty: dict[int, str] = {}
    boxed: set[int] = set()
    with open_table(path) as rows:
        if rows.corners is None:
            raise ValueError(
                f"{path}, line 1: the header must name file and x0,y0,x1,y1 (or xmin,ymin,xmax,ymax) once each, found "
                f"{rows.shown_header}"
            )
        for fields in rows:
            image = table.image(fields.file, size=fields.size)
            if fields.box is None:
                empty[image] = fields.where
            else:
                boxed.add(image)
                table.box(image, fields.label, fields.box, fields.where)
        nothing = f"{rows.named(rows.corners)} must be four numbers, found nothing, and other lines box the same image"
        problems = [(where, nothing) for image, where in empty.items() if image in boxed]
        table.problems = sorted([*table.problems, *problems, *rows.problems], key=_line_number)
    return objects_by_image(table.build(), str(path))


class CsvTable:
    """The lines of a table whose columns are known.

    Args:
        path: The file.
        names: Of its columns.
        rows: The lines that follow.
        group: The column of what belongs together; null looks for one by its usual names.

    Attributes:
        classes: Columns that are classes, with 1 where an image shows them, as in ``_classes.csv`` of Roboflow: two or
            more in a table without labels and boxes, where the first line has 0 or 1 in all but file, split and group.
        problems: What is wrong with lines that were left out, once all were read.

    Raises:
        ValueError: If no column names a file, or a column that is read occurs twice.
    """

    def __init__(self, path: Path, names: Sequence[str], rows: "Reader", group: str | None = None) -> None:
        header = [name.lower() for name in names]
        self.path, self.header, self._rows = path, header, rows
        self.problems: list[tuple[str, str]] = []
        corners = next((names for names in CORNER_COLUMNS if set(names) <= set(header)), None)
        sides = next((names for names in SIDE_COLUMNS if corners is None and set(names) <= set(header)), None)
        self.file, self.labels = _first_of(FILE_COLUMNS, header), _first_of(CLASS_COLUMNS, header)
        self.corners = tuple(map(self.header.index, corners or sides or ())) or None
        self._are_sides = sides is not None
        self.target = _first_of((TARGET,), header)
        self._split = _first_of(SPLIT_COLUMNS, header)
        self._group = _first_of(GROUP_COLUMNS if group is None else (group.strip().lower(),), header)
        is_stated = corners is not None and {"width", "height"} <= set(header)
        self._size = (header.index("height"), header.index("width")) if is_stated else None
        self._first = next(rows, [])
        self.classes = self._class_columns(names)
        used = (self.file, *(self.corners or ()), self.labels, *self.classes)
        if self.file is None or any(self.header.count(header[place]) > 1 for place in used if place is not None):
            raise ValueError(
                f"{path}, line 1: the header must name file and x0,y0,x1,y1 (or xmin,ymin,xmax,ymax) once each, found "
                f"{self.shown_header or 'nothing'}"
            )

    def __iter__(self) -> Iterator[Fields]:
        """Yield what each line says; those that are wrong are collected, and raised where nothing else does it."""
        for row in chain([self._first], self._rows):
            if any(row):
                fields = None
                with collecting(self.problems):
                    fields = self._fields(row, f"{self.path}, line {self._rows.line_num}")
                if fields is not None:
                    yield fields

    @property
    def shown_header(self) -> str:
        """The first line as it was understood, with what divides its fields."""
        return self._rows.dialect.delimiter.join(self.header)

    def named(self, columns: Sequence[int]) -> str:
        """Return the names of columns."""
        return ",".join(self.header[column] for column in columns)

    def _fields(self, row: list[str], where: str) -> Fields:
        if len(row) < len(self.header) or any(row[len(self.header) :]):
            wanted = f"expected {len(self.header)} fields, {','.join(self.header)}; found {','.join(row)}"
            raise DataProblems([(where, wanted)])

        def text(column: int | None) -> str:
            return "" if column is None else row[column].strip()

        if not text(self.file):
            raise DataProblems([(where, "it names no file")])
        return Fields(
            where,
            text(self.file),
            text(self.labels),
            self._box(row, where),
            self._stated(row),
            text(self._split),
            text(self._group),
            text(self.target),
            self._shown(row, where),
        )

    def _class_columns(self, names: Sequence[str]) -> dict[int, str]:
        """Return the classes by their columns."""
        if self.file is None or any(part is not None for part in (self.labels, self.corners, self.target)):
            return {}
        others = (self.file, self._split, self._group)
        found = {column: name for column, name in enumerate(names) if name and column not in others}
        values = [self._first[column].strip() for column in found if column < len(self._first)]
        return found if len(values) > 1 and all(value in (*YES, *NO) for value in values) else {}

    def _shown(self, row: list[str], where: str) -> tuple[str, ...]:
        values = {column: row[column].strip() for column in self.classes}
        wrong = next((column for column, value in values.items() if value not in (*YES, *NO)), None)
        if wrong is not None:
            found = f"{self.classes[wrong]} must be 0 or 1, as whether the image shows it, found {values[wrong]!r}"
            raise DataProblems([(where, found)])
        return tuple(self.classes[column] for column, value in values.items() if value in YES)

    def _box(self, row: list[str], where: str) -> tuple[float, float, float, float] | None:
        found = [row[column].strip() for column in self.corners or ()]
        if not any(found):
            return None
        try:
            a, b, c, d = map(float, found)
        except ValueError:
            wanted = self.named(self.corners or ())
            raise DataProblems([(where, f"{wanted} must be four numbers, found {','.join(found)}")]) from None
        return (a, b, a + c, b + d) if self._are_sides else (a, b, c, d)

    def _stated(self, row: list[str]) -> tuple[int, int] | None:
        sides = [row[column].strip() for column in self._size or ()]
        is_size = all(side.isdecimal() and 0 < len(side) < 10 for side in sides)  # noqa: PLR2004 - digits
        height, width = map(int, sides) if sides and is_size else (0, 0)
        return (height, width) if height and width else None


@contextmanager
def open_table(path: Path, group: str | None = None) -> Iterator[CsvTable]:
    """Open a table; see :class:`CsvTable`.

    Raises:
        ValueError: If it is no regular file, not a UTF-8 CSV, or its header names no file.
    """
    with open_regular(path, MAX_TABLE_BYTES) as file:
        content = io.TextIOWrapper(file, newline="", encoding="utf-8-sig")
        rows = None
        try:
            first = content.readline(2**16)
            content.seek(0)
            delimiter = max(",;\t", key=first.count)
            rows = csv.reader(content, delimiter=delimiter, skipinitialspace=True)
            header = [name.strip() for name in next(rows, [])]
            while header and not header[-1]:
                header.pop()  # spreadsheets write trailing commas
            table = CsvTable(path, header, rows, group)
            yield table
        except (csv.Error, UnicodeDecodeError) as error:
            line = 0 if rows is None else rows.line_num
            raise ValueError(f"{path}, after line {line}: this is not a UTF-8 CSV: {error}") from None


def _first_of(names: Sequence[str], header: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _line_number(problem: tuple[str, str]) -> int:
    return int(problem[0].rpartition(" ")[2])

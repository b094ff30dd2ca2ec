"""CSV: a line per box under a header that names its columns."""

import csv
import io
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from camloc.data.annotations.contract import BoxTableReader
from camloc.data.annotations.objects import Objects
from camloc.data.datasets.wsol_metadata import leaves_folder
from camloc.data.images.regular import MAX_TABLE_BYTES, open_regular

FILE_COLUMNS = ("file", "filename", "image", "path")
CLASS_COLUMNS = ("class", "label", "name", "class_name", "label_name", "category", "category_name")
CORNER_COLUMNS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))


class CsvReader(BoxTableReader):
    """CSV with a header; see :func:`read_csv`."""

    files = ("annotations/{split}.csv", "{split}/annotations.csv", "{split}/_annotations.csv", "annotations.csv")

    def read(self, file: Path) -> dict[str, Objects]:
        """Read the objects of all images."""
        return read_csv(file)


class _Columns(NamedTuple):
    """Places of the fields that are read in a line."""

    file: int
    corners: tuple[int, ...]
    class_name: int | None


def read_csv(path: Path) -> dict[str, Objects]:
    r"""Read boxes given by their corners, half-open: ``x1 - x0`` is the width.

    Boxes that reach beyond the image are returned unchanged; they are counted or cut when the image is opened.

    Args:
        path: Its header names ``file`` (or filename, image, path), the corners ``x0,y0,x1,y1`` (or xmin,ymin,xmax,ymax
            or x1,y1,x2,y2) and optionally ``class`` (or label, category, name), in any order.

    Returns:
        Objects by file, which may have folders; a line with an empty class has no name.

    Raises:
        ValueError: If it is no regular file, not a UTF-8 CSV, a column that is read occurs twice or is missing, a line
            has fewer or more fields than the header, a corner is not a number, a box is invalid or a file leads out of
            the folder; the message names the line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "val.csv").write_text("file,x0,y0,x1,y1,class\ncat/1.jpg,0,0,10,5,cat\n")
        ...     read_csv(Path(folder, "val.csv"))["cat/1.jpg"].names
        ('cat',)
    """
    found: defaultdict[str, list[Objects]] = defaultdict(list)
    with open_regular(path, MAX_TABLE_BYTES) as file:
        rows = csv.reader(io.TextIOWrapper(file, newline="", encoding="utf-8-sig"), skipinitialspace=True)
        try:
            header = [name.strip().lower() for name in next(rows, [])]
            columns = _columns(header, path)
            for row in rows:
                if row:
                    name, objects = _line(row, header, columns, f"{path}, line {rows.line_num}")
                    found[name].append(objects)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}, after line {rows.line_num}: this is not a UTF-8 CSV: {error}") from None
    return {name: Objects.joined(parts) for name, parts in found.items()}


def _columns(header: list[str], path: Path) -> _Columns:
    file = next((name for name in FILE_COLUMNS if name in header), None)
    corners = next((names for names in CORNER_COLUMNS if set(names) <= set(header)), None)
    class_name = next((name for name in CLASS_COLUMNS if name in header), None)
    used = (file, *(corners or ()), class_name)
    if file is None or corners is None or any(header.count(name) > 1 for name in used if name):
        raise ValueError(
            f"{path}, line 1: the header must name file and x0,y0,x1,y1 (or xmin,ymin,xmax,ymax) once each, found "
            f"{','.join(header) or 'nothing'}"
        )
    index = header.index
    return _Columns(index(file), tuple(map(index, corners)), None if class_name is None else index(class_name))


def _line(row: list[str], header: list[str], columns: _Columns, where: str) -> tuple[str, Objects]:
    if len(row) < len(header) or any(row[len(header) :]):
        raise ValueError(f"{where}: expected {len(header)} fields, {','.join(header)}; found {','.join(row)}")
    name = row[columns.file].strip()
    if not name or leaves_folder(name):
        raise ValueError(f"{where}: the file {name!r} is not below the images' folder")
    try:
        x0, y0, x1, y1 = (float(row[corner]) for corner in columns.corners)
    except ValueError:
        wanted, shown = (",".join(fields[corner] for corner in columns.corners) for fields in (header, row))
        raise ValueError(f"{where}: {wanted} must be four numbers, found {shown}") from None
    class_name = None if columns.class_name is None else row[columns.class_name].strip() or None
    return name, Objects.checked([(x0, y0, x1, y1)], [class_name], where)

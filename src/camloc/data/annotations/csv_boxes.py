"""CSV: a line per box under a header that names its columns."""

import csv
from pathlib import Path

from camloc.data.annotations.objects import Objects
from camloc.data.wsol_metadata import leaves_folder

FILE_COLUMNS = ("file", "filename", "image", "path")
CLASS_COLUMNS = ("class", "label", "name")
CORNER_COLUMNS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))


def read_csv(path: Path) -> dict[str, Objects]:
    r"""Read boxes given by their corners, half-open: ``x1 - x0`` is the width.

    Args:
        path: Its header names ``file`` (or filename, image, path), the corners ``x0,y0,x1,y1`` (or xmin,ymin,xmax,ymax
            or x1,y1,x2,y2) and perhaps ``class`` (or label, name); the order does not matter.

    Returns:
        Objects by file, which may have folders.

    Raises:
        ValueError: If a column or a field is missing, a corner is no number, a box is none or a file leaves the folder;
            the message names the line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "val.csv").write_text("file,x0,y0,x1,y1,class\ncat/1.jpg,0,0,10,5,cat\n")
        ...     read_csv(Path(folder, "val.csv"))["cat/1.jpg"].names
        ('cat',)
    """
    found: dict[str, Objects] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        columns = [name.strip().lower() for name in rows.fieldnames or ()]
        rows.fieldnames = columns
        files = next((name for name in FILE_COLUMNS if name in columns), None)
        corners = next((names for names in CORNER_COLUMNS if set(names) <= set(columns)), None)
        classes = next((name for name in CLASS_COLUMNS if name in columns), None)
        if files is None or corners is None:
            raise ValueError(
                f"{path}, line 1: the header must name file and x0,y0,x1,y1 (or xmin,ymin,xmax,ymax), found "
                f"{','.join(columns) or 'nothing'}"
            )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            name = row[files]
            if not name or leaves_folder(name):
                raise ValueError(f"{where}: the file {name!r} is none below the pictures' folder")
            try:
                x0, y0, x1, y1 = (float(row[corner]) for corner in corners)
            except (TypeError, ValueError):
                shown = ",".join(str(row[corner]) for corner in corners)
                raise ValueError(f"{where}: {','.join(corners)} must be four numbers, found {shown}") from None
            objects = Objects.checked([(x0, y0, x1, y1)], [row[classes] if classes else None], where)
            found[name] = found[name] + objects if name in found else objects
    return found

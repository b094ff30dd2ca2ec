"""CSV files that spreadsheets can open: written whole, text that would be a formula quoted, and read back the same."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from camloc.export.replaced import replaced

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet would run, after any apostrophes that protect it already."""


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    r"""Write a file, or leave the old one as it was.

    Args:
        path: The file; it appears when it is whole.
        header: Names of the columns.
        rows: Their cells; text is quoted by :func:`quoted`, numbers are written as they are.

    Raises:
        OSError: If there is no room.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     write_csv(Path(directory, "a.csv"), ["image", "iou"], [["=1+1", -0.5]])
        ...     Path(directory, "a.csv").read_text(), read_csv(Path(directory, "a.csv"))
        ("image,iou\n'=1+1,-0.5\n", [{'image': '=1+1', 'iou': '-0.5'}])
    """
    # File names may hold bytes that are no text.
    with (
        replaced(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        for row in (header, *rows):
            writer.writerow([quoted(cell) if isinstance(cell, str) else cell for cell in row])


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a file of :func:`write_csv`: the same text, a dictionary for every row.

    A last line that was torn is left out.

    Raises:
        OSError: If it cannot be read.
    """
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    whole = text[: text.rfind("\n") + 1]
    header, *rows = [[unquoted(cell) for cell in row] for row in csv.reader(io.StringIO(whole, newline=""))] or [[]]
    return [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]


def quoted(text: str) -> str:
    """Put an apostrophe before text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return.

    A spreadsheet would take it for a formula and run it (OWASP, CSV injection). Numbers stay numbers.

    Example:
        >>> quoted("=HYPERLINK(A1)"), quoted("-0.5"), quoted("a=b"), quoted("'=")
        ("'=HYPERLINK(A1)", '-0.5', 'a=b', "''=")
    """
    return f"'{text}" if _FORMULA.match(text) and not is_number(text) else text


def unquoted(text: str) -> str:
    """Return what :func:`quoted` was given.

    Example:
        >>> unquoted("'=HYPERLINK(A1)"), unquoted("-0.5"), unquoted("'a'")
        ('=HYPERLINK(A1)', '-0.5', "'a'")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def is_number(text: str) -> bool:
    """Return whether text reads as a number, as ``-0.5``, ``1e-3`` and ``nan`` do."""
    try:
        float(text)
    except ValueError:
        return False
    return True

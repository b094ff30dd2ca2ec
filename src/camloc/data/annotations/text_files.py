"""Text files that come with data sets, line by line."""

from codecs import BOM_UTF8
from pathlib import Path

from camloc.data.images.regular import MAX_TABLE_BYTES, read_regular

SHOWN = 80


def read_lines(path: Path) -> list[str]:
    r"""Return the lines of UTF-8 text, with or without a byte order mark; blank lines at the end are left out.

    Only ``\n``, ``\r\n`` and ``\r`` end a line, since names may hold other characters that Python takes for line ends.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file or too large, a line is not UTF-8, or there is none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "classes.txt")
        ...     _ = file.write_bytes(b"\xef\xbb\xbf1 tit\r\n2 M\xc3\xb6we\r\n\r\n")
        ...     read_lines(file)
        ['1 tit', '2 Möwe']
    """
    lines = []
    for number, line in enumerate(read_regular(path, MAX_TABLE_BYTES).removeprefix(BOM_UTF8).splitlines(), start=1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            raise ValueError(
                f"{path}, line {number}: this is not UTF-8 text; save the file as UTF-8 (from Latin-1: "
                f"iconv -f latin1 -t utf-8); found {line[:SHOWN]!r}"
            ) from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ValueError(f"{path} is empty; give the whole file")
    return lines


def located_lines(path: Path) -> list[tuple[str, str]]:
    """Return where each line of a file stands, for messages, and the line; see :func:`read_lines`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file or too large, a line is not UTF-8, or there is none.
    """
    return [(f"{path}, line {number}", line) for number, line in enumerate(read_lines(path), start=1)]

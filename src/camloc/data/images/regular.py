"""Regular files alone: a FIFO, a socket or a device, also behind a link, is an error and nothing is waited for."""

import errno
import os
import stat
from functools import partial
from pathlib import Path
from typing import BinaryIO

MAX_TABLE_BYTES = 2**31
"""Of a text file with the annotations of many images, a list of names or a submission: COCO's have 450 million."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path, max_bytes: int | None = None) -> BinaryIO:
    """Open a file for reading bytes; links are followed, and what is behind them must be a regular file.

    Args:
        path: The file.
        max_bytes: The most that it may hold; null for any number, where only a part of it is read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a FIFO, a socket, a device or a folder, or holds more bytes; the message names it.

    Example:
        >>> open_regular(Path(os.devnull))
        Traceback (most recent call last):
        ValueError: /dev/null is a device and not a regular file; replace it by a file, or remove it
    """
    return open(path, "rb", opener=partial(_opened, max_bytes=max_bytes))


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return what a regular file holds, see :func:`open_regular`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or holds more bytes; the message names it.
    """
    with open_regular(path, max_bytes) as file:
        return file.read()


def _opened(path: str, flags: int, *, max_bytes: int | None) -> int:
    try:
        # Opening a FIFO without a writer would wait for one.
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _irregular(path, "a socket, or a device that is not there") from None
        raise
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and (max_bytes is None or status.st_size <= max_bytes):
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} has {status.st_size:,} bytes, and {max_bytes:,} are the most that are read")
    raise _irregular(path, _KINDS.get(stat.S_IFMT(status.st_mode), "something else"))


def _irregular(path: str, kind: str) -> ValueError:
    return ValueError(f"{path} is {kind} and not a regular file; replace it by a file, or remove it")

"""What the directories of a TIFF say, before a decoder reserves memory for it."""

import struct
from typing import BinaryIO, NamedTuple

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Of TIFF, and of BigTIFF, whose offsets have 8 bytes."""
MAX_PAGES = 10_000
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _TURN, _SUBFILE, _FORMAT = 256, 257, 258, 262, 274, 254, 339
_TAGS = (_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _TURN, _SUBFILE, _FORMAT)
_KINDS = {1: "B", 3: "H", 4: "I", 6: "B", 8: "H", 9: "I", 13: "I", 16: "Q", 17: "Q", 18: "Q"}
"""Of whole numbers; a negative size is taken for a large one, which is refused."""
_LESSER = 0b101
"""Bits of a page that is a smaller copy of another one, or the mask of one."""


class TiffHeader(NamedTuple):
    """The first page."""

    width: int
    """Pixels; the largest that is stated, as decoders differ in which of several they take."""
    height: int
    bits: int
    """Most bits of a channel."""
    is_float: bool
    white_is_zero: bool
    is_sideways: bool
    """Whether it is shown with its sides exchanged."""
    pages: int
    """Pages that are neither smaller copies of another one nor masks."""


def read_tiff_header(file: BinaryIO) -> TiffHeader:
    """Read what the directories say.

    Args:
        file: At its start.

    Raises:
        ValueError: If they are cut off.
    """
    try:
        start = file.read(16)
        order, big = "<" if start.startswith(b"II") else ">", start[2:4] in (b"+\0", b"\0+")
        (offset,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", start, 8 if big else 4)
        first, following = _directory(file, order, offset, big=big)
        pages, seen = 1, {offset}
        while following and following not in seen and len(seen) < MAX_PAGES:
            seen.add(following)
            tags, following = _directory(file, order, following, big=big)
            pages += not max(tags.get(_SUBFILE, [0])) & _LESSER
    except (struct.error, OverflowError):
        raise ValueError("its header is cut off") from None
    sides = max(first.get(_WIDTH, [0])), max(first.get(_HEIGHT, [0]))
    bits, formats = max(first.get(_BITS, [1])), first.get(_FORMAT, [1])
    if not all(sides):
        raise ValueError("its header states no size")
    is_float, white_is_zero = 3 in formats, first.get(_PHOTOMETRIC, [1])[-1] == 0  # noqa: PLR2004 - IEEE floating point
    return TiffHeader(*sides, bits, is_float, white_is_zero, first.get(_TURN, [1])[0] > 4, pages)  # noqa: PLR2004 - as EXIF


def _directory(file: BinaryIO, order: str, offset: int, *, big: bool) -> tuple[dict[int, list[int]], int]:
    """Return the whole numbers of the tags that matter, and where the next directory lies (0 for none)."""
    file.seek(offset)
    size, of_count, of_next = (20, "Q", "Q") if big else (12, "H", "I")
    (count,) = struct.unpack(order + of_count, file.read(struct.calcsize(order + of_count)))
    entries = file.read(size * min(count, 1 << 16))
    (following,) = struct.unpack(order + of_next, file.read(struct.calcsize(order + of_next)))
    tags: dict[int, list[int]] = {}
    for tag, kind, number, value in struct.iter_unpack(f"{order}HH{'Q8s' if big else 'I4s'}", entries):
        if tag in _TAGS and kind in _KINDS and number:
            form = f"{order}{min(number, 8)}{_KINDS[kind]}"
            length = struct.calcsize(form)
            if length > len(value):
                file.seek(struct.unpack(order + of_next, value)[0])
                value = file.read(length)  # noqa: PLW2901 - it lies elsewhere
            tags.setdefault(tag, []).extend(struct.unpack_from(form, value))
    return tags, following

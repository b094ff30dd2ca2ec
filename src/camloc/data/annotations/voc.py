"""Pascal VOC: an XML file per image, with an ``object`` and its ``bndbox`` for each object.

Boxes that reach beyond the image are returned unchanged: the size that the file states is not trusted, and they
are counted or cut when the image is opened.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from numpy.typing import NDArray

from camloc.data.annotations.contract import BoxFileReader
from camloc.data.annotations.fitting import LARGE, PERCENT
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.problems import DataProblems, collecting
from camloc.data.images.regular import open_regular

MAX_BYTES = 2**26
"""Of a file, which is of one image and has a few thousand."""
MAX_DIGITS = 10
"""Of a side; Python converts no more than 4300."""
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocReader(BoxFileReader):
    """Pascal VOC XML; see :func:`read_voc`.

    Args:
        one_based: Whether the first pixel is 1, as the format's description has it; it means nothing where the corners
            of all files of a split are shares of the image's sides.
    """

    endings = (".xml",)

    def __init__(self, one_based: bool = True) -> None:
        self.one_based = one_based

    def read(self, file: Path, image: Path) -> Objects:  # noqa: ARG002 - boxes are in pixels
        """Read the objects of an image."""
        return read_voc(file, one_based=self.one_based)

    def read_all(self, files: Sequence[Path | None], images: Sequence[Path]) -> list[Objects | None]:  # noqa: ARG002 - as above
        """Read the objects of the images of a split; corners of all are shares, or of none."""
        problems: list[tuple[str, str]] = []
        parsed: list[VocFile | None] = []
        for file in files:
            parsed.append(None)
            if file is not None:
                with collecting(problems):
                    parsed[-1] = parse_voc(file)
        base = None if in_shares([one for one in parsed if one is not None]) else int(self.one_based)
        found: list[Objects | None] = []
        for one in parsed:
            found.append(None)
            if one is not None:
                with collecting(problems):
                    found[-1] = voc_objects(one, base)
        if problems:
            raise DataProblems(problems)
        return found


class VocFile(NamedTuple):
    """What one file says."""

    path: Path
    names: tuple[str, ...]
    """M class names."""
    corners: NDArray[np.float64]
    """(M,4) xmin, ymin, xmax, ymax as they stand there."""
    size: tuple[int, int] | None
    """``(height, width)`` as stated."""


def read_voc(path: Path, *, one_based: bool = True) -> Objects:
    """Read an XML file, of which the file names and paths inside are ignored.

    It is parsed without entities, which could fill the memory or open other files. A size of 0, which some tools write,
    counts as none.

    Args:
        path: The file.
        one_based: Whether the first pixel is 1, as the format's description has it; boxes include their last pixel
            either way. Many tools, and ImageNet's files, count from 0.

    Raises:
        FileNotFoundError: If there is no such file.
        DataProblems: If objects have no name or no valid box, or a corner is below 1 although the first pixel is 1,
            since then the file counts from 0; all of them are named.
        ValueError: If it is no regular file, too large, not XML, or has no object.

    Example:
        >>> import tempfile
        >>> xml = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>5</ymax></bndbox>"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "1.xml")
        ...     _ = file.write_text(f"<annotation><object><name>cat</name>{xml}</object></annotation>")
        ...     read_voc(file).boxes.tolist(), read_voc(file, one_based=False).boxes.tolist()
        ([[0.0, 0.0, 10.0, 5.0]], [[1.0, 1.0, 11.0, 6.0]])
    """
    return voc_objects(parse_voc(path), int(one_based))


def parse_voc(path: Path) -> VocFile:
    """Read what a file says; see :func:`read_voc` for the errors. A file without objects has none."""
    try:
        file = open_regular(path, MAX_BYTES)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no annotation {path}") from None
    try:
        with file:
            root = parse(file).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:  # the last for unknown encodings
        reason = "it declares entities" if isinstance(error, DefusedXmlException) else str(error)
        raise ValueError(f"{path} cannot be read as Pascal VOC XML: {reason}") from None
    corners, names, problems = [], [], []
    for number, item in enumerate(root.iter("object"), start=1):
        name = (item.findtext("name") or "").strip()
        if not name:
            problems.append((f"{path}, object {number}", "it has no <name>"))
            continue
        where = f"{path}, object {number} ({name})"
        with collecting(problems):
            corners.append([_number(item, corner, where) for corner in CORNERS])
            names.append(name)
    if problems:
        raise DataProblems(problems)
    return VocFile(path, tuple(names), np.array(corners, np.float64).reshape(-1, 4), _size(root))


def in_shares(files: Sequence[VocFile]) -> bool:
    """Tell whether the corners of all files are shares of the images' sides, or percent, and not pixels to count from.

    Shares have fractions of a pixel and none exceeds 1; of percent none exceeds 100 although all images are larger.
    """
    corners = np.concatenate([np.zeros((0, 4)), *(file.corners for file in files)])
    sizes = np.array([file.size or (0, 0) for file in files], np.int64).reshape(-1, 2)
    if not len(corners) or not np.isfinite(corners).all() or (corners == corners.round()).all() or corners.min() < 0:
        return False
    return bool(corners.max() <= 1 or (corners.max() <= PERCENT and sizes.min() >= LARGE))


def voc_objects(file: VocFile, base: int | None) -> Objects:
    """Make half-open boxes of corners that include their last pixel.

    Args:
        file: What a file says.
        base: Of the first pixel, 0 or 1; null for shares, which count none.

    Raises:
        DataProblems: If a corner is before the first pixel of a base of 1, or a box is none.
        ValueError: If there is no object.
    """
    if not file.names:
        raise ValueError(f"{file.path} has no <object>; annotate the image, or remove the file")
    if base is None:
        return Objects.checked(file.corners.tolist(), file.names, str(file.path), file.size)
    problems = []
    for number, (name, box) in enumerate(zip(file.names, file.corners.tolist(), strict=True), start=1):
        for corner, value in zip(CORNERS[:2], box[:2], strict=True):
            if base == 1 and value < 1:
                message = (
                    f"<{corner}> is {value:g}, before the first pixel, which is 1; if the tool counts from 0, "
                    "set datamodule.annotations.one_based=false"
                )
                problems.append((f"{file.path}, object {number} ({name})", message))
    if problems:
        raise DataProblems(problems)
    boxes = file.corners + np.array([-base, -base, 1 - base, 1 - base])
    return Objects.checked(boxes.tolist(), file.names, str(file.path), file.size)


def _number(item: Any, corner: str, where: str) -> float:  # noqa: ANN401 - an element
    text = item.findtext(f"bndbox/{corner}")
    try:
        return float(text)
    except (TypeError, ValueError):
        found = "nothing" if text is None else repr(text)
        raise ValueError(f"{where}: <bndbox> needs a number in <{corner}>, found {found}") from None


def _size(root: Any) -> tuple[int, int] | None:  # noqa: ANN401 - an element
    height, width = (root.findtext(f"size/{side}") or "" for side in ("height", "width"))
    is_number = all(side.isdecimal() and len(side) < MAX_DIGITS for side in (height, width))
    claimed = (int(height), int(width)) if is_number else (0, 0)
    return claimed if min(claimed) > 0 else None

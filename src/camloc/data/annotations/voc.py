"""Pascal VOC: an XML file per image, with an ``object`` and its ``bndbox`` for each object.

Boxes that reach beyond the image are returned unchanged: the size that the file states is not trusted, and they
are counted or cut when the image is opened.
"""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from camloc.data.annotations.contract import BoxFileReader
from camloc.data.annotations.objects import Objects
from camloc.data.images.regular import open_regular

MAX_BYTES = 2**26
"""Of a file, which is of one image and has a few thousand."""
MAX_DIGITS = 10
"""Of a side; Python converts no more than 4300."""
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocReader(BoxFileReader):
    """Pascal VOC XML; see :func:`read_voc`.

    Args:
        one_based: Whether the first pixel is 1, as the format's description has it.
    """

    endings = (".xml",)

    def __init__(self, one_based: bool = True) -> None:
        self.one_based = one_based

    def read(self, file: Path, image: Path) -> Objects:  # noqa: ARG002 - boxes are in pixels
        """Read the objects of an image."""
        return read_voc(file, one_based=self.one_based, may_be_empty=True)


def read_voc(path: Path, *, one_based: bool = True, may_be_empty: bool = False) -> Objects:
    """Read an XML file, of which the file names and paths inside are ignored.

    It is parsed without entities, which could fill the memory or open other files. A size of 0, which some tools write,
    counts as none.

    Args:
        path: The file.
        one_based: Whether the first pixel is 1, as the format's description has it; boxes include their last pixel
            either way. Many tools, and ImageNet's files, count from 0.
        may_be_empty: Whether it is right for a file to have no object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, too large, not XML, or has no object; if an object has no name or no valid
            box; if a corner is below 1 although the first pixel is 1, since then the file counts from 0.

    Example:
        >>> import tempfile
        >>> xml = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>5</ymax></bndbox>"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "1.xml")
        ...     _ = file.write_text(f"<annotation><object><name>cat</name>{xml}</object></annotation>")
        ...     read_voc(file).boxes.tolist(), read_voc(file, one_based=False).boxes.tolist()
        ([[0.0, 0.0, 10.0, 5.0]], [[1.0, 1.0, 11.0, 6.0]])
    """
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
    boxes, names = [], []
    shift = 1 if one_based else 0
    for number, item in enumerate(root.iter("object"), start=1):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"{path}, object {number}: it has no <name>")
        where = f"{path}, object {number} ({name})"
        x0, y0, x1, y1 = (_number(item, corner, where) for corner in CORNERS)
        for corner, value in zip(CORNERS[:2], (x0, y0), strict=True):
            if one_based and value < 1:
                raise ValueError(
                    f"{where}: <{corner}> is {value:g}, before the first pixel, which is 1; if the tool counts from 0, "
                    "set datamodule.annotations.one_based=false"
                )
        boxes.append((x0 - shift, y0 - shift, x1 + 1 - shift, y1 + 1 - shift))
        names.append(name)
    if not boxes and not may_be_empty:
        raise ValueError(f"{path} has no <object>; annotate the image, or remove the file")
    return Objects.checked(boxes, names, str(path), _size(root))


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

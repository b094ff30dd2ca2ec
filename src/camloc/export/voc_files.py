"""Pascal VOC XML of what was found: a file per image; corners count from 1 and include the last pixel."""

from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

from camloc.export.file_names import Stems, place
from camloc.export.replaced import replaced
from camloc.localized import LocalizedImage

_NO_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(55296, 57344)), "�")
"""Characters that no XML file may hold."""


def write_voc(folder: Path, images: Iterable[LocalizedImage]) -> list[str]:
    """Write ``Annotations/<image>.xml``, without an object where nothing was found.

    Corners are not rounded, so that a box reads back as it was; tools that want whole pixels round them.

    Args:
        folder: Where to.
        images: In their order.

    Returns:
        Remarks for people.
    """
    stems = Stems()
    for image in images:
        if image.error is None:
            with replaced(place(folder / "Annotations", f"{stems.of(image.name)}.xml")) as partial:
                partial.write_text(_xml(image), encoding="utf-8")
    return [f"voc: {stems.repeats:,} images share a name but for the extension"] if stems.repeats else []


def _xml(image: LocalizedImage) -> str:
    folder, _, name = image.name.rpartition("/")
    height, width = image.size
    objects = []
    for found, box in image.boxes:
        x0, y0, x1, y1 = box.box
        corners = "".join(
            f"<{corner}>{value}</{corner}>"
            for corner, value in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1))
        )
        objects.append(
            f"  <object>\n    <name>{_text(found.name)}</name>\n    <score>{box.score}</score>\n"
            f"    <difficult>0</difficult>\n    <bndbox>{corners}</bndbox>\n  </object>\n"
        )
    return (
        f"<annotation>\n  <folder>{_text(folder)}</folder>\n  <filename>{_text(name)}</filename>\n"
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        f"{''.join(objects)}</annotation>\n"
    )


def _text(text: str) -> str:
    return escape(text.translate(_NO_XML))

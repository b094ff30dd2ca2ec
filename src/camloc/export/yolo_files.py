"""YOLO labels of what was found: a text file per image, ``class cx cy width height`` in fractions of the sides."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from camloc.export.file_names import Stems, place
from camloc.export.replaced import replaced
from camloc.localized import LocalizedImage


def write_yolo(folder: Path, images: Iterable[LocalizedImage], class_names: Sequence[str]) -> list[str]:
    """Write ``labels/<image>.txt``, empty where nothing was found, and ``data.yaml`` with the classes' names.

    Put the images beside ``labels/`` as ``images/``. The format has no scores.

    Args:
        folder: Where to.
        images: In their order.
        class_names: (C,).

    Returns:
        Remarks for people.
    """
    stems = Stems()
    for image in images:
        if image.error is None:
            height, width = image.size
            lines = []
            for found, box in image.boxes:
                x0, y0, x1, y1 = box.box
                numbers = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
                lines.append(" ".join(map(str, (found.class_index, *numbers))))
            with replaced(place(folder / "labels", f"{stems.of(image.name)}.txt")) as partial:
                partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    names = "".join(f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for index, name in enumerate(class_names))
    with replaced(place(folder, "data.yaml")) as partial:
        text = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return [f"yolo: {stems.repeats:,} images share a name but for the extension"] if stems.repeats else []

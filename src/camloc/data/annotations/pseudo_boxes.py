"""Pseudo boxes: boxes that were made without people, in files like those of wsolevaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camloc.data.annotations.text_files import located_lines

LARGEST = 10**6
"""Pixels; no image is larger."""
MAX_SHOWN = 200
"""Characters of a line in a message."""


def read_pseudo_boxes(folder: Path, image_ids: Sequence[str]) -> list[NDArray[np.float64]]:
    """Read the pseudo boxes of ``val`` from ``val/localization.txt``, lines ``path,x0,y0,x1,y1`` in inclusive pixels.

    Murtaza et al. (WACV 2025, arXiv 2404.10034) publish such folders for CUB and ILSVRC. They are read as they are: a
    box may reach beyond its image, and ``0,0,0,0``, where their method found nothing, is the box of one pixel, which no
    box hits. ``localization_iou.txt`` beside it was made from true boxes and is not opened.

    Args:
        folder: Holds ``val``; such as ``metadata_generated_by_clip_maps/CUB``.
        image_ids: N names of the images of ``val``.

    Returns:
        N arrays (M_i,4), half-open pixels, at least one box each. Boxes of other images are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is malformed, a box is negative, inverted or beyond any image, or an image has no line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "val").mkdir()
        ...     _ = Path(root, "val", "localization.txt").write_text("a.jpg,0,10,99,59")
        ...     read_pseudo_boxes(Path(root), ["a.jpg"])
        [array([[  0.,  10., 100.,  60.]])]
    """
    file = folder / "val" / "localization.txt"
    if not file.is_file():
        raise FileNotFoundError(
            f"datamodule.pseudo_boxes={folder} has no val/localization.txt; give a data set's folder of pseudo boxes, "
            "such as metadata_generated_by_clip_maps/CUB, or border_contrast"
        )
    boxes: dict[str, list[list[int]]] = {image_id: [] for image_id in image_ids}
    for where, line in located_lines(file):
        shown = repr(line[:MAX_SHOWN])
        image_id, *fields = line.split(",")
        try:
            x0, y0, x1, y1 = map(int, fields)
        except ValueError:
            raise ValueError(f"{where}: expected path,x0,y0,x1,y1 in whole pixels; found {shown}") from None
        if not (0 <= x0 <= x1 <= LARGEST and 0 <= y0 <= y1 <= LARGEST):
            raise ValueError(f"{where}: the box is negative, inverted or beyond any image; found {shown}")
        if image_id in boxes:
            boxes[image_id].append([x0, y0, x1 + 1, y1 + 1])
    if missing := [image_id for image_id, found in boxes.items() if not found]:
        raise ValueError(
            f"{file} lacks {len(missing)} of the {len(boxes)} images of val, such as {missing[0]}; give pseudo boxes "
            "of this val: with datamodule.metadata= it is wsolevaluation's, whose images the published ones are of"
        )
    return [np.array(boxes[image_id], dtype=np.float64) for image_id in image_ids]

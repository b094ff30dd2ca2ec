"""Raw maps of what was found: ``<image>.npy``, (K,h,w) float32, in the order of the image's classes."""

from pathlib import Path

import numpy as np

from camloc.export.file_names import place
from camloc.export.replaced import replaced
from camloc.localized import LocalizedImage


def write_raw_maps(folder: Path, image: LocalizedImage) -> None:
    """Write the maps of one image, none where no class was probable enough.

    Args:
        folder: Where to; images keep their folders.
        image: With maps.
    """
    cams = [found.cam for found in image.classes if found.cam is not None]
    with replaced(place(folder, f"{image.name}.npy")) as partial, partial.open("wb") as file:
        np.save(file, np.stack(cams) if cams else np.zeros((0, 0, 0), np.float32), allow_pickle=False)

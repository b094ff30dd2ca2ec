"""Score maps as files that other tools read: ``<folder>/<image_id>.npy``, float32, the layout of wsolevaluation."""

from pathlib import Path

import numpy as np
from torch import Tensor


class ScoreMapFolder:
    """A new folder of score maps.

    Args:
        folder: Where to; image ids keep their folders.

    Raises:
        FileExistsError: If the folder holds something already.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and any(self.folder.iterdir()):
            raise FileExistsError(f"export_score_maps={folder} is not empty; name a new folder")

    def write(self, image_id: str, score_map: Tensor) -> None:
        """Write one (H,W) map.

        Raises:
            ValueError: If the image id leads out of the folder.
        """
        file = (self.folder / f"{image_id}.npy").resolve()
        if not file.is_relative_to(self.folder.resolve()):
            raise ValueError(f"the image id {image_id!r} leads out of export_score_maps={self.folder}")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, score_map.float().cpu().numpy())

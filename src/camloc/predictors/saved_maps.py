"""Predictions of one evaluation in one file: logits, raw maps and what they are measured against.

An uncompressed ``.npz`` without pickled objects, any NumPy reads it. Per split (``val``, ``test``) it holds arrays over
the split's N images in order: ``<split>/logits`` (N,C), ``cam`` (N,h,w) of the true class, ``predictions`` (N,G) and
``prediction_cams`` (N,G,h,w) of the classes with the largest logits, ``target``, ``image_ids``, ``image_sizes`` (N,2)
height and width, ``windows`` (N,4), ``image_boxes`` (M,4) with ``box_ends`` (N,), and ``masks`` (N,2,...) packed bits
where the split has any; beside them ``config`` (the evaluation's, YAML), ``class_names``,
``devkit_ids`` and ``map_size``.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from camloc.boxes import to_window
from camloc.data.loading.sample import EvalSample, SavedSample
from camloc.data.loading.split import SplitName

PER_IMAGE = (
    "logits",
    "cam",
    "predictions",
    "prediction_cams",
    "target",
    "image_ids",
    "image_sizes",
    "windows",
    "box_ends",
)


class SavedMaps:
    """A file of saved predictions; a split's arrays are read when the split is first asked for.

    Args:
        path: The ``.npz``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off or something else; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        general = self._read("class_names", "devkit_ids", "map_size", "config")
        self.class_names = tuple(general["class_names"].tolist())
        self.devkit_ids = tuple(general["devkit_ids"].tolist()) or None
        """Of each class, in ILSVRC's submission files; null for other data."""
        height, width = general["map_size"].tolist()
        self.map_size = (height, width)
        self.config_yaml = str(general["config"])

    def split(self, name: SplitName) -> "SavedSplit":
        """Read a split.

        Raises:
            ValueError: If the file lacks it.
        """
        masks = (f"{name}/masks",) if f"{name}/masks" in self._names() else ()
        keys = (*(f"{name}/{part}" for part in (*PER_IMAGE, "image_boxes")), *masks)
        arrays = {key.partition("/")[2]: array for key, array in self._read(*keys).items()}
        return SavedSplit(arrays, self.map_size)

    def _names(self) -> list[str]:
        with zipfile.ZipFile(self.path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]

    def _read(self, *keys: str) -> dict[str, NDArray[np.generic]]:
        if not self.path.is_file():
            raise FileNotFoundError(f"score_maps={self.path} is not there; save_score_maps=true writes such a file")
        try:
            with zipfile.ZipFile(self.path), np.load(self.path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in keys}
        # All that zipfile raises for a damaged archive, by the place of the damage.
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OSError, RuntimeError) as error:
            raise ValueError(
                f"score_maps={self.path} holds no saved score maps: {error}; write it again with "
                "evaluate.py checkpoint=RUN save_score_maps=true"
            ) from error


class SavedSplit(Dataset[SavedSample]):
    """The saved predictions of a split; positions beyond the end repeat from the start and say so.

    Args:
        arrays: By the names above.
        map_size: ``(height, width)`` of the score maps.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]], map_size: tuple[int, int]) -> None:
        self.arrays, self.map_size = dict(arrays), map_size
        self._first_box = np.concatenate([[0], self.arrays["box_ends"]])

    def __len__(self) -> int:
        """Return N."""
        return len(self.arrays["target"])

    def __getitem__(self, position: int) -> SavedSample:
        """Return the prediction at a position that ``EvalSampler`` dealt."""
        index = position % len(self)
        saved = {name: self.arrays[name][index] for name in PER_IMAGE}
        height, width = saved["image_sizes"].tolist()
        x0, y0, x1, y1 = saved["windows"].tolist()
        boxes = torch.from_numpy(self.arrays["image_boxes"][self._first_box[index] : self._first_box[index + 1]])
        masks = None
        if "masks" in self.arrays:
            bits = np.unpackbits(self.arrays["masks"][index].view(np.uint8), axis=-1)
            pixels = self.map_size[0] * self.map_size[1]
            masks = torch.from_numpy(bits[:, :pixels].reshape(2, *self.map_size).astype(bool))
        truth = EvalSample(
            image=torch.empty(0),
            target=int(saved["target"]),
            gt_boxes=to_window(boxes, (x0, y0, x1, y1), self.map_size),
            image_boxes=boxes,
            masks=masks,
            image_size=(height, width),
            window=(x0, y0, x1, y1),
            image_id=saved["image_ids"].item().decode(),
            position=position,
            is_padding=position >= len(self),
        )
        parts = [
            torch.from_numpy(np.asarray(saved[name])) for name in ("logits", "cam", "predictions", "prediction_cams")
        ]
        return SavedSample(parts[0], parts[1], parts[2], parts[3], truth)


def write_saved_maps(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the arrays under the names above, one after the other; memory maps are not read into memory at once."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type] # no array of ours is called allow_pickle
    partial.replace(path)

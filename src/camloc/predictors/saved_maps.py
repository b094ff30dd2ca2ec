"""Predictions of one evaluation in one file: logits, raw maps and what they are measured against.

An uncompressed ``.npz`` without pickled objects, which any NumPy reads. Per split (``test``, and ``val`` where that was
evaluated) it holds arrays over the split's N images in order: ``<split>/logits`` (N,C), ``cam`` (N,h,w) of the true
class, ``ranked_classes`` (N,G) and ``ranked_cams`` (N,G,h,w) of the most likely classes, ``target``, ``image_ids``,
``image_sizes`` (N,2) height and width, ``windows`` (N,4), ``image_boxes`` (M,4) with ``box_ends`` (N,), and ``masks``
(N,2,...) packed bits where the split has any. ``config`` (the evaluation's, YAML), ``class_names``, ``devkit_ids`` and
``map_size`` belong to all.
Such a file may come from anyone: :mod:`camloc.predictors.saved_arrays` checks it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from camloc.boxes import to_window
from camloc.data.loading.sample import EvalSample, collate_truth
from camloc.data.loading.split import SplitName
from camloc.predictors.saved_arrays import SavedArrays
from camloc.records import Prediction, Ranked, Truth

PREDICTED = ("logits", "cam", "ranked_classes", "ranked_cams")
PER_IMAGE = (*PREDICTED, "target", "image_ids", "image_sizes", "windows", "box_ends")


class SavedSample(NamedTuple):
    """One image's prediction as it was saved."""

    logits: Tensor
    """(C,) float32."""
    cam: Tensor
    """(h,w) float32, raw, of the true class."""
    ranked_classes: Tensor
    """(G,) int64, best first."""
    ranked_cams: Tensor
    """(G,h,w) float32, raw."""
    truth: EvalSample
    """Its ``image`` is empty."""


class SavedBatch(NamedTuple):
    """B predictions as they were saved."""

    logits: Tensor
    """(B,C)."""
    cams: Tensor
    """(B,h,w)."""
    ranked: Ranked
    truth: Truth


class SavedPredictor:
    """Returns the predictions that were saved."""

    def predict(self, batch: SavedBatch, *, num_ranked: int = 0) -> Prediction:
        """Return a batch's predictions; the most likely classes are those that were saved."""
        return Prediction(batch.truth.pairs, batch.logits, batch.cams, ranked=batch.ranked if num_ranked else None)


class SavedMaps:
    """A file of saved predictions; a split's arrays are read when the split is first asked for.

    Args:
        path: The ``.npz``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is cut off or something else, or its arrays contradict each other; the message names the file
            and the array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays = SavedArrays(path)
        general = self._arrays.general
        self.class_names = tuple(general["class_names"].tolist())
        self.devkit_ids = tuple(general["devkit_ids"].tolist()) or None
        """Of each class, in ILSVRC's submission files; null for other data."""
        height, width = general["map_size"].tolist()
        self.map_size = (height, width)
        self.config_yaml = str(general["config"])

    def has(self, name: SplitName) -> bool:
        """Tell whether the file has anything of a split."""
        return self._arrays.has(name)

    def split(self, name: SplitName) -> "SavedSplit":
        """Read a split.

        Raises:
            ValueError: If the file lacks it, or its arrays contradict each other.
        """
        return SavedSplit(self._arrays.split(name), self.map_size)


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

    def image_id(self, index: int) -> str:
        """Return an image's name."""
        return bytes(self.arrays["image_ids"][index]).decode(errors="surrogateescape")

    def collate(self, samples: Sequence[SavedSample]) -> SavedBatch:
        """Stack saved predictions."""
        logits, cams, classes, ranked_cams, truth = zip(*samples, strict=True)
        ranked = Ranked(torch.stack(classes), torch.stack(ranked_cams), None)
        return SavedBatch(torch.stack(logits), torch.stack(cams), ranked, collate_truth(truth, self.map_size))

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
            masks = torch.from_numpy(bits[:, :pixels].reshape(1, 2, *self.map_size).astype(bool))
        truth = EvalSample(
            image=torch.empty(0),
            target=int(saved["target"]),
            gt_boxes=[to_window(boxes, (x0, y0, x1, y1), self.map_size)],
            image_boxes=[boxes],
            masks=masks,
            image_size=(height, width),
            window=(x0, y0, x1, y1),
            image_id=self.image_id(index),
            position=position,
            is_padding=position >= len(self),
        )
        parts = [torch.from_numpy(np.asarray(saved[name])) for name in PREDICTED]
        return SavedSample(parts[0], parts[1], parts[2], parts[3], truth)

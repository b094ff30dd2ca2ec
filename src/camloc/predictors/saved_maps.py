"""Predictions of one evaluation in one file: logits, raw maps and what they are measured against.

An uncompressed ``.npz`` without pickled objects, which any NumPy reads. Per split (``test``, and ``val`` where that was
evaluated) it holds arrays over the split's N images in order: ``<split>/logits`` (N,C), ``ranked_classes`` (N,G) and
``ranked_cams`` (N,G,h,w) of the most likely classes, ``target``, (N,) or (N,C) bool where images have several labels,
``image_ids``, ``image_sizes`` (N,2) height and width and ``windows`` (N,4). It holds others over the split's P pairs of
an image and a true class, in the order of images and then of classes, which are the images themselves where each has
one label: ``cam`` (P,h,w), ``image_boxes`` (M,4) with ``box_ends`` (P,), and ``masks`` (P,2,...) packed bits where the
split has any.
``config`` (the evaluation's, YAML), ``class_names``, ``devkit_ids``, ``objectless`` and ``map_size`` belong to all.
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


class SavedSample(NamedTuple):
    """One image's prediction as it was saved."""

    logits: Tensor
    """(C,) float32."""
    cams: Tensor
    """(K,h,w) float32, raw, of its K true classes, ascending."""
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
    """(P,h,w)."""
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
        self.objectless = frozenset(general["objectless"].tolist() if "objectless" in general else ())
        """Classes without objects, 0-based."""
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
        self._first_box = np.append(0, self.arrays["box_ends"])
        target = self.arrays["target"]
        pairs = target.sum(axis=1) if target.ndim > 1 else np.ones(len(target), np.int64)
        self._first_pair = np.append(0, np.cumsum(pairs))

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several labels, or none."""
        return self.arrays["target"].ndim > 1

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
        return SavedBatch(torch.stack(logits), torch.cat(cams), ranked, collate_truth(truth, self.map_size))

    def __getitem__(self, position: int) -> SavedSample:
        """Return the prediction at a position that ``EvalSampler`` dealt."""
        index = position % len(self)
        pairs = range(self._first_pair[index], self._first_pair[index + 1])
        height, width = self.arrays["image_sizes"][index].tolist()
        x0, y0, x1, y1 = self.arrays["windows"][index].tolist()
        boxes = [
            torch.from_numpy(self.arrays["image_boxes"][self._first_box[pair] : self._first_box[pair + 1]])
            for pair in pairs
        ]
        label = self.arrays["target"][index]
        truth = EvalSample(
            image=torch.empty(0),
            target=torch.from_numpy(label) if self.several_labels else int(label),
            gt_boxes=[to_window(of_pair, (x0, y0, x1, y1), self.map_size) for of_pair in boxes],
            image_boxes=boxes,
            masks=self._masks(pairs),
            image_size=(height, width),
            window=(x0, y0, x1, y1),
            image_id=self.image_id(index),
            position=position,
            is_padding=position >= len(self),
        )
        logits, classes, cams = (
            torch.from_numpy(np.asarray(self.arrays[name][index]))
            for name in ("logits", "ranked_classes", "ranked_cams")
        )
        return SavedSample(logits, torch.from_numpy(self.arrays["cam"][pairs.start : pairs.stop]), classes, cams, truth)

    def _masks(self, pairs: range) -> Tensor | None:
        if "masks" not in self.arrays:
            return None
        bits = np.unpackbits(self.arrays["masks"][pairs.start : pairs.stop].view(np.uint8), axis=-1)
        pixels = self.map_size[0] * self.map_size[1]
        return torch.from_numpy(bits[:, :, :pixels].reshape(-1, 2, *self.map_size).astype(bool))

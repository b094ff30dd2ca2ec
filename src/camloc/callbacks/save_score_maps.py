"""Keep an evaluation's logits and raw maps in one file, from which any protocol can be measured again."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from camloc.callbacks.watched import BatchResult, datamodule_of, gathered
from camloc.data.loading.sample import no_masks
from camloc.export.saved_maps import write_saved_maps


class SaveScoreMaps(Callback):
    """Write both splits to one file, see :mod:`camloc.predictors.saved_maps`.

    While the evaluation runs, every process writes its images and pairs at their place in arrays on disk, so that a
    data set's maps never sit in memory; the first process then joins them.

    Args:
        file: The ``.npz``.
        config_yaml: The evaluation's configuration, kept in the file.
    """

    def __init__(self, file: Path, config_yaml: str) -> None:
        self.file, self.config_yaml = file, config_yaml
        self._folder = file.with_name(f".{file.stem}")
        self._arrays: dict[str, NDArray[Any]] = {}
        self._boxes: dict[int, NDArray[np.float32]] = {}
        self._unmasked: list[int] = []
        self._has_masks = False
        self._finished: dict[str, NDArray[Any]] = {}

    def on_validation_batch_end(  # type: ignore[override] # our steps return results
        self, trainer: Trainer, pl_module: LightningModule, outputs: BatchResult, batch: object, batch_idx: int
    ) -> None:
        """Keep a batch of ``val``, unless it only watches a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._keep(trainer, outputs, "val")

    def on_test_batch_end(  # type: ignore[override] # our steps return results
        self, trainer: Trainer, pl_module: LightningModule, outputs: BatchResult, batch: object, batch_idx: int
    ) -> None:
        """Keep a batch of ``test``."""
        self._keep(trainer, outputs, "test")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish ``val``."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._finish(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish ``test`` and write the file."""
        self._finish(trainer, "test")
        if trainer.is_global_zero:
            data = datamodule_of(trainer)
            general = {
                "class_names": np.array(data.class_names),
                "devkit_ids": np.array(data.devkit_ids or (), dtype=np.int64),
                "map_size": np.array(self._map_size),
                "objectless": np.array(sorted(data.objectless), dtype=np.int64),
                "config": np.array(self.config_yaml),
            }
            write_saved_maps(self.file, {**general, **self._finished})
            self._finished.clear()
            shutil.rmtree(self._folder)

    def _keep(self, trainer: Trainer, outputs: BatchResult, split: str) -> None:
        prediction, truth = outputs.prediction, outputs.truth
        ranked = prediction.ranked
        if prediction.logits is None or prediction.cams is None or ranked is None or ranked.cams is None:
            raise ValueError("save_score_maps=true needs logits and raw maps, which this source of predictions lacks")
        self._map_size = truth.map_size
        of_images = {
            "logits": prediction.logits,
            "ranked_classes": ranked.classes,
            "ranked_cams": ranked.cams.float(),
            "target": truth.target,
            "image_sizes": torch.tensor(truth.image_sizes),
            "windows": torch.tensor(truth.windows),
        }
        images = {name: np.asarray(value.cpu()) for name, value in of_images.items()}
        pairs: dict[str, NDArray[Any]] = {"cam": np.asarray(prediction.cams.cpu())}
        if truth.masks is not None:
            pairs["masks"] = _packed(truth.masks)
        if not self._arrays:
            self._open(trainer, split, images, pairs)
        first: dict[int, int] = {}
        for pair, image in enumerate(prediction.pairs.image_index.tolist()):
            # Pairs of one image follow each other, in the batch as in the file.
            place = int(self._first_pair[truth.positions[image]]) + pair - first.setdefault(image, pair)
            self._boxes[place] = truth.image_boxes[pair].numpy()
            for name, array in pairs.items():
                self._arrays[name][place] = array[pair]
            if truth.masks is None:
                self._unmasked.append(place)
        self._has_masks |= truth.masks is not None
        for index, position in enumerate(truth.positions):
            self._arrays["image_ids"][position] = truth.image_ids[index].encode(errors="surrogateescape")
            for name, array in images.items():
                self._arrays[name][position] = array[index]

    def _open(
        self, trainer: Trainer, split: str, images: dict[str, NDArray[Any]], pairs: dict[str, NDArray[Any]]
    ) -> None:
        """Map the split's arrays on disk into memory; the first process has made them."""
        source = datamodule_of(trainer).split(split)
        length = len(source)
        longest = max(len(source.image_id(index).encode(errors="surrogateescape")) for index in range(length))
        several = images["target"].ndim > 1
        counts = [int(np.sum(np.asarray(source.target(index)))) if several else 1 for index in range(length)]
        self._first_pair = np.append(0, np.cumsum(counts))
        num_pairs = int(self._first_pair[-1])
        height, width = self._map_size
        shapes = {name: ((length, *array.shape[1:]), array.dtype) for name, array in images.items()}
        shapes |= {name: ((num_pairs, *array.shape[1:]), array.dtype) for name, array in pairs.items()}
        shapes["image_ids"] = ((length,), np.dtype(f"S{longest}"))
        # Takes no room on disk until a batch has masks, which the first one may lack.
        shapes["masks"] = ((num_pairs, 2, math.ceil(height * width / 8)), np.dtype(np.uint8))
        folder = self._folder / split
        if trainer.is_global_zero:
            folder.mkdir(parents=True)
            for name, (shape, dtype) in shapes.items():
                np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape).flush()
        trainer.strategy.barrier("score map files are there")
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in shapes}

    def _finish(self, trainer: Trainer, split: str) -> None:
        of_all = gathered((self._boxes, self._has_masks), trainer.world_size)
        if any(has_masks for _, has_masks in of_all):
            nothing = _packed(no_masks(1, self._map_size))[0]
            for place in self._unmasked:
                self._arrays["masks"][place] = nothing
        else:
            self._arrays.pop("masks", None)
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined] # a memmap
        trainer.strategy.barrier("score maps are written")
        boxes = {place: found for part, _ in of_all for place, found in part.items()}
        in_order = [boxes[place] for place in range(len(boxes))]
        if trainer.is_global_zero:
            self._finished |= {f"{split}/{name}": array for name, array in self._arrays.items()}
            self._finished[f"{split}/image_boxes"] = np.concatenate([np.zeros((0, 4), np.float32), *in_order])
            self._finished[f"{split}/box_ends"] = np.cumsum([len(found) for found in in_order], dtype=np.int64)
        self._arrays, self._boxes, self._unmasked, self._has_masks = {}, {}, [], False


def _packed(masks: Tensor) -> NDArray[np.uint8]:
    """Return (P,2,H,W) bools, eight to a byte."""
    return np.packbits(masks.flatten(2).cpu().numpy(), axis=-1)

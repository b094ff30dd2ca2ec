"""Keep an evaluation's logits and raw maps in one file, from which any protocol can be measured again."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from camloc.callbacks.localizer import Localizer
from camloc.data.loading.sample import EvalBatch, Prediction, Truth
from camloc.predictors.saved_maps import write_saved_maps

FILE_NAME = "score_maps.npz"


class SaveScoreMaps(Callback):
    """Write ``score_maps.npz``: both splits, see :mod:`camloc.predictors.saved_maps`.

    While the evaluation runs, every process writes its images at their place in arrays on disk, so that a data set's
    maps never sit in memory; the first process then joins them.

    Args:
        config_yaml: The evaluation's configuration, kept in the file.
    """

    def __init__(self, config_yaml: str) -> None:
        self.config_yaml = config_yaml
        self._arrays: dict[str, NDArray[Any]] = {}
        self._boxes: dict[int, NDArray[np.float32]] = {}
        self._finished: dict[str, NDArray[Any]] = {}

    def on_validation_batch_end(  # type: ignore[override] # our steps return predictions
        self, trainer: Trainer, pl_module: Localizer, outputs: Prediction, batch: EvalBatch, batch_idx: int
    ) -> None:
        """Keep a batch of ``val``, unless it only watches a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._keep(trainer, pl_module, outputs, batch, "val")

    def on_test_batch_end(  # type: ignore[override] # our steps return predictions
        self, trainer: Trainer, pl_module: Localizer, outputs: Prediction, batch: EvalBatch, batch_idx: int
    ) -> None:
        """Keep a batch of ``test``."""
        self._keep(trainer, pl_module, outputs, batch, "test")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish ``val``."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._finish(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish ``test`` and write the file."""
        self._finish(trainer, "test")
        if trainer.is_global_zero:
            datamodule: Any = trainer.datamodule  # type: ignore[attr-defined] # set while testing
            general = {
                "class_names": np.array(datamodule.class_names),
                "devkit_ids": np.array(getattr(datamodule, "devkit_ids", None) or (), dtype=np.int64),
                "map_size": np.array(self._map_size),
                "config": np.array(self.config_yaml),
            }
            write_saved_maps(Path(trainer.default_root_dir) / FILE_NAME, {**general, **self._finished})
            self._finished.clear()
            shutil.rmtree(self._folder(trainer))

    def _keep(self, trainer: Trainer, module: Localizer, outputs: Prediction, batch: EvalBatch, split: str) -> None:
        truth = batch.truth
        self._map_size = truth.map_size
        predictions = module.prediction(batch, outputs)
        rows = {
            "logits": outputs.logits,
            "cam": outputs.cam,
            "predictions": predictions.classes,
            "prediction_cams": predictions.cams.float(),
            **_plain(truth),
        }
        arrays = {name: np.asarray(value.cpu()) for name, value in rows.items()}
        if not self._arrays:
            self._open(trainer, split, arrays)
        for index, is_padding in enumerate(truth.is_padding.tolist()):
            if not is_padding:
                position = truth.positions[index]
                self._boxes[position] = truth.image_boxes[index].cpu().numpy()
                self._arrays["image_ids"][position] = truth.image_ids[index].encode()
                for name, array in arrays.items():
                    self._arrays[name][position] = array[index]

    def _open(self, trainer: Trainer, split: str, first: dict[str, NDArray[Any]]) -> None:
        """Map the split's arrays on disk into memory; the first process has made them."""
        source: Any = trainer.datamodule.split(split)  # type: ignore[attr-defined] # set while testing
        length = len(source)
        longest = max(len(source.image_id(index).encode()) for index in range(length))
        shapes = {name: ((length, *array.shape[1:]), array.dtype) for name, array in first.items()}
        shapes["image_ids"] = ((length,), np.dtype(f"S{longest}"))
        folder = self._folder(trainer) / split
        if trainer.is_global_zero:
            folder.mkdir(parents=True)
            for name, (shape, dtype) in shapes.items():
                np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape).flush()
        trainer.strategy.barrier("score map files are there")
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in shapes}

    def _finish(self, trainer: Trainer, split: str) -> None:
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined] # a memmap
        gathered = [self._boxes]
        if trainer.world_size > 1:
            gathered = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(gathered, self._boxes)
        boxes = {position: found for part in gathered for position, found in part.items()}
        in_order = [boxes[position] for position in range(len(boxes))]
        if trainer.is_global_zero:
            self._finished |= {f"{split}/{name}": array for name, array in self._arrays.items()}
            self._finished[f"{split}/image_boxes"] = np.concatenate([np.zeros((0, 4), np.float32), *in_order])
            self._finished[f"{split}/box_ends"] = np.cumsum([len(found) for found in in_order])
        self._arrays, self._boxes = {}, {}

    @staticmethod
    def _folder(trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / ".score_maps"


def _plain(truth: Truth) -> dict[str, torch.Tensor]:
    rows = {
        "target": truth.target,
        "image_sizes": torch.tensor(truth.image_sizes),
        "windows": torch.tensor(truth.windows),
    }
    if truth.masks is not None:
        packed = np.packbits(truth.masks.flatten(2).cpu().numpy(), axis=-1)
        rows["masks"] = torch.from_numpy(packed)
    return rows

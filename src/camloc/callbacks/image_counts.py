"""What each test image added to MaxBoxAcc and PxAP, from which their intervals are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer

from camloc.callbacks.localizer import Localizer
from camloc.data.loading.sample import EvalBatch, SavedBatch
from camloc.predictors.map_files import MapBatch


class ImageCounts(Callback):
    """Write ``per_image/test_<metric>.npz`` for ``read_image_counts``, once however many processes there are."""

    def __init__(self) -> None:
        self._rows: dict[str, _Rows] = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the evaluation before."""
        self._rows = {}

    def on_test_batch_end(  # type: ignore[override] # our modules keep counts
        self,
        trainer: Trainer,
        pl_module: Localizer,
        outputs: Any,  # noqa: ANN401 - of no matter here
        batch: EvalBatch | SavedBatch | MapBatch,
        batch_idx: int,
    ) -> None:
        """Keep a batch's counts."""
        positions = batch.counted_positions if isinstance(batch, MapBatch) else batch.truth.counted_positions
        for name, counts in pl_module.image_counts().items():
            if positions:
                self._rows.setdefault(name, _Rows()).add(positions, counts.cpu().numpy())

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the counts of all processes into the split's order and write them."""
        own = {name: rows.contents() for name, rows in self._rows.items()}
        gathered = [own]
        if trainer.world_size > 1:
            gathered = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(gathered, own)
        if trainer.is_global_zero:
            for name in sorted({name for part in gathered for name in part}):
                positions, counts, lengths = zip(*(part[name] for part in gathered if name in part), strict=True)
                order = np.concatenate(positions).argsort()
                path = Path(trainer.default_root_dir) / "per_image" / f"test_{name}.npz"
                path.parent.mkdir(exist_ok=True)
                np.savez_compressed(path, counts=np.concatenate(counts)[order], length=lengths[0])
        self._rows = {}


class _Rows:
    """Counts by image in one array that doubles when it is full.

    Kept batch by batch instead, these long-lived little arrays lie between the short-lived large ones and keep the
    allocator from giving memory back: gigabytes over 50,000 images.
    """

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._counts: NDArray[Any] = np.empty(0)
        self._length = 0

    def add(self, positions: Sequence[int], counts: NDArray[Any]) -> None:
        """Append a batch; eight hits share a byte, for a thousand thresholds."""
        self._length = counts.shape[-1]
        rows = np.packbits(counts, axis=-1) if counts.dtype == bool else counts
        if not self._positions:
            self._counts = np.empty((len(rows), *rows.shape[1:]), rows.dtype)
        first, last = len(self._positions), len(self._positions) + len(positions)
        while last > len(self._counts):
            self._counts = np.concatenate([self._counts, np.empty_like(self._counts)])
        self._counts[first:last] = rows
        self._positions += positions

    def contents(self) -> tuple[list[int], NDArray[Any], int]:
        """Return the positions, their counts, and the length of the last axis before packing."""
        return self._positions, self._counts[: len(self._positions)], self._length

"""What each test picture added to MaxBoxAcc and PxAP, from which their intervals are made."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from camloc.callbacks.localizer import Localizer
from camloc.data.sample import EvalBatch, SavedBatch
from camloc.data.score_map_files import MapBatch


class ImageCounts(Callback):
    """Write ``per_image/test_<metric>.npz`` for :func:`read_image_counts`, once however many processes there are."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[int, tuple[NDArray[Any], int]]]] = {}

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
            rows = self._rows.setdefault(name, [])
            rows += [(p, _packed(row)) for p, row in zip(positions, counts.cpu(), strict=True)]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the counts of all processes into the split's order and write them."""
        gathered = [self._rows]
        if trainer.world_size > 1:
            gathered = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(gathered, self._rows)
        if trainer.is_global_zero:
            for name in sorted({name for part in gathered for name in part}):
                rows = sorted((row for part in gathered for row in part.get(name, [])), key=lambda row: row[0])
                path = Path(trainer.default_root_dir) / "per_image" / f"test_{name}.npz"
                path.parent.mkdir(exist_ok=True)
                counts = np.stack([counts for _, (counts, _) in rows])
                np.savez_compressed(path, counts=counts, length=rows[0][1][1])
        self._rows = {}


def _packed(counts: Tensor) -> tuple[NDArray[Any], int]:
    """Return a picture's counts and the length of their last axis; eight hits share a byte, for a thousand cuts."""
    array = counts.numpy()
    return (np.packbits(array, axis=-1) if array.dtype == bool else array.copy()), array.shape[-1]


def read_image_counts(path: Path) -> NDArray[Any]:
    """Return the counts (N,...) that the callback wrote."""
    with np.load(path) as arrays:
        counts, length = arrays["counts"], int(arrays["length"])
    return np.unpackbits(counts, axis=-1, count=length).astype(bool) if counts.dtype == np.uint8 else counts

"""``metrics.csv``: one row per epoch, for whoever plots or greps."""

import csv
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer


class EpochCsv(Callback):
    """Write every logged scalar of an epoch as one row of ``metrics.csv`` in the trainer's root directory.

    The file is rewritten whole after each epoch, so a column that appears late has its place, and rows of an earlier
    part of the same run are kept.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch that has just ended, validation included."""
        if not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / "metrics.csv"
        row = {"epoch": str(trainer.current_epoch), "step": str(trainer.global_step)}
        row |= {name: f"{value.item():.7g}" for name, value in sorted(trainer.callback_metrics.items())}
        rows = [*_rows_before(path, trainer.current_epoch), row]
        columns = dict.fromkeys(name for kept in rows for name in kept)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(columns))
            writer.writeheader()
            writer.writerows(rows)


def _rows_before(path: Path, epoch: int) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]

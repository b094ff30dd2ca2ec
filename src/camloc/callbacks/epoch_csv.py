"""``metrics.csv``: one row per epoch, for whoever plots or greps."""

import csv

from pytorch_lightning import Callback, LightningModule, Trainer

from camloc.callbacks.watched import RunPaths
from camloc.export.replaced import replaced


class EpochCsv(Callback):
    """Write every logged scalar of an epoch as one row of ``metrics.csv``.

    The file is rewritten whole after each epoch, so a column that appears late has its place, and rows of an earlier
    part of the same run are kept.

    Args:
        run: Has the path of the file.
    """

    def __init__(self, run: RunPaths) -> None:
        self.path = run.epochs
        self.rows: list[dict[str, str]] = []
        """The run's epochs so far."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch that has just ended, validation included."""
        if not trainer.is_global_zero:
            return
        if not self.rows and self.path.exists():  # resumed
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))
        row = {"epoch": str(trainer.current_epoch), "step": str(trainer.global_step)}
        row |= {name: f"{value.item():.7g}" for name, value in sorted(trainer.callback_metrics.items())}
        self.rows = [*(kept for kept in self.rows if int(kept["epoch"]) < trainer.current_epoch), row]
        columns = dict.fromkeys(name for kept in self.rows for name in kept)
        with replaced(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(columns))
            writer.writeheader()
            writer.writerows(self.rows)

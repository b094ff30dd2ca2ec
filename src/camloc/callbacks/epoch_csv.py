"""``metrics.csv``: one row per epoch, for whoever plots or greps."""

from pytorch_lightning import Callback, LightningModule, Trainer

from camloc.callbacks.watched import RunPaths
from camloc.export.csv_file import read_csv, write_csv


class EpochCsv(Callback):
    """Write every logged scalar of an epoch as one row of ``metrics.csv``.

    The file is replaced whole after each epoch, so a full disk does not cost earlier epochs, a column that appears late
    has its place, and rows of an earlier part of the same run are kept. Numbers of ``val`` are empty in an epoch
    without a validation.

    Args:
        run: Has the path of the file.
    """

    def __init__(self, run: RunPaths) -> None:
        self.path = run.epochs
        self.rows: list[dict[str, str]] = []
        """The run's epochs so far."""
        self._is_validated = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the epochs of an earlier part of the run, before one is trained that could not be added to them.

        Raises:
            ValueError: If the file is no longer one of epochs.
        """
        if not trainer.is_global_zero or self.rows or not self.path.exists():
            return
        self.rows = read_csv(self.path)
        if not all(row.get("epoch", "").isdecimal() for row in self.rows):
            raise ValueError(
                f"{self.path} is not as it was written: an epoch is no whole number; restore it, or remove it"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that the epoch has numbers of ``val``."""
        self._is_validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch that has just ended, validation included."""
        is_validated, self._is_validated = self._is_validated, False
        if not trainer.is_global_zero:
            return
        row = {"epoch": str(trainer.current_epoch), "step": str(trainer.global_step)}
        row |= {
            name: f"{value.item():.7g}"
            for name, value in sorted(trainer.callback_metrics.items())
            if is_validated or not name.startswith("val/")  # Lightning keeps those of the last validation
        }
        self.rows = [*(kept for kept in self.rows if int(kept["epoch"]) < trainer.current_epoch), row]
        columns = list(dict.fromkeys(name for kept in self.rows for name in kept))
        write_csv(self.path, columns, ([kept.get(name, "") for name in columns] for kept in self.rows))

"""The progress bar, with names short enough for a terminal."""

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

SHORT_NAMES = {
    "train/loss": "loss",
    "val/classification/top1_error": "top-1 cls",
    "val/localization/top1_error": "top-1 loc",
    "val/localization/gt_known_error": "GT-known",
}


class Progress(RichProgressBar):
    """Lightning's rich progress bar; finished epochs stay on the screen with their errors (fractions)."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the numbers next to the bar."""
        shown = trainer.progress_bar_metrics
        return {short: shown[name] for name, short in SHORT_NAMES.items() if name in shown}

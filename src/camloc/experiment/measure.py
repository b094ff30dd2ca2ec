"""Measuring a classifier: thresholds from val, numbers on test."""

from pytorch_lightning import Trainer

from camloc.classifier import Classifier
from camloc.data.datamodule import LocalizationDataModule


def measure(
    trainer: Trainer, classifier: Classifier, datamodule: LocalizationDataModule
) -> dict[str, float | int | str]:
    """Evaluate on ``val`` and ``test``; a threshold that is not fixed is chosen on ``val``.

    Args:
        trainer: Runs both.
        classifier: With the weights to be measured.
        datamodule: Its splits.

    Returns:
        The flat keys of ``metrics.json``; every threshold says where it came from.
    """
    trainer.validate(classifier, datamodule, verbose=False)
    configured = classifier.val_metrics.localization.cam_threshold
    chosen = float(classifier.results["val"]["localization/cam_threshold"])
    classifier.test_metrics.localization.cam_threshold = chosen
    trainer.test(classifier, datamodule, verbose=False)
    metrics: dict[str, float | int | str] = {}
    # On val itself a threshold chosen there is the best on the very split it is reported on.
    for split, source in (("val", "oracle"), ("test", "val")):
        metrics[f"{split}/localization/threshold_source"] = source if configured is None else "fixed"
        for name, value in classifier.results[split].items():
            if value.ndim == 0:
                metrics[f"{split}/{name}"] = value.item()
    return metrics

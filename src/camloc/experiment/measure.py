"""Measuring a classifier: thresholds from val, numbers on test."""

from pytorch_lightning import LightningDataModule, Trainer

from camloc.evaluation import WITHOUT_VAL, EvaluationModule


def measure(
    trainer: Trainer, module: EvaluationModule, datamodule: LightningDataModule
) -> dict[str, float | int | str]:
    """Evaluate on ``val`` and ``test``; a threshold that is not fixed is chosen on ``val``.

    Args:
        trainer: Runs both.
        module: With the weights, or saved maps, to be measured.
        datamodule: Its splits.

    Returns:
        The flat keys of ``metrics.json``; every threshold says where it came from.
    """
    trainer.validate(module, datamodule, verbose=False)
    configured = module.val_metrics.localization.cam_threshold
    chosen = module.results["val"].get("localization/cam_threshold")
    threshold, test_source = configured, "fixed"
    if configured is None and chosen is not None:
        threshold, test_source = float(chosen), "val"
    elif threshold is None:  # val has no boxes to choose on
        threshold = min(module.cam_thresholds, key=lambda on_grid: abs(on_grid - WITHOUT_VAL))
    module.test_metrics.localization.set_threshold(threshold)
    trainer.test(module, datamodule, verbose=False)
    metrics: dict[str, float | int | str] = {}
    # On val itself a threshold chosen there is the best on the very split it is reported on.
    for split, source in (("val", "oracle" if configured is None else "fixed"), ("test", test_source)):
        results = module.results[split]
        if "localization/cam_threshold" in results:
            metrics[f"{split}/localization/threshold_source"] = source
        for name, value in results.items():
            if value.ndim == 0:
                metrics[f"{split}/{name}"] = value.item()
        for name in ("max_box_acc", "max_box_acc_v2"):
            if f"localization/{name}" in results:
                metrics[f"{split}/localization/{name}_threshold_source"] = "oracle"
    return metrics

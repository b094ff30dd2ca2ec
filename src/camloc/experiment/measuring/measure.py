"""Measuring a predictor: thresholds from ``val``, numbers on ``test``."""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning import LightningDataModule, Trainer

from camloc.experiment.measuring.module import EvaluationModule
from camloc.experiment.measuring.results import MeasuredSplit, Threshold, image_ids_of


def measure(
    trainer: Trainer,
    module: EvaluationModule,
    data: LightningDataModule,
    splits: Sequence[str] = ("val", "test"),
    stored: Threshold | None = None,
) -> dict[str, MeasuredSplit]:
    """Evaluate splits; a threshold that is not fixed is chosen on ``val``.

    Args:
        trainer: Runs the evaluation.
        module: Holds the predictor and the protocols.
        data: Its loaders, ``split(name).image_id(index)`` and ``pseudo_boxes``.
        splits: ``test``, with ``val`` before it where thresholds are to be chosen there.
        stored: The threshold to take where ``val`` is not evaluated or has no boxes.

    Returns:
        The results by split.
    """
    source: Any = data
    is_pseudo = source.pseudo_boxes is not None
    for protocol in module.test_protocols.protocols.values():
        protocol.check_split(len(source.split("test")))
    threshold = stored
    if "val" in splits:
        trainer.validate(module, data, verbose=False)
        chosen = module.results["val"].chosen
        if chosen is not None:
            threshold = Threshold(chosen, "pseudo" if is_pseudo else "val")
    tested = _set_thresholds_of_test(module, threshold)
    trainer.test(module, data, verbose=False)
    watched = _thresholds_of_val(module) if "val" in splits else {}
    return {
        name: MeasuredSplit(
            name,
            module.protocols[name],
            module.results[name],
            image_ids_of(module.results[name].pairs, source.split(name).image_id),
            tested if name == "test" else watched,
            has_pseudo_boxes=is_pseudo and name == "val",
        )
        for name in splits
    }


def _set_thresholds_of_test(module: EvaluationModule, chosen: Threshold | None) -> dict[str, Threshold]:
    found: dict[str, Threshold] = {}
    shown = module.test_protocols.shown_threshold
    if shown is None:  # boxes have none
        return found
    for name, protocol in module.test_protocols.protocols.items():
        if protocol.cam_threshold is not None:
            found[name] = Threshold(protocol.cam_threshold, "fixed")
        elif protocol.chooses_threshold or "reported_boxes" in module.test_protocols.needs[name].all:
            found[name] = chosen or Threshold(shown, "fixed")
            protocol.set_threshold(found[name].value)
    return found


def _thresholds_of_val(module: EvaluationModule) -> dict[str, Threshold]:
    found: dict[str, Threshold] = {}
    if not module.val_protocols.is_swept:
        return found
    numbers = module.results["val"].numbers
    for name, protocol in module.val_protocols.protocols.items():
        key = module.val_protocols.key(name, "cam_threshold")
        if protocol.cam_threshold is not None:
            found[name] = Threshold(protocol.cam_threshold, "fixed")
        elif protocol.chooses_threshold and key in numbers:
            # A threshold that was chosen on val is the best on the very split that val's numbers are reported on.
            found[name] = Threshold(float(numbers[key]), "oracle")
    return found

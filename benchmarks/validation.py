"""What localization costs a validation epoch: against one that only classifies, and 100 thresholds against 1.

AlexNet-GAP at 224x224 on the CPU, untrained, on images made in memory; the network is the same in all three, and the
epochs take turns so that a busy machine slows them alike.

    python benchmarks/validation.py
"""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torchmetrics import Metric

from camloc.attribution.cam import cam
from camloc.attribution.score_map import score_map
from camloc.backbones.alexnet import alexnet_gap
from camloc.data.datasets.textures import Textures
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.sample import EvalBatch
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.measuring.split_protocols import SplitProtocols
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.localization_error import LocalizationError
from camloc.predictors.network import NetworkPredictor

ROUNDS = 7
BATCHES = 4


def batches() -> list[EvalBatch]:
    """Return images as the loader gives them."""
    datamodule: LocalizationDataModule = Textures(
        num_train=1, num_val=32 * BATCHES, num_test=1, image_size=224, input_size=224, batch_size=32, num_workers=0
    )
    return list(datamodule.val_dataloader())


def protocols(*, localization: LocalizationError | None) -> SplitProtocols:
    """Return what a validation epoch counts."""
    measured: dict[str, Metric] = {"classification": ClassificationError()}
    if localization is not None:
        measured |= {"localization": localization, "centred_box": CentredBoxError(iou_threshold=0.5)}
    return SplitProtocols(Measures(measured, score_map, {}, largest_component_boxes, 0.5))


def seconds(predictor: NetworkPredictor, data: list[EvalBatch], counted: SplitProtocols | None) -> float:
    """Time one epoch over the batches; without protocols it classifies alone."""
    classified = protocols(localization=None)
    started = time.perf_counter()
    with torch.inference_mode():
        for batch in data:
            if counted is not None:
                counted.update(predictor.predict(batch), batch.truth)
            else:
                logits = predictor(batch.images)
                classified.loss.update(torch.nn.functional.cross_entropy(logits, batch.truth.target))
                classified.protocols["classification"].update(logits, batch.truth.target)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    data = batches()
    predictor = NetworkPredictor(alexnet_gap(num_classes=1000), cam).eval()
    hundred = protocols(localization=LocalizationError(num_thresholds=100))
    one = protocols(localization=LocalizationError(cam_threshold=0.0, num_thresholds=1))
    epochs: dict[str, Callable[[], float]] = {
        "classification only": lambda: seconds(predictor, data, None),
        "localization, 1 threshold": lambda: seconds(predictor, data, one),
        "localization, 100 thresholds": lambda: seconds(predictor, data, hundred),
    }
    for epoch in epochs.values():
        epoch()  # compiles, and warms the caches
    taken = {name: statistics.median(times) for name, times in zip(epochs, _rounds(epochs), strict=True)}
    classification, single, sweep = taken.values()
    images = 32 * BATCHES
    print(f"AlexNet-GAP, 224x224, {images} images, torch threads={torch.get_num_threads()}")
    for name, value in taken.items():
        print(f"{name:30} {1000 * value / images:7.2f} ms per image")
    print(f"100 thresholds against 1: {sweep / single:.3f}x")
    print(f"localization against classification: {sweep / classification:.3f}x")


def _rounds(epochs: Mapping[str, Callable[[], float]]) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in epochs]
    for _ in range(ROUNDS):
        for kept, epoch in zip(times, epochs.values(), strict=True):
            kept.append(epoch())
    return times


if __name__ == "__main__":
    main()

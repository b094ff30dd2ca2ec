"""What localization costs a validation epoch: against one that only classifies, and 100 thresholds against 1.

AlexNet-GAP at 224x224 on the CPU, untrained, on images made in memory; the network is the same in all three, and the
epochs take turns so that a busy machine slows them alike.

    python benchmarks/validation.py
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch

from camloc.attribution.cam import class_activation_map
from camloc.attribution.score_map import score_map
from camloc.backbones.alexnet import alexnet_gap
from camloc.classifier import Classifier
from camloc.data.datasets.textures import Textures
from camloc.data.loading.datamodule import LocalizationDataModule
from camloc.data.loading.sample import EvalBatch
from camloc.metrics.localization_error import LocalizationError

ROUNDS = 7
BATCHES = 4


def batches() -> list[EvalBatch]:
    """Return images as the loader gives them."""
    datamodule: LocalizationDataModule = Textures(
        num_train=1, num_val=32 * BATCHES, num_test=1, image_size=224, input_size=224, batch_size=32, num_workers=0
    )
    return list(datamodule.val_dataloader())


def seconds(module: Classifier, data: list[EvalBatch], *, localizes: bool) -> float:
    """Time one epoch over the batches."""
    started = time.perf_counter()
    with torch.inference_mode():
        for batch in data:
            if localizes:
                module.validation_step(batch)
            else:
                logits = module(batch.images)
                module.val_metrics.loss.update(torch.nn.functional.cross_entropy(logits, batch.truth.target))
                module.val_metrics.classification.update(logits, batch.truth.target, batch.truth.is_padding)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    data = batches()
    backbone = alexnet_gap(num_classes=1000)
    make = partial(Classifier, backbone, class_activation_map, score_map)
    hundred = make(LocalizationError(num_thresholds=100)).eval()
    one = make(LocalizationError(cam_threshold=0.0, num_thresholds=1)).eval()
    epochs: dict[str, Callable[[], float]] = {
        "classification only": lambda: seconds(hundred, data, localizes=False),
        "localization, 1 threshold": lambda: seconds(one, data, localizes=True),
        "localization, 100 thresholds": lambda: seconds(hundred, data, localizes=True),
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

"""What the framework costs on a GPU: training and evaluation through the Trainer, against plain PyTorch loops.

224x224 in bf16, batches of 128 from pinned memory, so that no loader is measured. An evaluation classifies, maps the
true class and boxes each map at 100 CAM thresholds, in both loops by the same functions; how fast the plain loop only
classifies is shown beside it. The Trainer's kernels are repeatable (``trainer.deterministic=warn``), so the plain loop
is timed with such kernels too. Rounds alternate between the loops; each warms up for one epoch.

    python benchmarks/gpu.py [NETWORK...] [--compile]
"""

import argparse
import gc
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import box_iou

from camloc.attribution.attention_rollout import attention_rollout
from camloc.attribution.cam import cam
from camloc.attribution.contract import Attribution
from camloc.attribution.score_map import score_map
from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.contract import Backbone
from camloc.backbones.googlenet import googlenet_gap
from camloc.backbones.resnet import resnet50_gap
from camloc.backbones.timm_network import timm_network
from camloc.backbones.vgg import vgg_gap
from camloc.data.datasets.textures import Textures
from camloc.data.loading.sample import EvalBatch, TrainBatch
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.training import TrainingModule
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.localization_error import LocalizationError
from camloc.objectives.classification import CrossEntropy
from camloc.predictors.network import NetworkPredictor
from camloc.records import Pairs

NETWORKS: dict[str, tuple[Callable[..., Backbone], Attribution]] = {
    "googlenet_gap": (googlenet_gap, cam),
    "resnet50": (partial(resnet50_gap, output_stride=32), cam),
    "vit_small_patch14": (partial(timm_network, "vit_small_patch14_dinov2", input_size=224), attention_rollout),
    "alexnet_gap": (alexnet_gap, cam),
    "vgg_gap": (vgg_gap, cam),
}
ROUNDS = 3
BATCH_SIZE = 128
BATCHES = 20
TRAIN_REPEATS = 3
"""How often an epoch of training sees each batch: what an epoch costs once must not show."""
SIZE = 224
THRESHOLDS = torch.arange(100) / 100


class Data(NamedTuple):
    """Batches in pinned memory."""

    train: DataLoader[TrainBatch]
    val: DataLoader[EvalBatch]


class Speed(NamedTuple):
    """Images per second, and the GiB that tensors held at most; not a number where a loop was not timed."""

    train: float
    evaluate: float
    classify: float
    train_peak: float
    evaluate_peak: float


def data() -> Data:
    """Return the batches, each of its own images."""
    datamodule = Textures(num_val=BATCH_SIZE, image_size=SIZE, input_size=SIZE, batch_size=BATCH_SIZE, num_workers=0)
    [batch] = datamodule.val_dataloader()
    images = [batch.images.roll(7 * shift, dims=-1).pin_memory() for shift in range(BATCHES)]
    target = batch.truth.target.pin_memory()
    training = [TrainBatch(each, target) for each in images]
    validation = [EvalBatch(each, batch.truth) for each in images]
    return Data(_loader(training * TRAIN_REPEATS), _loader(validation))


def _loader(batches: list[Any]) -> DataLoader[Any]:
    return DataLoader(cast(Dataset[Any], batches), batch_size=None, collate_fn=_unchanged)


def _unchanged(batch: Any) -> Any:  # noqa: ANN401 - whatever a batch is
    return batch


def model(network: str, *, compiled: bool) -> TrainingModule:
    """Return a fresh network, its weights drawn from one seed."""
    seed_everything(0, verbose=False)
    make, attribution = NETWORKS[network]
    predictor = NetworkPredictor(make(num_classes=1000), attribution, channels_last=True)
    if compiled:
        predictor.backbone.compile()  # type: ignore[attr-defined] # of nn.Module
    protocols = {"classification": ClassificationError(), "localization": LocalizationError()}
    measures = Measures(protocols, score_map, {}, largest_component_boxes, 0.5)
    optimizer = partial(torch.optim.SGD, lr=0.001, momentum=0.9, fused=True)
    return TrainingModule(predictor, measures, CrossEntropy([1] * 1000), optimizer)


def plain(module: TrainingModule, batches: Data, *, repeatable: bool) -> Speed:
    """Time the loops that people write by hand."""
    torch.use_deterministic_algorithms(mode=repeatable, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # as camloc's trainer has it
    module.cuda()
    predictor = cast(NetworkPredictor, module.predictor)
    optimizer = module.new_optimizer()
    autocast = partial(torch.autocast, "cuda", torch.bfloat16)

    def train() -> None:
        module.train()
        for batch in batches.train:
            images, target = batch.images.cuda(non_blocking=True), batch.target.cuda(non_blocking=True)
            with autocast():
                loss = cross_entropy(predictor(images), target)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()

    def classify() -> None:
        module.eval()
        wrong = torch.zeros((), device="cuda")
        with torch.inference_mode(), autocast():
            for batch in batches.val:
                logits = predictor(batch.images.cuda(non_blocking=True))
                wrong += (logits.argmax(dim=1) != batch.truth.target.cuda(non_blocking=True)).sum()
        wrong.item()

    def evaluate() -> None:
        module.eval()
        for batch in batches.val:
            target = batch.truth.target
            pairs = Pairs(torch.arange(len(target)).cuda(), target.cuda(non_blocking=True))
            with torch.inference_mode(), autocast():
                inputs = predictor.normalize(batch.images.cuda(non_blocking=True))
                logits, _, maps = predictor.attribution(predictor.backbone, inputs, lambda _: pairs)  # noqa: B023 - at once
                scores = score_map(maps, (SIZE, SIZE))
            wrong = (logits.argmax(dim=1) != pairs.classes).cpu()
            boxes = largest_component_boxes(scores.cpu(), THRESHOLDS)
            hits = torch.stack(
                [
                    box_iou(of_image.float(), truth.float())[:, 0] >= 0.5  # noqa: PLR2004 - half
                    for of_image, truth in zip(boxes, batch.truth.gt_boxes, strict=True)
                ]
            )
            assert len(wrong) == len(hits)

    peaks = _Peaks()
    for loop in (train, evaluate, classify):
        loop()
    trained = _seconds(train)
    peaks.take(0)
    evaluated = _seconds(evaluate)
    peaks.take(1)
    return _speed(trained, evaluated, peaks, _seconds(classify))


class _Peaks:
    """The most memory that tensors held, of training and of evaluation."""

    def __init__(self) -> None:
        self.gib = [0.0, 0.0]

    def take(self, which: int) -> None:
        """Count what was held since the last call to one of both."""
        self.gib[which] = max(self.gib[which], torch.cuda.max_memory_allocated() / 2**30)
        torch.cuda.reset_peak_memory_stats()


class Clock(Callback):
    """Times what the plain loops do: the batches of an epoch, and those of its evaluation."""

    def __init__(self) -> None:
        self.peaks = _Peaks()
        self.trained: list[float] = []
        self.evaluated: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self.started = _now()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End of the training batches."""
        self.trained.append(_now() - self.started)
        self.peaks.take(0)
        self.started = _now()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End of the evaluation's batches."""
        self.evaluated.append(_now() - self.started)
        self.peaks.take(1)


def framework(module: TrainingModule, batches: Data) -> Speed:
    """Time epochs through the Trainer as ``trainer=gpu`` configures it."""
    clock = Clock()
    trainer = Trainer(
        callbacks=[clock],
        accelerator="gpu",
        devices=1,
        precision="bf16-mixed",
        deterministic="warn",
        max_epochs=2,  # the first one warms up
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches.train, batches.val)
    return _speed(clock.trained[-1], clock.evaluated[-1], clock.peaks)


def _now() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _seconds(epoch: Callable[[], None]) -> float:
    started = _now()
    epoch()
    return _now() - started


def _speed(trained: float, evaluated: float, peaks: _Peaks, classified: float = math.nan) -> Speed:
    images = BATCH_SIZE * BATCHES
    return Speed(images * TRAIN_REPEATS / trained, images / evaluated, images / classified, *peaks.gib)


def measured(network: str, loop: Callable[[TrainingModule, Data], Speed], batches: Data, *, compiled: bool) -> Speed:
    """Measure one loop on a fresh network."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return loop(model(network, compiled=compiled), batches)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    batches = data()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16, batches of {BATCH_SIZE}, {SIZE}x{SIZE}")
    loops: dict[str, Callable[[TrainingModule, Data], Speed]] = {
        "plain": partial(plain, repeatable=False),
        "plain, repeatable": partial(plain, repeatable=True),
        "Trainer": framework,
    }
    for network in given.networks or NETWORKS:
        speeds: dict[str, list[Speed]] = {name: [] for name in loops}
        for _ in range(ROUNDS):
            for name, loop in loops.items():
                speeds[name].append(measured(network, loop, batches, compiled=given.compile))
        for name, rounds in speeds.items():
            speed = Speed(*map(statistics.median, zip(*rounds, strict=True)))
            only = "" if math.isnan(speed.classify) else f", {speed.classify:6.0f} without maps and boxes"
            print(
                f"{network:18}{name:18}train {speed.train:6.0f} images/s {speed.train_peak:5.1f} GiB   "
                f"evaluate {speed.evaluate:6.0f} images/s {speed.evaluate_peak:5.1f} GiB{only}",
                flush=True,
            )


if __name__ == "__main__":
    main()

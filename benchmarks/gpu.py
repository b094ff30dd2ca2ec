"""What the framework costs on a GPU: training and validation through the Trainer, against a plain PyTorch loop.

The paper's three backbones at 224x224 in bf16, batches of 128 from pinned memory, so that no loader is measured. The
plain loop only classifies in validation; through the Trainer the boxes of 100 CAM thresholds are measured as well.
The Trainer's kernels are repeatable (``trainer.deterministic=warn``), so the plain loop is timed with such kernels too.

    python benchmarks/gpu.py [BACKBONE ...]
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from camloc.attribution.cam import cam
from camloc.attribution.score_map import score_map
from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.contract import Backbone
from camloc.backbones.googlenet import googlenet_gap
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

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "alexnet_gap": alexnet_gap,
    "vgg_gap": vgg_gap,
    "googlenet_gap": googlenet_gap,
}
ROUNDS = 4
BATCH_SIZE = 128
BATCHES = 30


class Data(NamedTuple):
    """Batches in pinned memory."""

    train: DataLoader[TrainBatch]
    val: DataLoader[EvalBatch]


class Speed(NamedTuple):
    """What an epoch took."""

    train: float
    """Images per second."""
    val: float
    """Images per second."""
    peak: float
    """GiB that tensors held at most."""


def data() -> Data:
    """Return the batches, each of its own images."""
    datamodule = Textures(num_val=BATCH_SIZE, image_size=224, input_size=224, batch_size=BATCH_SIZE, num_workers=0)
    [batch] = datamodule.val_dataloader()
    images = [batch.images.roll(7 * shift, dims=-1).pin_memory() for shift in range(BATCHES)]
    target = batch.truth.target.pin_memory()
    training = [TrainBatch(each, target) for each in images]
    validation = [EvalBatch(each, batch.truth) for each in images]
    return Data(_loader(training), _loader(validation))


def _loader(batches: list[Any]) -> DataLoader[Any]:
    return DataLoader(cast(Dataset[Any], batches), batch_size=None, collate_fn=_unchanged)


def _unchanged(batch: Any) -> Any:  # noqa: ANN401 - whatever a batch is
    return batch


def model(backbone: str, *, compiled: bool) -> TrainingModule:
    """Return a fresh network, its weights drawn from one seed."""
    seed_everything(0, verbose=False)
    predictor = NetworkPredictor(BACKBONES[backbone](num_classes=1000), cam, channels_last=True)
    if compiled:
        predictor.backbone.compile()  # type: ignore[attr-defined] # of nn.Module
    protocols = {"classification": ClassificationError(), "localization": LocalizationError()}
    measures = Measures(protocols, score_map, {}, largest_component_boxes, 0.5)
    optimizer = partial(torch.optim.SGD, lr=0.001, momentum=0.9, fused=True)
    return TrainingModule(predictor, measures, CrossEntropy([1] * 1000), optimizer)


def plain(module: TrainingModule, batches: Data, *, repeatable: bool) -> Speed:
    """Time the loop that people write by hand."""
    torch.use_deterministic_algorithms(mode=repeatable, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # as camloc's trainer has it
    module.cuda()
    optimizer = module.new_optimizer()
    autocast = partial(torch.autocast, "cuda", torch.bfloat16)

    def train() -> None:
        module.train()
        for batch in batches.train:
            images, target = batch.images.cuda(non_blocking=True), batch.target.cuda(non_blocking=True)
            with autocast():
                loss = cross_entropy(module.predictor(images), target)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()

    def validate() -> None:
        module.eval()
        wrong = torch.zeros((), device="cuda")
        with torch.inference_mode(), autocast():
            for batch in batches.val:
                logits = module.predictor(batch.images.cuda(non_blocking=True))
                wrong += (logits.argmax(dim=1) != batch.truth.target.cuda(non_blocking=True)).sum()
        wrong.item()

    times = [(_seconds(train), _seconds(validate)) for _ in range(ROUNDS)]
    return _speed(times)


class Clock(Callback):
    """Times what the plain loop does: the batches of an epoch, and those of its validation."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []
        self.trained = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self.started = _now()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End of the training batches."""
        self.trained = _now() - self.started
        self.started = _now()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End of the validation batches."""
        self.times.append((self.trained, _now() - self.started))


def framework(module: TrainingModule, batches: Data) -> Speed:
    """Time epochs through the Trainer as ``trainer=gpu`` configures it."""
    clock = Clock()
    trainer = Trainer(
        callbacks=[clock],
        accelerator="gpu",
        devices=1,
        precision="bf16-mixed",
        deterministic="warn",
        max_epochs=ROUNDS,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches.train, batches.val)
    return _speed(clock.times)


def _now() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _seconds(epoch: Callable[[], None]) -> float:
    started = _now()
    epoch()
    return _now() - started


def _speed(times: list[tuple[float, float]]) -> Speed:
    images = BATCH_SIZE * BATCHES
    train, val = (statistics.median(values) for values in zip(*times[1:], strict=True))  # the first one warms up
    return Speed(images / train, images / val, torch.cuda.max_memory_allocated() / 2**30)


def main(backbones: list[str]) -> None:
    """Measure and print."""
    batches = data()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16, batches of {BATCH_SIZE}, 224x224")
    loops: dict[str, Callable[[TrainingModule, Data], Speed]] = {
        "plain": partial(plain, repeatable=False),
        "plain, repeatable": partial(plain, repeatable=True),
        "Trainer": framework,
    }
    for backbone in backbones or BACKBONES:
        for compiled in (False, True):
            for name, loop in loops.items():
                torch.compiler.reset()
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                speed = loop(model(backbone, compiled=compiled), batches)
                print(
                    f"{backbone:14}{'compiled' if compiled else '':10}{name:20}train {speed.train:6.0f}   "
                    f"validate {speed.val:6.0f} images per second   peak {speed.peak:4.1f} GiB",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])

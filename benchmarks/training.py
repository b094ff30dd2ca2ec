"""What the framework costs a training epoch: train through the Trainer, and in a bare PyTorch loop.

The same model, batches, optimizer and loss, on the CPU; rounds alternate, so that a busy machine slows both alike.

    python benchmarks/training.py
"""

import statistics
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from torch.nn.functional import cross_entropy

from camloc.attribution.cam import cam
from camloc.attribution.score_map import score_map
from camloc.backbones.alexnet import alexnet_gap
from camloc.data.datasets.textures import Textures
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.training import TrainingModule
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.localization_error import LocalizationError
from camloc.objectives.classification import CrossEntropy
from camloc.predictors.network import NetworkPredictor

ROUNDS = 5
IMAGES = 640


def data() -> Textures:
    """Return the data both train on."""
    return Textures(
        num_train=IMAGES, num_val=1, num_test=1, image_size=128, input_size=128, batch_size=32, num_workers=0
    )


def model() -> TrainingModule:
    """Return a fresh network, its weights drawn from one seed."""
    seed_everything(0, verbose=False)
    optimizer = partial(torch.optim.SGD, lr=0.02, momentum=0.9)
    predictor = NetworkPredictor(alexnet_gap(num_classes=9), cam)
    measures = Measures({"localization": LocalizationError()}, score_map, {}, largest_component_boxes, 0.5)
    return TrainingModule(predictor, measures, CrossEntropy([1] * 9), optimizer)


def bare(module: TrainingModule, datamodule: Textures) -> float:
    """Time an epoch of the loop that everybody writes."""
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    module.train()
    loader = datamodule.train_dataloader()
    started = time.perf_counter()
    for batch in loader:
        optimizer.zero_grad()
        loss = cross_entropy(module.predictor(batch.images), batch.target)
        loss.backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()
    return time.perf_counter() - started


class Clock(Callback):
    """Times the epoch alone, as the bare loop does: making a Trainer is no part of it."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self.started


def framework(module: TrainingModule, datamodule: Textures, folder: str) -> float:
    """Time an epoch through the Trainer, without validation."""
    clock = Clock()
    trainer = Trainer(
        callbacks=[clock],
        accelerator="cpu",
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule)
    return clock.seconds


def main() -> None:
    """Measure and print."""
    datamodule = data()
    datamodule.split("train")
    for index in range(IMAGES):
        datamodule.split("train").image(index)  # made once, kept in memory
    bare(model(), datamodule)
    times: tuple[list[float], list[float]] = ([], [])
    with TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            times[0].append(bare(model(), datamodule))
            times[1].append(framework(model(), data_with(datamodule), str(Path(folder))))
    plain, ours = map(statistics.median, times)
    print(f"AlexNet-GAP, 128x128, {IMAGES} images, torch threads={torch.get_num_threads()}")
    print(f"bare loop  {1000 * plain / IMAGES:6.2f} ms per image")
    print(f"Trainer    {1000 * ours / IMAGES:6.2f} ms per image   {ours / plain:.3f}x")


def data_with(datamodule: Textures) -> Textures:
    """Return fresh loaders over the same images; a data module stays with the trainer it met."""
    fresh = data()
    fresh._splits = datamodule._splits  # noqa: SLF001 - so that no image is drawn twice
    return fresh


if __name__ == "__main__":
    main()

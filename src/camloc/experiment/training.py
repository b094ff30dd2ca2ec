"""The LightningModule that trains a backbone, on image labels as a rule, and measures its localization every epoch."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from camloc.backbones.contract import BoxBackbone
from camloc.data.loading.sample import BoxedTrainBatch, TrainBatch
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.measuring.module import EvaluationModule
from camloc.objectives.contract import Boxed, BoxedObjective, Labelled, Losses, Objective
from camloc.optimization import parameter_groups, scale_learning_rates
from camloc.predictors.box_network import BoxPredictor
from camloc.predictors.network import NetworkPredictor


class SchedulerFactory(Protocol):
    """An optimizer and the number of its steps to a schedule."""

    def __call__(self, optimizer: Optimizer, *, total_steps: int) -> LRScheduler:
        """Return a scheduler that is stepped after every optimizer step."""


class TrainingModule(EvaluationModule):
    """An objective's losses in training; every protocol's numbers in validation and test.

    Args:
        predictor: The network to be trained, with its attribution method, or a box head where it trains with boxes.
        measures: What is measured.
        objective: Losses of a batch.
        optimizer: Factory over parameter groups.
        scheduler: Factory over the optimizer and ``total_steps``; null keeps the learning rate.
        head_lr_multiplier: How many times faster the new layers learn than the trunk.
    """

    predictor: NetworkPredictor | BoxPredictor

    def __init__(
        self,
        predictor: NetworkPredictor | BoxPredictor,
        measures: Measures,
        objective: Objective | BoxedObjective,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        scheduler: SchedulerFactory | None = None,
        head_lr_multiplier: float = 1.0,
    ) -> None:
        super().__init__(predictor, measures)
        self.objective = objective
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.head_lr_multiplier = head_lr_multiplier

    def training_step(self, batch: TrainBatch | BoxedTrainBatch) -> Tensor:
        """Return the sum of the objective's losses on a batch, which carries boxes for full supervision alone."""
        losses = self._losses(batch)
        loss = _sum(losses.by_name)
        logits = losses.logits.detach()
        options: dict[str, Any] = {
            "on_step": False,
            "on_epoch": True,
            "sync_dist": True,
            "batch_size": len(batch.target),
        }
        self.log("train/loss", loss, prog_bar=True, **options)
        if len(losses.by_name) > 1:
            self.log_dict({f"train/loss/{name}": value for name, value in losses.by_name.items()}, **options)
        if batch.target.ndim == 1:
            self.log(
                "train/classification/top1_error", (logits.argmax(dim=1) != batch.target).float().mean(), **options
            )
        else:  # the share of wrong decisions, of all classes of all images, at probability 0.5
            self.log("train/classification/hamming_loss", ((logits > 0) != batch.target).float().mean(), **options)
        return loss

    def _losses(self, batch: TrainBatch | BoxedTrainBatch) -> Losses:
        inputs, backbone, objective = self.predictor.normalize(batch.images), self.predictor.backbone, self.objective
        if isinstance(batch, BoxedTrainBatch):
            return cast(BoxedObjective, objective)(
                cast(BoxBackbone, backbone), Boxed(inputs, batch.target, batch.boxes)
            )
        return cast(Objective, objective)(backbone, Labelled(inputs, batch.target))

    def new_optimizer(self) -> Optimizer:
        """Build the optimizer as it is configured, at its highest learning rates."""
        optimizer = self.optimizer(
            parameter_groups(self, self.predictor.backbone.new_layers(), self.head_lr_multiplier)
        )
        scale_learning_rates(optimizer)
        return optimizer

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig | Optimizer:
        """Build the optimizer over parameter groups, and its schedule over optimizer steps."""
        optimizer = self.new_optimizer()
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    first, *others = losses.values()
    for other in others:
        first = first + other
    return first

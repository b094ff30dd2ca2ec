"""The LightningModule that trains a backbone, on image labels as a rule, and measures its localization every epoch."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from camloc.backbones.contract import Backbone, BoxBackbone
from camloc.backbones.frozen import FrozenBackbone
from camloc.data.features import FeatureFile
from camloc.data.loading.sample import BoxedTrainBatch, EvalBatch, TrainBatch
from camloc.data.loading.views import FeatureBatch
from camloc.experiment.measuring.measures import Measures
from camloc.experiment.measuring.module import EvaluationModule
from camloc.objectives.contract import Boxed, BoxedObjective, Labelled, Losses, Objective
from camloc.optimization import parameter_groups, scale_learning_rates
from camloc.predictors.box_network import BoxPredictor
from camloc.predictors.contract import Batch
from camloc.predictors.network import NetworkPredictor
from camloc.records import Prediction


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
        self.frozen: FrozenBackbone | None = None
        """What objectives are handed where the trunk is not trained."""
        self.val_features: FeatureFile | None = None
        """Kept features of ``val``, on which a training watches itself."""

    def training_step(self, batch: TrainBatch | BoxedTrainBatch | FeatureBatch) -> Tensor:
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

    def _losses(self, batch: TrainBatch | BoxedTrainBatch | FeatureBatch) -> Losses:
        backbone: Backbone = self.predictor.backbone if self.frozen is None else cast(Backbone, self.frozen)
        objective = self.objective
        if isinstance(batch, FeatureBatch):
            return cast(Objective, objective)(backbone, Labelled(batch.rows, batch.target))
        inputs = self.predictor.normalize(batch.images)
        if isinstance(batch, BoxedTrainBatch):
            return cast(BoxedObjective, objective)(
                cast(BoxBackbone, backbone), Boxed(inputs, batch.target, batch.boxes)
            )
        return cast(Objective, objective)(backbone, Labelled(inputs, batch.target))

    def predict_batch(self, batch: Batch, num_ranked: int) -> Prediction:
        """Predict on a batch to be counted; while a frozen network is trained, on kept features of ``val``."""
        if self.val_features is None or not self._is_watched_only:
            return super().predict_batch(batch, num_ranked)
        num_rows = self.val_features.shape[0]
        rows = self.val_features.take(position % num_rows for position in batch.truth.positions)
        predictor = cast(NetworkPredictor, self.predictor)
        return predictor.attribute(
            cast(Backbone, self.frozen), rows.to(self.device), cast(EvalBatch, batch), num_ranked=num_ranked
        )

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

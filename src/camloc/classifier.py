"""The LightningModule: a CAM network trained on image labels, its localization measured on the side."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from camloc.backbones.gap import GapBackbone
from camloc.data.loading.sample import EvalBatch, Prediction, TopPredictions, TrainBatch
from camloc.evaluation import EvaluationModule, ScoreMapFunction, SplitMetrics
from camloc.metrics.localization_error import LocalizationError
from camloc.optimization import parameter_groups, scale_learning_rates

PIXEL_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's images, RGB in [0,1]: what torchvision's weights were trained with."""
PIXEL_STD = (0.229, 0.224, 0.225)
"""Their standard deviation."""

NUM_PREDICTIONS = 5
"""Classes that a prediction may name, as ILSVRC allows."""


class SchedulerFactory(Protocol):
    """An optimizer and the number of its steps to a schedule."""

    def __call__(self, optimizer: Optimizer, *, total_steps: int) -> LRScheduler:
        """Return a scheduler that is stepped after every optimizer step."""


class Classifier(EvaluationModule):
    """Classifier loss in training; classification and localization errors in validation and test.

    Args:
        backbone: A CAM network.
        cam: ``(feature_maps, class_weights, target)`` to (B,h,w), see ``camloc.attribution.cam``.
        score_map: Raw CAMs to score maps.
        localization: Metric of the largest component's box.
        also: Further metrics by name, see :class:`camloc.evaluation.SplitMetrics`.
        optimizer: Factory over parameter groups; null for a classifier that is only evaluated.
        scheduler: Factory over the optimizer and ``total_steps``; null keeps the learning rate.
        head_lr_multiplier: How many times faster the new layers learn than the trunk.
        channels_last: Memory format that convolutions prefer on GPUs with mixed precision.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        backbone: GapBackbone,
        cam: Callable[[Tensor, Tensor, Tensor], Tensor],
        score_map: ScoreMapFunction,
        localization: LocalizationError,
        also: Mapping[str, Metric] | None = None,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        scheduler: SchedulerFactory | None = None,
        head_lr_multiplier: float = 1.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(score_map, localization, also)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone = backbone.to(memory_format=self.memory_format)
        self.cam = cam
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.head_lr_multiplier = head_lr_multiplier
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1) * 255, persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """Take (B,3,H,W) uint8 images on the device to the network's input."""
        ordered = images.contiguous(memory_format=self.memory_format)  # as bytes: a quarter of what floats would move
        return (ordered.float() - self.pixel_mean) / self.pixel_std

    def forward(self, images: Tensor) -> Tensor:
        """Classify (B,3,H,W) uint8 images into (B,C) logits."""
        logits: Tensor = self.backbone(self.normalize(images))
        return logits

    def training_step(self, batch: TrainBatch) -> Tensor:
        """Return the cross entropy of a batch that carries no boxes."""
        logits = self(batch.images)
        loss = cross_entropy(logits, batch.target)
        wrong = (logits.detach().argmax(dim=1) != batch.target).float().mean()
        options: dict[str, Any] = {
            "on_step": False,
            "on_epoch": True,
            "sync_dist": True,
            "batch_size": len(batch.target),
        }
        self.log("train/loss", loss, prog_bar=True, **options)
        self.log("train/classification/top1_error", wrong, **options)
        return loss

    def predict_maps(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify (B,3,H,W) uint8 images and map the evidence for (B,) classes.

        Returns:
            ``(logits, cam, feature_maps)``.
        """
        feature_maps = self.backbone.forward_features(self.normalize(images))
        logits = self.backbone.forward_head(feature_maps)
        return logits, self.cam(feature_maps, self.backbone.class_weights, target), feature_maps

    def prediction(self, batch: EvalBatch, prediction: Prediction) -> TopPredictions:  # noqa: ARG002 - other modules need the batch
        """Return the classes with the largest logits, five at most, with the map of each."""
        classes = prediction.logits.topk(min(NUM_PREDICTIONS, prediction.logits.shape[1])).indices
        feature_maps = prediction.feature_maps
        if feature_maps is None:
            raise ValueError("a prediction without feature maps is not this network's")
        weights = self.backbone.class_weights
        return TopPredictions(
            classes, torch.stack([self.cam(feature_maps, weights, prediction) for prediction in classes.T], dim=1)
        )

    def validation_step(self, batch: EvalBatch) -> Prediction:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that thresholds are chosen on."""
        return self._count_batch(batch, self.val_metrics)

    def test_step(self, batch: EvalBatch) -> Prediction:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that results are reported on."""
        return self._count_batch(batch, self.test_metrics)

    def _count_batch(self, batch: EvalBatch, metrics: SplitMetrics) -> Prediction:
        logits, cam, feature_maps = self.predict_maps(batch.images, batch.truth.target)
        return self.count(logits, cam, batch.truth, metrics)._replace(feature_maps=feature_maps)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig | Optimizer | None:
        """Build the optimizer over parameter groups, and its schedule over optimizer steps."""
        if self.optimizer is None:
            return None
        groups = parameter_groups(self.backbone, self.backbone.new_layers(), self.head_lr_multiplier)
        optimizer = self.optimizer(groups)
        scale_learning_rates(optimizer)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

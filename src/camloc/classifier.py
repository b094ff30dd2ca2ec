"""The LightningModule: a CAM network trained on image labels, its localization measured on the side."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Protocol

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from camloc.backbones.base import GapBackbone
from camloc.data.sample import EvalBatch, Prediction, TrainBatch
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.localization_error import LocalizationError
from camloc.optimization import parameter_groups, scale_learning_rates

PIXEL_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's pictures, RGB in [0,1]: what torchvision's weights were trained with."""
PIXEL_STD = (0.229, 0.224, 0.225)
"""Their standard deviation."""

PROGRESS_BAR = ("classification/top1_error", "localization/top1_error", "localization/gt_known_error")


class ScoreMapFunction(Protocol):
    """Raw CAMs to score maps, see ``camloc.cam.score_map``."""

    def __call__(self, cam: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (B,H,W) in [0,1] for a (B,h,w) cam."""


class SchedulerFactory(Protocol):
    """An optimizer and the number of its steps to a schedule."""

    def __call__(self, optimizer: Optimizer, *, total_steps: int) -> LRScheduler:
        """Return a scheduler that is stepped after every optimizer step."""


class Classifier(LightningModule):
    """Classifier loss in training; classification and localization errors in validation and test.

    Args:
        backbone: A CAM network.
        cam: ``(feature_maps, class_weights, target)`` to (B,h,w), see ``camloc.cam.cam``.
        score_map: Raw CAMs to score maps.
        localization: Metric that validation and test each get a copy of.
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
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        scheduler: SchedulerFactory | None = None,
        head_lr_multiplier: float = 1.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone = backbone.to(memory_format=self.memory_format)
        self.cam = cam
        self.score_map = score_map
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.head_lr_multiplier = head_lr_multiplier
        self.val_metrics = SplitMetrics(localization)
        self.test_metrics = SplitMetrics(localization)
        self.results: dict[str, dict[str, Tensor]] = {}
        """Everything the metrics of a split gave when it was last evaluated, by split, then by flat key."""
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1) * 255, persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """Take (B,3,H,W) uint8 images on the device to the network's input."""
        normalized = (images.float() - self.pixel_mean) / self.pixel_std
        return normalized.contiguous(memory_format=self.memory_format)

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

    def predict_maps(self, batch: EvalBatch) -> Prediction:
        """Classify a batch and map the evidence for the true class."""
        feature_maps = self.backbone.forward_features(self.normalize(batch.images))
        logits = self.backbone.forward_head(feature_maps)
        cam = self.cam(feature_maps, self.backbone.class_weights, batch.target)
        height, width = batch.images.shape[-2:]
        return Prediction(logits.float(), self.score_map(cam, (height, width)))

    def validation_step(self, batch: EvalBatch) -> Prediction:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that thresholds are chosen on."""
        return self._count(batch, self.val_metrics)

    def test_step(self, batch: EvalBatch) -> Prediction:  # type: ignore[override] # what callbacks are handed
        """Count a batch of the split that results are reported on."""
        return self._count(batch, self.test_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log the errors on ``val``."""
        self._conclude("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the errors on ``test``."""
        self._conclude("test", self.test_metrics)

    @property
    def cam_thresholds(self) -> list[float]:
        """(T,) ascending, where localization is measured."""
        return self.test_metrics.localization.cam_thresholds

    def test_threshold(self) -> float:
        """Return the threshold that test errors are reported at.

        Raises:
            ValueError: If none was fixed or chosen yet.
        """
        cam_threshold = self.test_metrics.localization.cam_threshold
        if cam_threshold is None:
            raise ValueError("no CAM threshold is chosen yet; validate first, or fix localization.cam_threshold")
        return cam_threshold

    def sweep(self, score_maps: Tensor) -> Tensor:
        """Return the (B,T,4) boxes of (B,H,W) score maps at every threshold."""
        return largest_component_boxes(score_maps, self.cam_thresholds)

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

    def _count(self, batch: EvalBatch, metrics: "SplitMetrics") -> Prediction:
        prediction = self.predict_maps(batch)
        metrics.update(batch, prediction)
        return prediction

    def _conclude(self, split: str, metrics: "SplitMetrics") -> None:
        self.results[split] = metrics.compute()
        metrics.reset()
        for name, value in self.results[split].items():
            if value.ndim == 0:
                # Counts are summed over processes already: every rank logs the same number.
                self.log(f"{split}/{name}", value.float(), prog_bar=name in PROGRESS_BAR)


class SplitMetrics(nn.Module):
    """All that is measured on one split."""

    def __init__(self, localization: LocalizationError) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.classification = ClassificationError()
        self.localization = deepcopy(localization)
        self.centred_box = CentredBoxError(iou_threshold=localization.iou_threshold)

    def update(self, batch: EvalBatch, prediction: Prediction) -> None:
        """Count a batch, leaving out the sampler's padding."""
        logits, score_maps = prediction
        counted = ~batch.is_padding
        if counted.any():
            self.loss.update(cross_entropy(logits, batch.target, reduction="none")[counted])
        self.classification.update(logits, batch.target, batch.is_padding)
        self.localization.update(logits, batch.target, score_maps, batch.gt_boxes, batch.is_padding)
        height, width = batch.images.shape[-2:]
        self.centred_box.update(batch.gt_boxes, (height, width), batch.is_padding)

    def compute(self) -> dict[str, Tensor]:
        """Return every number by flat key, the same on every rank."""
        baseline = self.centred_box.compute()
        return {
            "loss": self.loss.compute(),
            **{f"classification/{name}": value for name, value in self.classification.compute().items()},
            **{f"localization/{name}": value for name, value in self.localization.compute().items()},
            "localization/centred_box_gt_known_error": baseline["gt_known_error"],
            "localization/centred_box_scale": baseline["scale"],
        }

    def reset(self) -> None:
        """Forget all counts."""
        for metric in self.children():
            metric.reset()  # type: ignore[operator] # all children are torchmetrics

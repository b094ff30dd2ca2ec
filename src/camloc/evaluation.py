"""Measuring predictions, wherever they come from: what a network and saved maps have in common."""

import inspect
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Protocol

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric, Metric

from camloc.boxes import from_window, half_open_to_inclusive
from camloc.data.loading.sample import Prediction, TopPredictions, Truth
from camloc.localization.threshold_sweep import largest_component_boxes
from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.functional.max_box_acc import wsolevaluation_boxes
from camloc.metrics.localization_error import LocalizationError

PROGRESS_BAR = ("classification/top1_error", "localization/top1_error", "localization/gt_known_error")
WITHOUT_VAL = 0.2
"""CAM threshold where ``val`` has no boxes to choose one on: the paper's."""


class ScoreMapFunction(Protocol):
    """Raw CAMs to score maps, see ``camloc.attribution.score_map``."""

    def __call__(self, cam: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (B,H,W) in [0,1] for a (B,h,w) cam."""


class EvaluationModule(LightningModule):
    """Count predictions on ``val`` and ``test``: every protocol from one pass over the score maps.

    Args:
        score_map: Raw CAMs to score maps.
        localization: Metric of the largest component's box, of which each split gets a copy.
        also: Further metrics by name; each is handed what the arguments of its ``update`` ask for, see
            :class:`SplitMetrics`.
    """

    def __init__(
        self, score_map: ScoreMapFunction, localization: LocalizationError, also: Mapping[str, Metric] | None = None
    ) -> None:
        super().__init__()
        self.score_map = score_map
        self.val_metrics = SplitMetrics(localization, also or {})
        self.test_metrics = SplitMetrics(localization, also or {})
        self.results: dict[str, dict[str, Tensor]] = {}
        """Everything the metrics of a split gave when it was last evaluated, by split, then by flat key."""

    @abstractmethod
    def prediction(self, batch: Any, prediction: Prediction) -> TopPredictions:  # noqa: ANN401 - each module has its own batch
        """Return the classes with the largest logits, five at most, with the map of each."""

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

    def image_counts(self) -> dict[str, Tensor]:
        """Return what each image of the last test batch added to the protocols beside, see ``SplitMetrics``."""
        return self.test_metrics.image_counts()

    @property
    def measured_beside(self) -> list[str]:
        """Names of the further metrics that the last test counted something for."""
        return self.test_metrics.counted

    def count(self, logits: Tensor, cam: Tensor, truth: Truth, metrics: "SplitMetrics") -> Prediction:
        """Turn a batch's logits and maps into boxes, and count them."""
        score_maps = self.score_map(cam, truth.map_size)
        boxes = largest_component_boxes(score_maps.cpu(), metrics.localization.cam_thresholds)
        prediction = Prediction(logits.float(), cam, score_maps, boxes)
        metrics.update(truth, prediction)
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log the errors on ``val``."""
        self._conclude("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the errors on ``test``."""
        self._conclude("test", self.test_metrics)

    def _conclude(self, split: str, metrics: "SplitMetrics") -> None:
        self.results[split] = metrics.compute()
        metrics.reset()
        for name, value in self.results[split].items():
            if value.ndim == 0:
                # Counts are summed over processes already: every rank logs the same number.
                self.log(f"{split}/{name}", value.float(), prog_bar=name in PROGRESS_BAR)


class SplitMetrics(nn.Module):
    """All that is measured on one split.

    Args:
        localization: Metric of the largest component's box.
        also: Metrics by name. ``update`` is called with those of these that it names, and not at all where the split
            or the moment cannot give one that it requires: ``logits`` (B,C), ``target`` (B,), ``score_maps`` (B,H,W),
            ``boxes`` (B,T,4) at every threshold, ``gt_boxes`` B times (M_i,4) in pixels of the map, ``reported_boxes``
            (B,4) at the reported threshold and ``image_boxes`` B times (M_i,4) in pixels of the image,
            ``resized_boxes`` as ``wsolevaluation_boxes`` gives them, ``masks`` and ``ignore`` (B,H,W), ``positions``
            and ``is_padding``.
    """

    def __init__(self, localization: LocalizationError, also: Mapping[str, Metric]) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.classification = ClassificationError()
        self.localization = deepcopy(localization)
        self.centred_box = CentredBoxError(iou_threshold=localization.iou_threshold)
        self.also = nn.ModuleDict({name: deepcopy(metric) for name, metric in also.items()})
        self.counted: list[str] = []
        """Names among ``also`` that counted something when last computed."""
        self._arguments = {name: inspect.signature(metric.update).parameters for name, metric in also.items()}

    def update(self, truth: Truth, prediction: Prediction) -> None:
        """Count a batch, leaving out the sampler's padding."""
        logits, is_padding = prediction.logits, truth.is_padding
        counted = ~is_padding
        if counted.any():
            self.loss.update(cross_entropy(logits, truth.target, reduction="none")[counted])
        self.classification.update(logits, truth.target, is_padding)
        if truth.has_boxes:
            self.localization.update(
                logits, truth.target, prediction.score_maps, truth.gt_boxes, is_padding, prediction.boxes
            )
            self.centred_box.update(truth.gt_boxes, truth.map_size, is_padding)
        if not self.also:
            return
        evidence = self._evidence(truth, prediction)
        for name, metric in self.also.items():
            arguments = self._arguments[name]
            required = {key for key, parameter in arguments.items() if parameter.default is parameter.empty}
            if required <= evidence.keys():
                metric.update(**{key: value for key, value in evidence.items() if key in arguments})  # type: ignore[operator] # a Metric

    def compute(self, *, counted_only: bool = True) -> dict[str, Tensor]:
        """Return every number by flat key, the same on every rank; without those of metrics that counted nothing."""
        metrics = {"localization": self.localization, "centred_box": self.centred_box, **self.also}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*called before the ``update`` method")  # nothing to measure it against
            numbers = {name: metric.compute() for name, metric in metrics.items()}  # type: ignore[operator] # a Metric
        found = {
            "loss": self.loss.compute(),
            **{f"classification/{name}": value for name, value in self.classification.compute().items()},
        }
        counted = [n for n, v in numbers.items() if all(v[key] > 0 for key in v if key.endswith("num_images"))]
        self.counted = [name for name in counted if name in self.also]
        for name, values in numbers.items():
            if name in counted or not counted_only:
                prefix = "centred_box_" if name == "centred_box" else ""
                found |= {f"localization/{prefix}{key}": value for key, value in values.items()}
        return found

    def _evidence(self, truth: Truth, prediction: Prediction) -> dict[str, Any]:
        evidence: dict[str, Any] = {
            "logits": prediction.logits,
            "target": truth.target,
            "score_maps": prediction.score_maps,
            "boxes": prediction.boxes,
            "positions": truth.positions,
            "is_padding": truth.is_padding,
        }
        if truth.has_boxes:
            evidence |= {"gt_boxes": truth.gt_boxes, "image_boxes": truth.image_boxes}
            if any("resized_boxes" in arguments for arguments in self._arguments.values()):
                evidence["resized_boxes"] = _resized_boxes(truth)
            if self.localization.cam_threshold is not None:
                at = self.localization.cam_thresholds.index(self.localization.cam_threshold)
                reported = prediction.boxes[:, at].double()
                placed = [from_window(b, w, truth.map_size) for b, w in zip(reported, truth.windows, strict=True)]
                evidence["reported_boxes"] = torch.stack(placed)
        if truth.masks is not None:
            evidence |= {"masks": truth.masks[:, 0], "ignore": truth.masks[:, 1]}
        return evidence

    def image_counts(self) -> dict[str, Tensor]:
        """Return the ``image_counts`` of the metrics that keep them: (B,...) for the images last counted."""
        return {name: metric.image_counts for name, metric in self.also.items() if hasattr(metric, "image_counts")}  # type: ignore[misc] # a Tensor

    def reset(self) -> None:
        """Forget all counts."""
        for metric in (self.loss, self.classification, self.localization, self.centred_box, *self.also.values()):
            metric.reset()  # type: ignore[operator] # all children are torchmetrics


def _resized_boxes(truth: Truth) -> list[Tensor]:
    """True boxes in pixels of the maps as wsolevaluation carries them there, from inclusive whole pixels.

    Raises:
        ValueError: If a map covers only a part of its image, which that evaluator does not know.
    """
    resized = []
    for boxes, (height, width), window in zip(truth.image_boxes, truth.image_sizes, truth.windows, strict=True):
        if window != (0, 0, width, height):
            raise ValueError("MaxBoxAcc is defined on whole images; set datamodule.eval_transform=warp")
        whole = boxes.cpu().round().to(torch.int64)
        resized.append(wsolevaluation_boxes(half_open_to_inclusive(whole), (height, width), truth.map_size))
    return resized

"""What Weights & Biases shows of a training besides its numbers: threshold curves, images, the best epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from camloc.boxes import area, iou
from camloc.callbacks.watched import datamodule_of, predicted_class
from camloc.data.loading.sample import EvalBatch, collate_eval
from camloc.records import Prediction
from camloc.report.gallery_tile import gallery_caption
from camloc.report.heatmap import overlay_heatmap

CURVE, IMAGES, HEATMAPS = "val_curve/gt_known_error", "val_images/boxes", "val_images/heatmaps"
"""Keys of the panels; W&B makes a section of what stands before the slash."""

MAX_CURVE_POINTS = 100


class ValResult(Protocol):
    """What validating gave."""

    @property
    def numbers(self) -> Mapping[str, Tensor]:
        """By key below the split."""


class ShownProtocols(Protocol):
    """What says which boxes people are shown."""

    @property
    def shown_thresholds(self) -> Sequence[float]:
        """(T,) ascending CAM thresholds of the boxes."""


class Watched(Protocol):
    """A network in training."""

    results: Mapping[str, ValResult]
    val_protocols: ShownProtocols

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def predict(self, batch: Any, protocols: Any) -> Prediction:  # noqa: ANN401 - the module's own
        """Predict with score maps and boxes at the shown thresholds; nothing is counted."""

    def shown_curve(self) -> tuple[Sequence[float], Tensor] | None:
        """Return the IoU thresholds (I,) and the GT-known errors (I,T) of the last validation; None without boxes."""

    def shown_threshold(self) -> float | None:
        """Return the CAM threshold of the boxes that people are shown; None where there is none."""


class WandbPanels(Callback):
    """After every epoch, send W&B a threshold curve and images; does nothing without a ``WandbLogger``.

    ``val_curve/gt_known_error`` is the GT-known error against the CAM threshold. ``val_images/boxes`` and
    ``val_images/heatmaps`` show some images of ``val`` as the network sees them, the same ones in every epoch and
    run, plain and under the true class's heatmap. Both have the true boxes and the map's box as layers to switch on
    and off. A network that predicts boxes itself has neither curve nor heatmaps. The summary holds ``best/epoch`` and
    the best value of the monitored number.

    The first process evaluates these images by itself.

    Args:
        count: How many images.
        iou_threshold: From which IoU on a caption calls a box a hit, a fraction.
    """

    def __init__(self, iou_threshold: float, count: Annotated[int, Ge(1)] = 8) -> None:
        if count < 1:
            raise ValueError(
                f"callbacks.wandb_panels.count must be at least 1, got {count}; "
                "callbacks.wandb_panels=null leaves the panels out"
            )
        self.count = count
        self.iou_threshold = iou_threshold
        self._batch: EvalBatch | None = None
        self._best: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training must know."""
        return dict(self._best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._best = dict(state_dict)

    def on_validation_end(self, trainer: Trainer, pl_module: Watched) -> None:  # type: ignore[override] # a classifier
        """Log an epoch's panels."""
        logger = next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
        is_epoch = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if logger is None or not is_epoch or not trainer.is_global_zero:
            return
        panels: dict[str, Any] = {"epoch": trainer.current_epoch, **self._images(trainer, pl_module)}
        if (curve := pl_module.shown_curve()) is not None:
            panels[CURVE] = threshold_chart(pl_module.val_protocols.shown_thresholds, *curve)
        # One less: Lightning's own rows count the steps from 0.
        logger.log_metrics(panels, step=trainer.global_step - 1)
        self._summarize_best(trainer, logger)

    def _summarize_best(self, trainer: Trainer, logger: WandbLogger) -> None:
        monitored = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
        for checkpoint in monitored:
            key, value = f"best/{checkpoint.monitor}", trainer.callback_metrics[str(checkpoint.monitor)].item()
            sign = 1 if checkpoint.mode == "min" else -1
            # Of equally good epochs the later, as the checkpoint.
            if not math.isnan(value) and (key not in self._best or sign * value <= sign * self._best[key]):
                self._best = {key: value, "best/epoch": trainer.current_epoch}
        # Also when it was an earlier epoch: resumed offline, a run goes on in another file.
        logger.experiment.summary.update(self._best)

    def _images(self, trainer: Trainer, module: Watched) -> dict[str, list[Any]]:
        import wandb  # noqa: PLC0415 - only where it is logged to

        batch = self._fixed_batch(trainer)
        images, truth = batch
        on_device = EvalBatch(images.to(module.device), truth._replace(target=truth.target.to(module.device)))
        with trainer.precision_plugin.forward_context():
            prediction = module.predict(on_device, module.val_protocols)
        if prediction.boxes is None or prediction.logits is None:
            raise ValueError("the panels need logits and boxes; callbacks.wandb_panels=null leaves them out")
        threshold = module.shown_threshold()
        at = 0 if threshold is None else list(module.val_protocols.shown_thresholds).index(threshold)
        logits, boxes = prediction.logits, prediction.boxes[:, at].float()
        score_maps = None if prediction.score_maps is None else prediction.score_maps.float().cpu()
        names = datamodule_of(trainer).class_names
        # Every image brings all labels: W&B keeps one list per key, the last one it is given.
        pairs = list(zip(truth.pairs.image_index.tolist(), truth.pairs.classes.tolist(), strict=True))
        class_labels = {target: names[target] for _, target in pairs}
        panels: dict[str, list[Any]] = {IMAGES: []} if score_maps is None else {IMAGES: [], HEATMAPS: []}
        for pair, (index, target) in enumerate(pairs):
            gt_boxes, box = truth.gt_boxes[pair], boxes[pair]
            overlap = float(iou(box[None], gt_boxes).max()) if len(gt_boxes) else None
            predicted = names[predicted_class(logits[index], truth.target[index], target)]
            caption = gallery_caption(names[target], predicted, box, overlap, self.iou_threshold)
            scores = {} if overlap is None else {"IoU": overlap}
            found = {
                "ground_truth": box_data(gt_boxes, truth.map_size, target, names[target], {}),
                "prediction": box_data(box[None], truth.map_size, target, f"for {names[target]}", scores),
            }
            layers = {name: {"box_data": data, "class_labels": class_labels} for name, data in found.items()}
            text = f"{truth.image_ids[index]}: {caption}"
            shown = [images[index].permute(1, 2, 0).numpy()]
            if score_maps is not None:
                shown.append(overlay_heatmap(images[index], score_maps[pair]))
            for key, rgb in zip(panels, shown, strict=True):
                panels[key].append(wandb.Image(rgb, caption=text, boxes=layers))
        return panels

    def _fixed_batch(self, trainer: Trainer) -> EvalBatch:
        if self._batch is None:
            dataset: Any = trainer.val_dataloaders.dataset  # type: ignore[union-attr] # one loader, of the whole split
            num_images = len(datamodule_of(trainer).split("val"))
            # With a seed of their own, as the gallery's: evenly spaced ones would meet the same few classes.
            order = torch.randperm(num_images, generator=torch.Generator().manual_seed(0))
            self._batch = collate_eval([dataset[position] for position in order[: self.count].tolist()])
        return self._batch


def threshold_chart(cam_thresholds: Sequence[float], iou_thresholds: Sequence[float], by_iou: Tensor) -> Any:  # noqa: ANN401 - W&B's, imported late
    """Plot errors against the CAM threshold for W&B, at most 100 points a line.

    Args:
        cam_thresholds: (T,) ascending.
        iou_thresholds: (I,) a line each.
        by_iou: (I,T) GT-known errors, fractions.

    Returns:
        The chart, with its table of points.
    """
    import wandb  # noqa: PLC0415 - only where it is logged to

    kept = slice(None, None, math.ceil(len(cam_thresholds) / MAX_CURVE_POINTS))
    return wandb.plot.line_series(
        xs=list(cam_thresholds[kept]),
        ys=by_iou[:, kept].tolist(),
        keys=[f"IoU {threshold:g}" for threshold in iou_thresholds],
        title="GT-known error on val against the CAM threshold",
        xname="CAM threshold",
    )


def box_data(
    boxes: Tensor, size: tuple[int, int], class_id: int, caption: str, scores: dict[str, float]
) -> list[dict[str, Any]]:
    """Write boxes of one image as W&B reads them.

    Args:
        boxes: (N,4) half-open xyxy pixels; parts beyond the image are cut off, boxes without area left out.
        size: ``(height, width)`` of the image.
        class_id: Of all of them.
        caption: The same.
        scores: By name, to filter boxes by.

    Example:
        >>> found = box_data(torch.tensor([[-4.0, 2.0, 8.0, 6.0], [0.0, 0.0, 0.0, 0.0]]), (10, 10), 3, "tench", {})
        >>> [box["position"] for box in found]
        [{'minX': 0.0, 'minY': 2.0, 'maxX': 8.0, 'maxY': 6.0}]
    """
    height, width = size
    inside = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return [
        {
            "position": dict(zip(("minX", "minY", "maxX", "maxY"), corners, strict=True)),
            "domain": "pixel",
            "class_id": class_id,
            "box_caption": caption,
            "scores": scores,
        }
        for corners in inside[area(inside) > 0].tolist()
    ]

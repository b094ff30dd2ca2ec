"""What Weights & Biases shows of a training beside its numbers: threshold curves, images, the best epoch."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from camloc.boxes import area, iou
from camloc.callbacks.localizer import Localizer
from camloc.data.loading.sample import EvalBatch, collate_eval
from camloc.report.drawing import gallery_caption, overlay_heatmap

CURVE, IMAGES, HEATMAPS = "val_curve/gt_known_error", "val_images/boxes", "val_images/heatmaps"
"""Keys of the panels; W&B makes a section of what stands before the slash."""

MAX_CURVE_POINTS = 100
WITHOUT_BOXES = 0.2
"""CAM threshold of the boxes shown where ``val`` has no true ones to choose it on: the paper's."""


class Watched(Localizer, Protocol):
    """A classifier in training."""

    results: dict[str, dict[str, Tensor]]
    val_metrics: Any

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def predict_maps(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``(logits, cam, feature_maps)``."""


class WandbPanels(Callback):
    """Send W&B, after every epoch, what numbers do not show; nothing without a ``WandbLogger``.

    ``val_curve/gt_known_error`` is the GT-known error against the CAM threshold. ``val_images/boxes`` and
    ``val_images/heatmaps`` are some images of ``val`` as the network sees them, the same ones in every epoch and
    run, bare and under the true class's heatmap, both with the true boxes and the box of that map to switch on and
    off. The summary holds ``best/epoch`` and the least value of the monitored error.

    The first process alone evaluates these images, whichever processes they were dealt to.

    Args:
        count: How many images.
        iou_threshold: From which IoU on a caption calls a box a hit, a fraction.
    """

    def __init__(self, count: int = 8, iou_threshold: float = 0.5) -> None:
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
        """Return what a resumed training has to know."""
        return dict(self._best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._best = dict(state_dict)

    def on_validation_end(self, trainer: Trainer, pl_module: Watched) -> None:  # type: ignore[override] # a classifier
        """Log an epoch's panels."""
        logger = next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
        is_epoch = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if logger is None or not is_epoch or not trainer.is_global_zero:
            return
        panels: dict[str, Any] = {"epoch": trainer.current_epoch, **self._images(trainer, pl_module)}
        by_iou = pl_module.results["val"].get("localization/gt_known_curve")
        if by_iou is not None:
            iou_thresholds = pl_module.val_metrics.localization.iou_thresholds
            panels[CURVE] = threshold_chart(pl_module.cam_thresholds, iou_thresholds, by_iou)
        # One less: Lightning's own rows count the steps from 0.
        logger.log_metrics(panels, step=trainer.global_step - 1)
        self._summarize_best(trainer, logger)

    def _summarize_best(self, trainer: Trainer, logger: WandbLogger) -> None:
        monitors = [getattr(checkpoint, "monitor", None) for checkpoint in trainer.checkpoint_callbacks]
        for monitor in filter(None, monitors):
            key, value = f"best/{monitor}", trainer.callback_metrics[monitor].item()
            if value < self._best.get(key, math.inf):
                self._best = {key: value, "best/epoch": trainer.current_epoch}
        # Also when it was an earlier epoch: resumed offline, a run goes on in another file.
        logger.experiment.summary.update(self._best)

    def _images(self, trainer: Trainer, module: Watched) -> dict[str, list[Any]]:
        import wandb  # noqa: PLC0415 - only where it is logged to

        images, truth = self._fixed_batch(trainer)
        with trainer.precision_plugin.forward_context():
            logits, cam, _ = module.predict_maps(images.to(module.device), truth.target.to(module.device))
        score_maps = module.score_map(cam, truth.map_size).float().cpu()
        boxes = module.sweep(score_maps)[:, _shown_threshold(module)].float()
        names = trainer.datamodule.class_names  # type: ignore[attr-defined] # set while fitting
        # Every image brings all labels: W&B keeps one list per key, the last one it is given.
        class_labels = {target: names[target] for target in truth.target.tolist()}
        panels: dict[str, list[Any]] = {IMAGES: [], HEATMAPS: []}
        for index, target in enumerate(truth.target.tolist()):
            gt_boxes, box = truth.gt_boxes[index], boxes[index]
            overlap = float(iou(box[None], gt_boxes).max()) if len(gt_boxes) else None
            prediction = names[int(logits[index].argmax())]
            caption = gallery_caption(names[target], prediction, box, overlap, self.iou_threshold)
            scores = {} if overlap is None else {"IoU": overlap}
            found = {
                "ground_truth": box_data(gt_boxes, truth.map_size, target, names[target], {}),
                "prediction": box_data(box[None], truth.map_size, target, f"for {names[target]}", scores),
            }
            layers = {name: {"box_data": data, "class_labels": class_labels} for name, data in found.items()}
            text = f"{truth.image_ids[index]}: {caption}"
            shown = (images[index].permute(1, 2, 0).numpy(), overlay_heatmap(images[index], score_maps[index]))
            for key, rgb in zip(panels, shown, strict=True):
                panels[key].append(wandb.Image(rgb, caption=text, boxes=layers))
        return panels

    def _fixed_batch(self, trainer: Trainer) -> EvalBatch:
        if self._batch is None:
            dataset: Any = trainer.val_dataloaders.dataset  # type: ignore[union-attr] # one loader, of the whole split
            num_images = len(trainer.datamodule.split("val"))  # type: ignore[attr-defined] # set while fitting
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


def _shown_threshold(module: Watched) -> int:
    """Return where the threshold that ``val`` reports at stands among all."""
    reported = module.results["val"].get("localization/cam_threshold")
    if reported is not None:
        return module.cam_thresholds.index(float(reported))
    fixed = module.val_metrics.localization.cam_threshold
    wanted = WITHOUT_BOXES if fixed is None else fixed
    return min(range(len(module.cam_thresholds)), key=lambda at: abs(module.cam_thresholds[at] - wanted))

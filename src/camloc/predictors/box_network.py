"""Predictions of a network that regresses boxes: logits, and a box of each chosen pair; there are no maps."""

import torch
from torch import Tensor

from camloc.backbones.box_head import BoxRegressor
from camloc.boxes import from_window
from camloc.data.loading.sample import EvalBatch
from camloc.predictors.network import Network
from camloc.records import Pairs, Prediction, Ranked


class BoxPredictor(Network):
    """A backbone with a box head, trained with true boxes.

    Its boxes have no CAM threshold: there is one for each class, whatever the threshold of others.

    Args:
        backbone: With its box head.
        channels_last: See :class:`camloc.predictors.network.Network`.
    """

    backbone: BoxRegressor

    def __init__(self, backbone: BoxRegressor, *, channels_last: bool | None = False) -> None:
        super().__init__(backbone, channels_last=channels_last)

    def predict(self, batch: EvalBatch, *, num_ranked: int = 0) -> Prediction:
        """Classify images and regress the boxes of their true classes, and of the ``num_ranked`` most likely ones."""
        truth, true = batch.truth, batch.truth.pairs
        features = self.backbone.forward_features(self.normalize(batch.images))
        logits = self.backbone.forward_head(features).float()
        by_class = decoded(self.backbone.forward_boxes(features), truth.map_size)
        ranked = None
        if num_ranked:
            classes = Pairs.most_likely(logits, num_ranked).classes.view(len(logits), -1)
            boxes = by_class[torch.arange(len(logits))[:, None], classes.cpu()]
            windows = zip(boxes, truth.windows, strict=True)
            placed = [from_window(of_image, window, truth.map_size) for of_image, window in windows]
            ranked = Ranked(classes, None, torch.stack(placed))
        return Prediction(
            true, logits, ranked=ranked, regressed_boxes=by_class[true.image_index.cpu(), true.classes.cpu()]
        )


def decoded(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn the box head's output into boxes of the network's input.

    Args:
        boxes: (...,4) xyxy fractions of the input's sides, of any value.
        size: ``(height, width)`` of the input.

    Returns:
        (...,4) float64 half-open xyxy pixels on the CPU, cut at the input's edges; without area where a box is inverted
        or not finite.

    Example:
        >>> decoded(torch.tensor([[0.25, -0.5, 0.5, 1.5], [0.5, 0.0, 0.25, 1.0]]), (100, 200)).tolist()
        [[50.0, 0.0, 100.0, 100.0], [0.0, 0.0, 0.0, 0.0]]
    """
    height, width = size
    pixels = boxes.detach().cpu().double() * torch.tensor([width, height, width, height])
    cut = pixels.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    is_box = pixels.isfinite().all(dim=-1) & (cut[..., 2:] > cut[..., :2]).all(dim=-1)
    return torch.where(is_box[..., None], cut, 0.0)

"""Predictions of a network: logits, and a class activation map for each chosen pair."""

import torch
from torch import Tensor, nn

from camloc.attribution.contract import Attribution
from camloc.backbones.contract import Backbone, prefers_channels_last
from camloc.data.loading.sample import EvalBatch
from camloc.records import Pairs, Prediction, Ranked


class Network(nn.Module):
    """A backbone that is fed uint8 images; what predictions are made of its outputs is a subclass's.

    Args:
        backbone: See :mod:`camloc.backbones.contract`.
        channels_last: Memory format that convolutions prefer on GPUs with mixed precision; null for what the backbone
            says of itself, see ``camloc.backbones.contract.prefers_channels_last``.

    Raises:
        TypeError: If the backbone does not keep its contract; the message names what it lacks.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, backbone: Backbone, *, channels_last: bool | None = False) -> None:
        super().__init__()
        check_backbone(backbone)
        if channels_last is None:
            channels_last = prefers_channels_last(backbone)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone = backbone.to(memory_format=self.memory_format)
        spec = backbone.input_spec
        for name, values in (("pixel_mean", spec.mean), ("pixel_std", spec.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1) * 255, persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """Convert (B,3,H,W) uint8 images to the network's input."""
        ordered = images.contiguous(memory_format=self.memory_format)  # as bytes: a quarter of what floats would move
        return (ordered.float() - self.pixel_mean) / self.pixel_std

    def forward(self, images: Tensor) -> Tensor:
        """Classify (B,3,H,W) uint8 images into (B,C) logits."""
        return self.backbone(self.normalize(images))


class NetworkPredictor(Network):
    """A backbone with the attribution method that reads its evidence.

    Args:
        backbone: See :mod:`camloc.backbones.contract`.
        attribution: See :mod:`camloc.attribution.contract`.
        channels_last: Memory format that convolutions prefer on GPUs with mixed precision; null for what the backbone
            says of itself, see ``camloc.backbones.contract.prefers_channels_last``.

    Raises:
        TypeError: If the backbone does not keep its contract; the message names what it lacks.
    """

    def __init__(self, backbone: Backbone, attribution: Attribution, *, channels_last: bool | None = False) -> None:
        super().__init__(backbone, channels_last=channels_last)
        self.attribution = attribution

    def predict(self, batch: EvalBatch, *, num_ranked: int = 0) -> Prediction:
        """Classify images and map the evidence for their true classes, and for the ``num_ranked`` most likely ones."""
        return self.attribute(self.backbone, self.normalize(batch.images), batch, num_ranked=num_ranked)

    def attribute(self, backbone: Backbone, inputs: Tensor, batch: EvalBatch, *, num_ranked: int = 0) -> Prediction:
        """Predict on the inputs of a batch.

        Args:
            backbone: The network, or one that is handed something else than images.
            inputs: (B,3,H,W) normalized images, or what the backbone takes in place of them.
            batch: Whose inputs they are.
            num_ranked: How many of the most likely classes are mapped besides the true ones.
        """
        true = batch.truth.pairs

        def choose(logits: Tensor) -> Pairs:
            return true.followed_by(Pairs.most_likely(logits, num_ranked)) if num_ranked else true

        logits, pairs, cams = self.attribution(backbone, inputs, choose)
        ranked = None
        if num_ranked:
            classes = pairs.classes[len(true.classes) :].view(len(logits), -1)
            ranked = Ranked(classes, cams[len(true.classes) :].view(*classes.shape, *cams.shape[1:]), None)
        return Prediction(true, logits.float(), cams[: len(true.classes)], ranked=ranked, images=batch.images)


def check_backbone(backbone: object) -> None:
    """Refuse an object that is no backbone.

    Raises:
        TypeError: Naming what is missing.

    Example:
        >>> check_backbone(nn.Linear(2, 2))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: backbone=Linear lacks class_weights, forward_features, ... of camloc.backbones.contract
    """
    needed = ("class_weights", "forward_features", "forward_head", "input_spec", "new_layers", "num_classes")
    lacks = [name for name in needed if not hasattr(backbone, name)]
    if lacks or not isinstance(backbone, nn.Module):
        missing = ", ".join(lacks) or "torch.nn.Module"
        raise TypeError(f"backbone={type(backbone).__name__} lacks {missing} of camloc.backbones.contract")

"""What training methods that bring parts of the network share."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from camloc.backbones.contract import Backbone, Features
from camloc.objectives.contract import Labelled


class Extended(nn.Module):
    """A backbone as it is; a training method overrides what it changes.

    Args:
        backbone: Any.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes, self.input_spec = backbone.num_classes, backbone.input_spec

    def forward_features(self, images: Tensor) -> Features:
        """Return the features of (B,3,H,W) normalized images."""
        return self.backbone.forward_features(images)

    def forward_head(self, features: Features) -> Tensor:
        """Return (B,C) logits."""
        return self.backbone.forward_head(features)

    def forward(self, images: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,3,H,W) normalized images."""
        return self.forward_head(self.forward_features(images))

    @property
    def class_weights(self) -> Tensor | None:
        """(C,K) the backbone's."""
        return self.backbone.class_weights

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the backbone's new layers."""
        yield from self.backbone.new_layers()


def refuse_several_labels(batch: Labelled, objective: str) -> None:
    """Refuse a batch whose images have several labels.

    Raises:
        ValueError: If they have.
    """
    if batch.target.ndim != 1:
        raise ValueError(
            f"objective={objective} trains on one class per image, found a target of shape {tuple(batch.target.shape)}"
        )


def pooled_maps(backbone: Backbone, objective: str) -> int:
    """Return how many maps a network has before its global average pooling.

    Raises:
        ValueError: If it does not end in global average pooling and one linear layer.
    """
    pooling = getattr(getattr(backbone, "head", None), "pooling", "mean")
    if backbone.class_weights is None or pooling != "mean":
        raise ValueError(
            f"objective={objective} needs a network that ends in global average pooling and one linear layer, which "
            f"{type(backbone).__name__} does not; use backbone=vgg_gap, resnet50_gap or another that ends in _gap"
        )
    return backbone.class_weights.shape[1]


def channels(module: nn.Module, images: Tensor) -> int:
    """Return how many maps a module makes of images, (B,K,h,w), without a trace in its batch norms."""
    was_training = module.training
    with torch.no_grad():
        maps: Tensor = module.eval()(images)
    module.train(was_training)
    return maps.shape[1]


def empty_image(backbone: Backbone) -> Tensor:
    """Return one (1,3,H,W) black image of the size that a network was made for."""
    spec = backbone.input_spec
    return torch.zeros(1, spec.channels, spec.size, spec.size)


def through(layers: nn.Sequential, inputs: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a sequence of layers and keep what some of them return.

    Args:
        layers: May hold further sequences.
        inputs: (B,K,H,W).
        names: Of the layers to keep, such as ``layer3`` or ``layer3.0``.

    Returns:
        What the last layer returns, and what the named ones do.

    Example:
        >>> layers = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Softmax(dim=1)))
        >>> final, kept = through(layers, torch.tensor([[[-1.0, 0.0]]]), ["0", "1.0"])
        >>> final.tolist(), {name: list(one.shape) for name, one in kept.items()}
        ([[0.5, 0.5]], {'0': [1, 1, 2], '1.0': [1, 2]})
    """
    kept: dict[str, Tensor] = {}
    for name, layer in layers.named_children():
        inner = [one.removeprefix(f"{name}.") for one in names if one.startswith(f"{name}.")]
        if inner and isinstance(layer, nn.Sequential):
            inputs, found = through(layer, inputs, inner)
            kept |= {f"{name}.{one}": maps for one, maps in found.items()}
        else:
            inputs = layer(inputs)
        if name in names:
            kept[name] = inputs
    return inputs, kept


def minmax(maps: Tensor) -> Tensor:
    """Normalize each of (...,h,w) maps to [0,1], detached; a constant map becomes zeros.

    Example:
        >>> minmax(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]])).tolist()
        [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    maps = maps.detach().float()
    least, most = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - least) / torch.where(most > least, most - least, torch.ones_like(most))

"""What training methods that bring parts of the network share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camloc.backbones.contract import Backbone
from camloc.objectives.contract import Labelled


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

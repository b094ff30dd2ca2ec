"""The maps of a network's stages: the last ones of each size."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


def maps_of_layers(network: Any, images: Tensor) -> list[Tensor]:  # noqa: ANN401 - timm's networks share methods, but no type
    """Return the maps after each layer of a sequence, or after each stage of a network of timm, and its last ones.

    Layers without parameters at the start, which make no maps yet, are left out.

    Raises:
        ValueError: The network is neither.

    Example:
        >>> import torch
        >>> layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 1))
        >>> [tuple(maps.shape) for maps in last_of_each_size(maps_of_layers(layers, torch.zeros(1, 3, 6, 8)))]
        [(1, 8, 6, 8), (1, 4, 3, 4)]
    """
    if isinstance(network, nn.Sequential):
        maps: list[Tensor] = []
        for layer in network:
            images = layer(images)
            if maps or any(True for _ in layer.parameters()):
                maps.append(images)
        return maps
    if hasattr(network, "forward_intermediates"):
        last, intermediates = network.forward_intermediates(images)
        return [*intermediates, last]
    raise ValueError(
        f"{type(network).__name__} is no sequence of layers, so the maps of its stages cannot be had; use the last "
        "maps alone, or another network"
    )


def last_of_each_size(maps: Iterable[Tensor]) -> list[Tensor]:
    """Keep the last maps of each size, in the order in which the sizes come first."""
    return list({one.shape[2:]: one for one in maps}.values())

"""A network whose trunk is not trained: what its new layers are handed comes from the images, or was kept before."""

from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn

from camloc.backbones.contract import Backbone, Features, LongHead


class Shapes(tuple[tuple[int, ...], ...]):
    """Of one image's features: of its maps (K,h,w), then of whatever else the head reads.

    Example:
        >>> shapes = Shapes.of(Features(torch.ones(2, 3, 4, 5), (torch.zeros(2, 1, 3),)))
        >>> shapes, shapes.width
        (((3, 4, 5), (1, 3)), 63)
    """

    __slots__ = ()

    @classmethod
    def of(cls, features: Features) -> "Shapes":
        """Return the shapes of a batch's features."""
        return cls(tuple(tensor.shape[1:]) for tensor in (features.maps, *features.others))

    @property
    def width(self) -> int:
        """Numbers per image."""
        return sum(prod(shape) for shape in self)

    def rows(self, features: Features) -> Tensor:
        """Return features as (B,width) float32, one row per image."""
        return torch.cat([tensor.float().flatten(1) for tensor in (features.maps, *features.others)], dim=1)

    def features(self, rows: Tensor) -> Features:
        """Return the features that :meth:`rows` made rows of."""
        parts = torch.split(rows, [prod(shape) for shape in self], dim=1)
        maps, *others = (part.reshape(-1, *shape) for part, shape in zip(parts, self, strict=True))
        return Features(maps, tuple(others))


class FrozenBackbone:
    """A backbone as objectives see it whose trunk runs in evaluation mode and without gradients.

    Batch norms of the trunk neither use nor learn a batch's statistics, and dropout there is off. This is no
    ``nn.Module``: the network that is saved stays the one network.

    Args:
        backbone: See :func:`freeze`.
        kept: Shapes of features that were kept; then (B,width) rows of them take the place of images.
    """

    def __init__(self, backbone: Backbone, kept: Shapes | None = None) -> None:
        self.backbone, self.kept = backbone, kept

    def forward_features(self, images: Tensor) -> Features:
        """Return the feature maps of (B,3,H,W) normalized images, or of (B,width) rows."""
        found = trunk_features(self.backbone, images) if self.kept is None else self.kept.features(images)
        return self.backbone.forward_extra(found) if isinstance(self.backbone, LongHead) else found

    def forward_head(self, features: Features) -> Tensor:
        """Return (B,C) logits."""
        return self.backbone.forward_head(features)

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B,C) logits."""
        return self.forward_head(self.forward_features(images))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a backbone has
        """Return what the backbone has, as the parts that a training method adds."""
        if name == "backbone":  # while a copy is made, which has nothing yet
            raise AttributeError(name)
        return getattr(self.backbone, name)


def trunk_features(backbone: Backbone, images: Tensor) -> Features:
    """Return what the trunk makes of images in evaluation mode, without gradients; the mode is put back.

    Args:
        backbone: Any.
        images: (B,3,H,W) normalized.
    """
    with torch.no_grad():
        return _trunk(backbone, images)


def freeze(backbone: Backbone, input_size: int) -> Shapes:
    """Let only the new layers of a network learn.

    Args:
        backbone: Its parameters are changed in place.
        input_size: Side of the images, pixels; one is passed through the trunk.

    Returns:
        The shapes of what the trunk makes of an image.

    Raises:
        ValueError: If the network has no new layers, or has some within what would be frozen.

    Example:
        >>> from camloc.backbones.gap import GapBackbone
        >>> backbone = GapBackbone(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), num_maps=4, num_classes=5)
        >>> freeze(backbone, input_size=6)
        ((8, 4, 4),)
        >>> [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
        ['extra.weight', 'extra.bias', 'head.linear.weight', 'head.linear.bias']
    """
    name = type(backbone).__name__
    new = list(backbone.new_layers())
    if not new:
        raise ValueError(
            f"classifier.frozen=true trains the new layers alone, and {name} has none: all its layers come with weights"
        )
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    for parameter in new:
        parameter.requires_grad_(True)
    with torch.enable_grad():
        found = _trunk(backbone, new[0].new_zeros(1, backbone.input_spec.channels, input_size, input_size))
    if any(tensor.requires_grad for tensor in (found.maps, *found.others)):
        raise ValueError(
            f"classifier.frozen=true: {name} has new layers before its feature maps; give it forward_trunk and "
            "forward_extra as camloc.backbones.contract.LongHead has them, or set classifier.frozen=false"
        )
    return Shapes.of(found)


def trunk_state(backbone: Backbone) -> list[tuple[str, Tensor]]:
    """Return the weights and statistics that decide what the trunk makes of an image, in the order of its layers.

    They are the same whatever parts a training method adds around it. New layers are left out, with their statistics;
    what else belongs to the head may be among them.
    """
    new = {id(parameter) for parameter in backbone.new_layers()}
    state: list[tuple[str, Tensor]] = []
    for layer in cast(nn.Module, backbone).modules():
        parameters = dict(layer.named_parameters(recurse=False))
        if not any(id(parameter) in new for parameter in parameters.values()):
            state += [*parameters.items(), *layer.named_buffers(recurse=False)]
    return state


def _trunk(backbone: Backbone, images: Tensor) -> Features:
    module = cast(nn.Module, backbone)
    was_training = module.training
    module.eval()
    try:
        return backbone.forward_trunk(images) if isinstance(backbone, LongHead) else backbone.forward_features(images)
    finally:
        module.train(was_training)

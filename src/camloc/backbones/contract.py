"""The contract of every backbone: a network in two halves with the feature maps between them.

For B images of H x W pixels, C classes and K feature maps; on the right, ``vgg_gap`` at 224 x 224 with C=1000::

    input_spec                 the size, mean, standard deviation and channels that it was made for
    forward_features(images)   (B,3,H,W) float, normalized by input_spec -> Features | (B,3,224,224)
                               .maps (B,K,h,w), the last convolutional maps           | (B,1024,14,14)
                               .others, whatever else the head reads
    forward_head(features)     Features -> logits (B,C)                               | (B,1000)
    class_weights              (C,K), the weight of every map for every class; None   | (1000,1024)
                               if the head is more than global pooling and one
                               linear layer
    new_layers()               the parameters of the layers that are made for the classes at hand
    num_classes                C                                                      | 1000
    forward_stages(images)     optional: the last maps of each size, largest first;   | 5 maps, from (B,64,224,224)
                               where the head reads the maps alone                    |   to (B,1024,14,14)

To get a map, call the two halves and keep what is between them; there are no hooks and no state.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn


class InputSpec(NamedTuple):
    """What a network's weights expect of their input; the defaults are those of torchvision's ImageNet weights."""

    size: int = 224
    """Side of the square images that it was made for, pixels."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel (RGB), of pixels in [0,1]."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Standard deviation of each channel (RGB), of pixels in [0,1]."""

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return len(self.mean)


class Features(NamedTuple):
    """What the first half of a network hands to the second."""

    maps: Tensor
    """(B,K,h,w) last convolutional maps, or patch tokens laid out as a map."""
    others: tuple[Tensor, ...] = ()
    """Further tensors (B,...) that the head reads, such as class tokens."""


@runtime_checkable
class Backbone(Protocol):
    """A network in two halves, an ``nn.Module``; see the module's docstring for shapes."""

    input_spec: InputSpec
    num_classes: int

    def forward_features(self, images: Tensor) -> Features:
        """Return the maps of (B,3,H,W) normalized images, with whatever else the head reads."""

    def forward_head(self, features: Features) -> Tensor:
        """Return (B,C) logits."""

    @property
    def class_weights(self) -> Tensor | None:
        """(C,K) weight of every feature map for every class; None if the head is more than pooling and one layer."""

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the layers that are made for the classes at hand."""

    # What every nn.Module has.
    def __call__(self, images: Tensor) -> Tensor:
        """Return (B,C) logits of (B,3,H,W) normalized images."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Yield all parameters."""

    def to(self, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 - torch's signature
        """Move to a device, a dtype or a memory format."""


@runtime_checkable
class LongHead(Protocol):
    """A backbone that has new layers before its feature maps, so that its trunk ends earlier.

    ``forward_features(images)`` is ``forward_extra(forward_trunk(images))``.
    """

    def forward_trunk(self, images: Tensor) -> Features:
        """Return what the trunk makes of (B,3,H,W) normalized images."""

    def forward_extra(self, features: Features) -> Features:
        """Return the feature maps of what the trunk made."""


@runtime_checkable
class Staged(Protocol):
    """A backbone that also gives the maps of its stages, for attribution methods that look beyond the last ones."""

    def forward_stages(self, images: Tensor) -> list[Tensor]:
        """Return the (B,K,h,w) last maps of each size, largest first, the last being those of ``forward_features``.

        Each is what the next layer reads, so that the logits of the last one can be differentiated in it.

        Raises:
            ValueError: This network is not built in stages.
        """


def prefers_channels_last(backbone: Backbone) -> bool:
    """Tell whether a backbone says that it is faster with the channels last, by ``prefers_channels_last``.

    That is measured on CPUs in float32 by ``benchmarks/memory_format.py``; on GPUs in mixed precision all are.
    """
    return bool(getattr(backbone, "prefers_channels_last", False))


class BoxBackbone(Backbone, Protocol):
    """A backbone that also regresses a box for each class, for full supervision."""

    def forward_boxes(self, features: Features) -> Tensor:
        """Return (B,C,4) xyxy boxes, fractions of the input's sides; neither ordered nor cut at its edges."""


class Extended(nn.Module):
    """A backbone as it is; what brings further parts overrides what it changes.

    Args:
        backbone: Any.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes, self.input_spec = backbone.num_classes, backbone.input_spec
        self.prefers_channels_last = prefers_channels_last(backbone)
        if isinstance(backbone, Staged):
            self.forward_stages = backbone.forward_stages

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


def empty_image(backbone: Backbone) -> Tensor:
    """Return one (1,3,H,W) black image of the size that a network was made for."""
    spec = backbone.input_spec
    return torch.zeros(1, spec.channels, spec.size, spec.size)


def count_maps(backbone: Backbone) -> int:
    """Return K, the number of a backbone's feature maps, without a trace in its batch norms."""
    if backbone.class_weights is not None:
        return backbone.class_weights.shape[1]
    module: Any = backbone
    was_training = module.training
    with torch.no_grad():
        maps: Tensor = module.eval().forward_features(empty_image(backbone)).maps
    module.train(was_training)
    return maps.shape[1]

"""The GAP network of class activation mapping: convolutions, global average pooling, one linear layer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from torch import Tensor, nn

from camloc.backbones.contract import Features, InputSpec
from camloc.backbones.stages import last_of_each_size, maps_of_layers

IMAGENET = InputSpec()
"""What torchvision's ImageNet weights expect, at 224 x 224."""

Pooling: TypeAlias = Literal["mean", "max"]
"""Of each feature map to one number."""


class GapHead(nn.Module):
    """Global pooling, dropout, one linear layer: (B,K,h,w) feature maps to (B,C) logits."""

    def __init__(self, num_maps: int, num_classes: int, dropout: float, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(num_maps, num_classes)

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Return (B,C) logits."""
        # Rather than adaptive pooling: the same numbers, and the backward pass is deterministic on CUDA.
        pooled = feature_maps.mean(dim=(2, 3)) if self.pooling == "mean" else feature_maps.amax(dim=(2, 3))
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits


class GapBackbone(nn.Module):
    r"""A fully convolutional network that ends in global average pooling and one linear layer.

    .. math:: S_c = \sum_k w_k^c \frac{1}{hw} \sum_{x,y} f_k(x, y) + b_c

    (Zhou et al., CVPR 2016, Sec. 2, which leaves the bias out). In eval mode the logit of a class is the
    spatial mean of its class activation map plus its bias. With max pooling (GMP), which the paper compares in
    Sec. 2 and 3, the maximum of each map takes the place of its mean; the class activation map is the same weighted
    sum, but its mean says nothing about the logit.

    The weights of ``trunk`` are kept. ``extra`` and the linear layer always start from random weights: He et
    al. (ICCV 2015) for convolutions, a Gaussian of standard deviation 0.01 for the linear layer.

    Args:
        trunk: Convolutions, images to maps, with the weights that they start from.
        extra: Convolutions that are trained from scratch, the trunk's maps to (B,K,h,w) feature maps.
        num_maps: K.
        num_classes: C.
        dropout: Fraction of the pooled maps dropped in training, in [0, 1].
        input_spec: What the trunk expects of images.
        pooling: ``max`` for global max pooling.
        random_trunk: Draw the trunk's weights too, by the same rule as ``extra``.

    Attributes:
        method_layers: Where training methods that act inside the network do so unless they are told otherwise, by the
            name of the method's objective.

    Example:
        >>> import torch
        >>> backbone = GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5)
        >>> features = backbone.forward_features(torch.zeros(2, 3, 32, 48))
        >>> features.maps.shape, backbone.forward_head(features).shape, backbone.class_weights.shape
        (torch.Size([2, 8, 30, 46]), torch.Size([2, 5]), torch.Size([5, 8]))
    """

    prefers_channels_last = True  # on CPUs too: benchmarks/memory_format.py

    def __init__(
        self,
        trunk: nn.Module,
        extra: nn.Module,
        num_maps: int,
        num_classes: int,
        dropout: float = 0.0,
        input_spec: InputSpec = IMAGENET,
        *,
        pooling: Pooling = "mean",
        random_trunk: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.extra = extra
        self.head = GapHead(num_maps, num_classes, dropout, pooling)
        self.num_classes = num_classes
        self.input_spec = input_spec
        self.method_layers: Mapping[str, Sequence[str]] = {}
        # The order of the draws decides which weights a seed gives.
        if random_trunk:
            trunk.apply(initialize)
        extra.apply(initialize)
        self.head.apply(initialize)

    def forward_features(self, images: Tensor) -> Features:
        """Return the (B,K,h,w) feature maps of (B,3,H,W) normalized images."""
        return self.forward_extra(self.forward_trunk(images))

    def forward_trunk(self, images: Tensor) -> Features:
        """Return the trunk's maps of (B,3,H,W) normalized images, see :class:`camloc.backbones.contract.LongHead`."""
        return Features(self.trunk(images))

    def forward_extra(self, features: Features) -> Features:
        """Return the (B,K,h,w) feature maps of the trunk's maps."""
        return Features(self.extra(features.maps))  # noqa: S610 - a layer, not Django's query

    def forward_head(self, features: Features) -> Tensor:
        """Return the (B,C) logits of (B,K,h,w) feature maps."""
        logits: Tensor = self.head(features.maps)
        return logits

    def forward_stages(self, images: Tensor) -> list[Tensor]:
        """Return the last maps of each size, see :class:`camloc.backbones.contract.Staged`."""
        maps = maps_of_layers(self.trunk, images)
        return last_of_each_size([*maps, self.extra(maps[-1])])  # noqa: S610 - a layer, not Django's query

    def forward(self, images: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,3,H,W) normalized images."""
        return self.forward_head(self.forward_features(images))

    @property
    def class_weights(self) -> Tensor:
        """(C,K) weight of every feature map for every class."""
        return self.head.linear.weight

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters after the trunk, which start from random weights in every run."""
        yield from self.extra.parameters()
        yield from self.head.parameters()


def conv_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    batch_norm: bool = False,
) -> list[nn.Module]:
    """List the layers of one convolution: the convolution, batch norm if wanted, ReLU.

    Example:
        >>> [type(layer).__name__ for layer in conv_relu(3, 8, kernel_size=3, batch_norm=True)]
        ['Conv2d', 'BatchNorm2d', 'ReLU']
    """
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=padding,
        groups=groups,
        bias=not batch_norm,  # batch norm would subtract it again
    )
    norm = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    return [conv, *norm, nn.ReLU(inplace=True)]


def initialize(module: nn.Module) -> None:
    """Draw the weights of a convolution or a linear layer; for ``nn.Module.apply``."""
    # He et al. for convolutions, so that a network without batch norm trains from scratch. The release draws
    # its new convolution from a Gaussian of 0.01, less than half of He's deviation; a pretrained trunk
    # tolerates that.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

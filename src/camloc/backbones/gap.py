"""The contract that every backbone keeps, and the one network that keeps it.

For B images of H x W pixels, C classes, K feature maps; behind the bar ``vgg_gap`` at 224 x 224, C=1000::

    forward_features(images)     (B,3,H,W) float, normalized with ImageNet's    | (B,3,224,224)
                                 mean and standard deviation
                                 -> feature_maps (B,K,h,w), the last            | (B,1024,14,14)
                                 convolutional maps
    forward_head(feature_maps)   (B,K,h,w) -> logits (B,C)                      | (B,1000)
    forward(images)              forward_head(forward_features(images))
    class_weights                (C,K), of every feature map for every class    | (1000,1024)
    class_bias                   (C,)                                           | (1000,)
    new_layers()                 the parameters that published weights never fill
    num_classes                  C                                              | 1000

Whoever wants a map calls the two halves and keeps the tensor between them; there are no hooks and no state.
In eval mode a class's logit is the spatial mean of its class activation map plus its bias.
"""

from collections.abc import Iterator

from torch import Tensor, nn


class GapHead(nn.Module):
    """Global average pooling, dropout, one linear layer: (B,K,h,w) feature maps to (B,C) logits."""

    def __init__(self, num_maps: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(num_maps, num_classes)

    def forward(self, feature_maps: Tensor) -> Tensor:
        """Return (B,C) logits."""
        # A mean rather than adaptive_avg_pool2d: the same number, and its backward is deterministic on CUDA.
        pooled = feature_maps.mean(dim=(2, 3))
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits


class GapBackbone(nn.Module):
    r"""A fully convolutional network that ends in global average pooling and one linear layer.

    .. math:: S_c = \sum_k w_k^c \frac{1}{hw} \sum_{x,y} f_k(x, y) + b_c

    (Zhou et al., CVPR 2016, Sec. 2, which leaves the bias out). Every convolution and the linear layer start
    from random weights here; published weights are loaded into ``trunk`` afterwards.

    Args:
        trunk: Convolutions of a published network, images to maps.
        extra: Convolutions that are trained anew, the trunk's maps to (B,K,h,w) feature maps.
        num_maps: K.
        num_classes: C.
        dropout: Share of the pooled maps dropped in training, in [0, 1].

    Example:
        >>> import torch
        >>> backbone = GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5)
        >>> feature_maps = backbone.forward_features(torch.zeros(2, 3, 32, 48))
        >>> feature_maps.shape, backbone.forward_head(feature_maps).shape, backbone.class_weights.shape
        (torch.Size([2, 8, 30, 46]), torch.Size([2, 5]), torch.Size([5, 8]))
    """

    def __init__(
        self, trunk: nn.Module, extra: nn.Module, num_maps: int, num_classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.extra = extra
        self.head = GapHead(num_maps, num_classes, dropout)
        self.num_classes = num_classes
        self.apply(_initialize)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the (B,K,h,w) feature maps of (B,3,H,W) normalized images."""
        feature_maps: Tensor = self.extra(self.trunk(images))  # noqa: S610 - a layer, not Django's query
        return feature_maps

    def forward_head(self, feature_maps: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,K,h,w) feature maps."""
        logits: Tensor = self.head(feature_maps)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,3,H,W) normalized images."""
        return self.forward_head(self.forward_features(images))

    @property
    def class_weights(self) -> Tensor:
        """(C,K) weight of every feature map for every class."""
        return self.head.linear.weight

    @property
    def class_bias(self) -> Tensor:
        """(C,) what a class scores without any feature map."""
        return self.head.linear.bias

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters behind the trunk; they start from random weights in every run."""
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
    """List the layers of one convolution: the convolution, batch norm where wanted, ReLU.

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
        bias=not batch_norm,  # batch norm subtracts it again
    )
    norm = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    return [conv, *norm, nn.ReLU(inplace=True)]


def _initialize(module: nn.Module) -> None:
    # He et al. (ICCV 2015) for convolutions, so that a network without batch norm trains from scratch. The
    # release draws its new convolution from a gaussian of 0.01, less than half of He's deviation; a
    # pretrained trunk forgives that.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)

"""Network in Network: its last convolution has one map per class, and that map is the class activation map."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from camloc.backbones.contract import Features, InputSpec
from camloc.backbones.gap import conv_relu, initialize
from camloc.backbones.stages import last_of_each_size, maps_of_layers
from camloc.backbones.weights import fill_trunk, find_file, refuse_batch_norm

FILE = "nin_imagenet.pth (github.com/ProGamerGov/pytorch-nin)"
# Caffe's pixels: 0 to 255, minus ImageNet's mean, no division.
INPUT_SPEC = InputSpec(size=224, mean=(123 / 255, 117 / 255, 104 / 255), std=(1 / 255,) * 3)


def nin(
    num_classes: int,
    weights: str | None = None,
    batch_norm: bool = False,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> "NinBackbone":
    """Build Network in Network (Lin et al., ICLR 2014), C maps of 6 x 6 at 224 x 224.

    The layers are those of the ImageNet model that its authors published for Caffe.

    Args:
        num_classes: C.
        weights: The path of a file in the format of ``nin_imagenet.pth``, that Caffe model's weights for PyTorch,
            or None for random weights. The last layer is taken from there too if it is of C classes.
        batch_norm: Add batch norm after every convolution but the last, so that training from scratch takes
            minutes.
        dropout: Fraction of pool3's values dropped in training.

    Raises:
        ValueError: ``weights`` do not fit, or are combined with ``batch_norm``.
        FileNotFoundError: ``weights`` cannot be found.

    Example:
        >>> backbone = nin(num_classes=10)
        >>> backbone.forward_features(torch.zeros(1, 3, 224, 224)).maps.shape, backbone.class_weights.shape
        (torch.Size([1, 10, 6, 6]), torch.Size([10, 10]))
    """
    if batch_norm and weights is not None:
        refuse_batch_norm(weights, "Network in Network")

    def mlpconv(*channels: int, kernel_size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
        inputs, outputs, *_ = channels
        first = conv_relu(inputs, outputs, kernel_size, stride=stride, padding=padding, batch_norm=batch_norm)
        of_pixels = [conv_relu(a, b, 1, batch_norm=batch_norm) for a, b in pairwise(channels[1:])]
        return [*first, *(layer for layers in of_pixels for layer in layers)]

    def pool() -> nn.Module:
        return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)

    features = nn.Sequential(
        *mlpconv(3, 96, 96, 96, kernel_size=11, stride=4),
        pool(),
        *mlpconv(96, 256, 256, 256, kernel_size=5, padding=2),
        pool(),
        *mlpconv(256, 384, 384, 384, kernel_size=3, padding=1),
        pool(),
        nn.Dropout(dropout),
        *mlpconv(384, 1024, 1024, kernel_size=3, padding=1),
        *conv_relu(1024, num_classes, kernel_size=1),
    )
    backbone = NinBackbone(features, num_classes)
    if weights is not None:
        last = f"features.{len(features) - 2}"
        fill_trunk(backbone, find_file(weights), FILE, classifier=last)
    return backbone


class NinBackbone(nn.Module):
    """Convolutions whose last maps are those of the classes, and their mean.

    Args:
        features: Images, channels in the order BGR, to one feature map per class: K = C. The last convolution is
            followed by ReLU.
        num_classes: C.
    """

    input_spec = INPUT_SPEC

    def __init__(self, features: nn.Sequential, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.num_classes = num_classes
        self.apply(initialize)

    def forward_features(self, images: Tensor) -> Features:
        """Return the (B,C,h,w) maps of (B,3,H,W) normalized images, RGB as everywhere."""
        return Features(self.features(images.flip(1)))

    def forward_head(self, features: Features) -> Tensor:
        """Return the (B,C) logits of (B,C,h,w) maps."""
        return features.maps.mean(dim=(2, 3))

    def forward_stages(self, images: Tensor) -> list[Tensor]:
        """Return the last maps of each size, see :class:`camloc.backbones.contract.Staged`."""
        return last_of_each_size(maps_of_layers(self.features, images.flip(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,3,H,W) normalized images."""
        return self.forward_head(self.forward_features(images))

    @property
    def class_weights(self) -> Tensor:
        """(C,C) identity: a class's activation map is its own feature map."""
        return torch.eye(self.num_classes, device=next(self.parameters()).device)

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the last convolution."""
        yield from self.features[-2].parameters()

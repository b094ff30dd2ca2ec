"""GoogLeNet, and the paper's networks of it through inception 4e: GoogLeNet-GAP and GoogLeNet-GMP."""

from collections import OrderedDict
from itertools import takewhile
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torchvision.models import GoogLeNet, GoogLeNet_Weights

from camloc.backbones.gap import GapBackbone, Pooling, conv_relu
from camloc.backbones.weights import load_trunk

PUBLISHED = GoogLeNet_Weights.IMAGENET1K_V1
AUXILIARY = ("aux1.", "aux2.")
NUM_MAPS = 1024


def googlenet(
    num_classes: int, weights: str | None = None, dropout: Annotated[float, Ge(0), Le(1)] = 0.2
) -> GapBackbone:
    """Build GoogLeNet (Szegedy et al., CVPR 2015), 1024 maps of 7 x 7 at 224 x 224.

    It is torchvision's, with batch norm and without its auxiliary heads. It ends in global average pooling and one
    linear layer as published, so class activation mapping applies without new convolutions.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights. The linear
            layer is taken from there too if it is of C classes.
        dropout: Fraction of the pooled maps dropped in training; 0.2 is torchvision's, the paper has 0.4.

    Raises:
        ValueError: ``weights`` do not fit.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> googlenet(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1024, 2, 3])
    """
    trunk = _until("avgpool")
    backbone = GapBackbone(trunk, nn.Identity(), NUM_MAPS, num_classes, dropout, random_trunk=True)
    if weights is not None:
        # The same layers under torchvision's names.
        network = nn.ModuleDict({**dict(trunk.named_children()), "fc": backbone.head.linear})
        load_trunk(network, weights, PUBLISHED, replaced=AUXILIARY, classifier="fc")
    return backbone


def googlenet_gap(num_classes: int, weights: str | None = None) -> GapBackbone:
    """Build GoogLeNet-GAP (Zhou et al., CVPR 2016, Sec. 3.1), 1024 maps of 14 x 14 at 224 x 224.

    The trunk is torchvision's ``googlenet()`` through inception4e, with its batch norm and without its auxiliary
    heads. As in the release, the new convolution has no batch norm and the head no dropout.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights.

    Raises:
        ValueError: ``weights`` do not fit.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> googlenet_gap(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1024, 4, 6])
    """
    return _through_4e(num_classes, weights, "mean")


def googlenet_gmp(num_classes: int, weights: str | None = None) -> GapBackbone:
    """Build GoogLeNet-GMP (Zhou et al., CVPR 2016, Sec. 3.1): :func:`googlenet_gap` with global max pooling.

    Same arguments, errors and maps. Its class weights make maps by the same weighted sum, as the paper compares them.

    Example:
        >>> import torch
        >>> googlenet_gmp(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1024, 4, 6])
    """
    return _through_4e(num_classes, weights, "max")


def _through_4e(num_classes: int, weights: str | None, pooling: Pooling) -> GapBackbone:
    trunk = _until("maxpool4")
    extra = nn.Sequential(*conv_relu(832, NUM_MAPS, kernel_size=3, padding=1, groups=2))
    backbone = GapBackbone(trunk, extra, NUM_MAPS, num_classes, pooling=pooling, random_trunk=True)
    backbone.method_layers = {"spg": ("trunk.inception4a", "trunk.inception4e")}
    if weights is not None:
        replaced = (*AUXILIARY, "inception5a.", "inception5b.", "fc.")
        load_trunk(trunk, weights, PUBLISHED, replaced=replaced)
    return backbone


def _until(end: str) -> nn.Sequential:
    # No init_weights: GapBackbone draws the random weights.
    layers = GoogLeNet(aux_logits=False, init_weights=False).named_children()
    before_end = takewhile(lambda layer: layer[0] != end, layers)
    return nn.Sequential(OrderedDict([("rescale", InceptionScale()), *before_end]))


class InceptionScale(nn.Module):
    """Turn images normalized with ImageNet's mean and deviation into pixels in [-1, 1].

    The published weights come from TensorFlow and expect that range; torchvision calls it
    ``transform_input``. It does not depend on ``weights``: a checkpoint is rebuilt without them and must see
    the pixels that it was trained on, and random weights train equally well on either scale.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        # float64 first: means close to 0.5 would lose digits in the subtraction.
        mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
        std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
        # Not persistent: the trunk's keys stay torchvision's.
        self.register_buffer("scale", (std / 0.5).float().view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - 0.5) / 0.5).float().view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B,3,H,W) pixels in [-1, 1]."""
        return images * self.scale + self.shift

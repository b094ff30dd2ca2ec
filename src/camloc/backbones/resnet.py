"""ResNet-50 with fine maps, as the field's benchmark trains it."""

from collections import OrderedDict
from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import nn
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models.resnet import Bottleneck

from camloc.backbones.gap import GapBackbone
from camloc.backbones.weights import load_trunk

PUBLISHED = ResNet50_Weights.IMAGENET1K_V1
NUM_MAPS = 2048
UNSTRIDED = {8: ("layer3", "layer4"), 16: ("layer4",), 32: ()}
"""Output stride to the stages whose stride of 2 becomes 1."""


def resnet50_gap(
    num_classes: int,
    weights: str | None = None,
    output_stride: Literal[8, 16, 32] = 8,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.0,
) -> GapBackbone:
    """Build ResNet-50 (He et al., CVPR 2016), 2048 maps of 28 x 28 at 224 x 224.

    It is torchvision's with the strides of its last two stages removed, as wsolevaluation has it (Choe et al., CVPR
    2020): finer maps with the same weights, without dilation. It ends in global average pooling and one linear layer as
    published.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights. The linear layer is
            taken from there too if it is of C classes.
        output_stride: Pixels of the image per pixel of the maps: 8; 16 with a strided third stage; 32, as published.
        dropout: Fraction of the pooled maps dropped in training; the published network has none.

    Raises:
        ValueError: ``weights`` do not fit, or the stride is another.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> resnet50_gap(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 2048, 8, 12])
    """
    if output_stride not in UNSTRIDED:
        raise ValueError(f"backbone.output_stride={output_stride}: choose from 8, 16 or 32")
    layers = list(resnet50().named_children())[:-2]  # all before the pooling
    trunk = nn.Sequential(OrderedDict(layers))
    for name in UNSTRIDED[output_stride]:
        first: Bottleneck = trunk.get_submodule(f"{name}.0")
        first.conv2.stride = (1, 1)
        first.downsample[0].stride = (1, 1)
    backbone = GapBackbone(trunk, nn.Identity(), NUM_MAPS, num_classes, dropout, random_trunk=True)
    backbone.method_layers = {
        "adl": ("trunk.layer3.0", "trunk.layer4.0", "trunk.layer4.2"),
        "spg": ("trunk.layer3.0", "trunk.layer3"),
    }
    if weights is not None:
        # The same layers under torchvision's names.
        network = nn.ModuleDict({**dict(trunk.named_children()), "fc": backbone.head.linear})
        load_trunk(network, weights, PUBLISHED, classifier="fc")
    return backbone

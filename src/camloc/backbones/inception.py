"""Inception v3 with fine maps and two new convolutions, as the field's benchmark trains it."""

from collections import OrderedDict
from itertools import takewhile
from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torchvision.models import Inception3, Inception_V3_Weights
from torchvision.models.inception import InceptionB

from camloc.backbones.gap import GapBackbone
from camloc.backbones.googlenet import InceptionScale
from camloc.backbones.weights import load_trunk

PUBLISHED = Inception_V3_Weights.IMAGENET1K_V1
REPLACED = ("AuxLogits.", "Mixed_7a.", "Mixed_7b.", "Mixed_7c.", "fc.")
NUM_MAPS = 1024


def inception_v3_gap(
    num_classes: int,
    weights: str | None = None,
    output_stride: Literal[8, 16] = 8,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> GapBackbone:
    """Build Inception v3 through Mixed_6e and two new 3x3 convolutions, 1024 maps of 28 x 28 at 224 x 224.

    It is the network of SPG (Zhang et al., ECCV 2018) as wsolevaluation has it (Choe et al., CVPR 2020): the first
    convolution and both poolings are padded, Mixed_6a has stride 1, and a 1x1 convolution to classes before global
    average pooling, which is the linear layer after it. Where it differs: the published weights get pixels in [-1, 1],
    which they were trained on; the released code shows them images normalized by ImageNet's mean and deviation.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights.
        output_stride: Pixels of the image per pixel of the maps: 8; 16 pools before Mixed_6a.
        dropout: Fraction of the maps' values dropped in training, before each new convolution and the linear layer.

    Raises:
        ValueError: ``weights`` do not fit, or the stride is another.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> inception_v3_gap(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1024, 8, 12])
    """
    if output_stride not in (8, 16):
        raise ValueError(f"backbone.output_stride={output_stride}: choose from 8 or 16")
    trunk = _through_6e(pooled=output_stride == 16)  # noqa: PLR2004 - an output stride
    extra = nn.Sequential(
        nn.Dropout(dropout),
        nn.Conv2d(768, NUM_MAPS, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Conv2d(NUM_MAPS, NUM_MAPS, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
    )
    backbone = GapBackbone(trunk, extra, NUM_MAPS, num_classes, random_trunk=True)
    backbone.method_layers = {
        "adl": ("trunk.Mixed_5d", "trunk.Mixed_6e", "maps"),
        "spg": ("trunk.maxpool3" if output_stride == 16 else "trunk.Mixed_5d", "trunk.Mixed_6e"),  # noqa: PLR2004 - the same
    }
    if weights is not None:
        load_trunk(trunk, weights, PUBLISHED, replaced=REPLACED)
    return backbone


class UnstridedInceptionB(InceptionB):  # type: ignore[misc] # torchvision is not typed
    """Torchvision's Mixed_6a with stride 1: maps keep their size."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        for branch in (self.branch3x3, self.branch3x3dbl_3):
            branch.conv.stride, branch.conv.padding = (1, 1), (1, 1)

    def _forward(self, x: Tensor) -> list[Tensor]:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return [self.branch3x3(x), double, max_pool2d(x, kernel_size=3, stride=1, padding=1)]


def _through_6e(*, pooled: bool) -> nn.Sequential:
    # No init_weights: GapBackbone draws the random weights.
    network = Inception3(aux_logits=False, init_weights=False)
    network.Conv2d_1a_3x3.conv.padding = (1, 1)
    network.maxpool1 = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
    network.maxpool2 = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
    network.Mixed_6a = UnstridedInceptionB(288)
    layers = [*takewhile(lambda layer: layer[0] != "Mixed_7a", network.named_children())]
    if pooled:
        before = next(index for index, (name, _) in enumerate(layers) if name == "Mixed_6a")
        layers.insert(before, ("maxpool3", nn.MaxPool2d(3, 2, ceil_mode=True)))
    return nn.Sequential(OrderedDict([("rescale", InceptionScale()), *layers]))

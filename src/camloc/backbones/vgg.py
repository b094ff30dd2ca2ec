"""VGG16, and VGG-GAP: VGG16 through conv5_3, one new convolution, global average pooling."""

from typing import Annotated

from annotated_types import Ge, Le
from torch import nn
from torchvision.models import VGG16_BN_Weights, VGG16_Weights, WeightsEnum
from torchvision.models.vgg import cfgs, make_layers

from camloc.backbones.fully_connected import FullyConnectedBackbone
from camloc.backbones.gap import GapBackbone, conv_relu
from camloc.backbones.weights import load_trunk

NUM_MAPS = 1024


def vgg16(
    num_classes: int,
    weights: str | None = None,
    batch_norm: bool = False,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> FullyConnectedBackbone:
    """Build VGG16 (Simonyan and Zisserman, ICLR 2015), 512 maps of 14 x 14 at 224 x 224 before pool5.

    It is torchvision's ``vgg16``, or ``vgg16_bn`` with batch norm. It has no class weights: use gradients to
    localize with it.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights. The last
            layer is taken from there too if it is of C classes.
        batch_norm: Add batch norm after every convolution, so that training from scratch takes minutes.
        dropout: Fraction dropped after each of the first two linear layers in training.

    Raises:
        ValueError: ``weights`` do not fit.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> vgg16(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 512, 4, 6])
    """
    classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, num_classes),
    )
    pool = nn.Sequential(nn.MaxPool2d(kernel_size=2, stride=2), nn.AdaptiveAvgPool2d((7, 7)))
    through_conv5_3 = make_layers(cfgs["D"][:-1], batch_norm=batch_norm)
    backbone = FullyConnectedBackbone(through_conv5_3, pool, classifier, num_classes)
    if weights is not None:
        load_trunk(backbone, weights, _published(batch_norm), classifier="classifier.6")
    return backbone


def vgg_gap(
    num_classes: int,
    weights: str | None = None,
    batch_norm: bool = False,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> GapBackbone:
    """Build VGG-GAP (Zhou et al., CVPR 2016, Sec. 3.1), 1024 maps of 14 x 14 at 224 x 224.

    The trunk is torchvision's ``vgg16().features`` (``vgg16_bn`` with batch norm) up to conv5_3 and its ReLU.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights.
        batch_norm: Add batch norm after every convolution, so that training from scratch takes minutes.
        dropout: Fraction of the pooled maps dropped in training.

    Raises:
        ValueError: ``weights`` do not fit.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> vgg_gap(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1024, 4, 6])
    """
    trunk: nn.Sequential = make_layers(cfgs["D"][:-1], batch_norm=batch_norm)
    extra = nn.Sequential(*conv_relu(512, NUM_MAPS, kernel_size=3, padding=1, groups=2, batch_norm=batch_norm))
    backbone = GapBackbone(trunk, extra, NUM_MAPS, num_classes, dropout, random_trunk=True)
    _, _, pool3, pool4 = (index for index, layer in enumerate(trunk) if isinstance(layer, nn.MaxPool2d))
    conv5_3 = f"trunk.{len(trunk) - 1}"
    # Those of wsolevaluation (Choe et al., CVPR 2020).
    backbone.method_layers = {
        "adl": (f"trunk.{pool3}", f"trunk.{pool4 - 1}", conv5_3),
        "spg": (f"trunk.{pool4}", conv5_3),
    }
    if weights is not None:
        load_trunk(trunk, weights, _published(batch_norm), prefix="features.", replaced=("classifier.",))
    return backbone


def _published(batch_norm: bool) -> WeightsEnum:
    # Not IMAGENET1K_FEATURES: those weights expect images of another mean and deviation.
    return VGG16_BN_Weights.IMAGENET1K_V1 if batch_norm else VGG16_Weights.IMAGENET1K_V1

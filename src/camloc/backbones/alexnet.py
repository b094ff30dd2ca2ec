"""AlexNet and the paper's two GAP networks of it: AlexNet-GAP with one new convolution, AlexNet*-GAP with two."""

from typing import Annotated

from annotated_types import Ge, Le
from torch import nn
from torchvision.models import AlexNet_Weights

from camloc.backbones.fully_connected import FullyConnectedBackbone
from camloc.backbones.gap import GapBackbone, conv_relu
from camloc.backbones.weights import load_trunk, refuse_batch_norm

PUBLISHED = AlexNet_Weights.IMAGENET1K_V1
NUM_MAPS = 512
NUM_MAPS_ONE_CONV = 1024


def alexnet(
    num_classes: int,
    weights: str | None = None,
    batch_norm: bool = False,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> FullyConnectedBackbone:
    """Build torchvision's AlexNet (Krizhevsky, arXiv 1404.5997), 256 maps of 13 x 13 at 224 x 224 before pool5.

    It has no class weights: use gradients to localize with it.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights. The last
            layer is taken from there too if it is of C classes.
        batch_norm: Add batch norm after every convolution, so that training from scratch takes minutes.
        dropout: Fraction dropped before each of the first two linear layers in training.

    Raises:
        ValueError: ``weights`` do not fit, or are combined with ``batch_norm``.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> alexnet(num_classes=10).forward_features(torch.zeros(1, 3, 224, 224)).maps.shape
        torch.Size([1, 256, 13, 13])
    """
    features = _through_conv5(weights, batch_norm)
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, num_classes),
    )
    pool = nn.Sequential(nn.MaxPool2d(kernel_size=3, stride=2), nn.AdaptiveAvgPool2d((6, 6)))
    backbone = FullyConnectedBackbone(features, pool, classifier, num_classes)
    if weights is not None:
        load_trunk(backbone, weights, PUBLISHED, classifier="classifier.6")
    return backbone


def alexnet_gap(
    num_classes: int,
    weights: str | None = None,
    batch_norm: bool = False,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> GapBackbone:
    """Build AlexNet*-GAP (Zhou et al., CVPR 2016, Sec. 3.1), 512 maps of 13 x 13 at 224 x 224.

    The trunk is torchvision's ``alexnet().features`` up to conv5 and its ReLU.

    Args:
        num_classes: C.
        weights: ``IMAGENET1K_V1``, the path of a file in that format, or None for random weights.
        batch_norm: Add batch norm after every convolution, so that training from scratch takes minutes.
        dropout: Fraction of the pooled maps dropped in training.

    Raises:
        ValueError: ``weights`` do not fit, or are combined with ``batch_norm``.
        FileNotFoundError: ``weights`` cannot be found or downloaded.

    Example:
        >>> import torch
        >>> alexnet_gap(num_classes=10).forward_features(torch.zeros(1, 3, 224, 224)).maps.shape
        torch.Size([1, 512, 13, 13])
    """
    trunk = _through_conv5(weights, batch_norm)
    extra = nn.Sequential(
        *conv_relu(256, NUM_MAPS, kernel_size=3, padding=1, groups=2, batch_norm=batch_norm),
        *conv_relu(NUM_MAPS, NUM_MAPS, kernel_size=3, padding=1, groups=2, batch_norm=batch_norm),
    )
    return _gap(trunk, extra, NUM_MAPS, num_classes, dropout, weights)


def alexnet_gap_one_conv(
    num_classes: int,
    weights: str | None = None,
    batch_norm: bool = False,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> GapBackbone:
    """Build AlexNet-GAP (Zhou et al., CVPR 2016, Sec. 3.1), 1024 maps of 13 x 13 at 224 x 224.

    As :func:`alexnet_gap`, with the same arguments and errors, but with one new convolution. The authors released
    only the other network; this one follows the paper's text, which mentions no groups.

    Example:
        >>> import torch
        >>> alexnet_gap_one_conv(num_classes=10).forward_features(torch.zeros(1, 3, 224, 224)).maps.shape
        torch.Size([1, 1024, 13, 13])
    """
    trunk = _through_conv5(weights, batch_norm)
    extra = nn.Sequential(*conv_relu(256, NUM_MAPS_ONE_CONV, kernel_size=3, padding=1, batch_norm=batch_norm))
    return _gap(trunk, extra, NUM_MAPS_ONE_CONV, num_classes, dropout, weights)


def _through_conv5(weights: str | None, batch_norm: bool) -> nn.Sequential:
    if batch_norm and weights is not None:
        refuse_batch_norm(weights, "torchvision's AlexNet")
    # As in the paper, pool5 is removed, which leaves 13 x 13 maps. The released network keeps pool5 at stride
    # 1 and averages over only 11 x 11; its conv5 has 384 maps in two groups, torchvision's 256 in one.
    return nn.Sequential(
        *conv_relu(3, 64, kernel_size=11, stride=4, padding=2, batch_norm=batch_norm),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *conv_relu(64, 192, kernel_size=5, padding=2, batch_norm=batch_norm),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *conv_relu(192, 384, kernel_size=3, padding=1, batch_norm=batch_norm),
        *conv_relu(384, 256, kernel_size=3, padding=1, batch_norm=batch_norm),
        *conv_relu(256, 256, kernel_size=3, padding=1, batch_norm=batch_norm),
    )


def _gap(
    trunk: nn.Sequential, extra: nn.Module, num_maps: int, num_classes: int, dropout: float, weights: str | None
) -> GapBackbone:
    backbone = GapBackbone(trunk, extra, num_maps, num_classes, dropout, random_trunk=True)
    relus = [f"trunk.{index}" for index, layer in enumerate(trunk) if isinstance(layer, nn.ReLU)]
    backbone.method_layers = {"spg": (relus[-3], relus[-1])}  # conv3 and conv5
    if weights is not None:
        load_trunk(trunk, weights, PUBLISHED, prefix="features.", replaced=("classifier.",))
    return backbone

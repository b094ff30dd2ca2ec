"""AlexNet*-GAP: AlexNet without its fully connected layers, two new convolutions, global average pooling."""

from typing import Annotated

from annotated_types import Ge, Le
from torch import nn
from torchvision.models import AlexNet_Weights

from camloc.backbones.gap import GapBackbone, conv_relu
from camloc.backbones.weights import load_trunk

NUM_MAPS = 512


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
    if batch_norm and weights is not None:
        raise ValueError(
            f"batch_norm=true cannot start from weights={weights}: torchvision's AlexNet has no batch norm; "
            "set batch_norm=false, or weights=null to train from scratch"
        )
    # As in the paper, pool5 is removed, which leaves 13 x 13 maps. The released network keeps pool5 at stride
    # 1 and averages over only 11 x 11; its conv5 has 384 maps in two groups, torchvision's 256 in one.
    trunk = nn.Sequential(
        *conv_relu(3, 64, kernel_size=11, stride=4, padding=2, batch_norm=batch_norm),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *conv_relu(64, 192, kernel_size=5, padding=2, batch_norm=batch_norm),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *conv_relu(192, 384, kernel_size=3, padding=1, batch_norm=batch_norm),
        *conv_relu(384, 256, kernel_size=3, padding=1, batch_norm=batch_norm),
        *conv_relu(256, 256, kernel_size=3, padding=1, batch_norm=batch_norm),
    )
    extra = nn.Sequential(
        *conv_relu(256, NUM_MAPS, kernel_size=3, padding=1, groups=2, batch_norm=batch_norm),
        *conv_relu(NUM_MAPS, NUM_MAPS, kernel_size=3, padding=1, groups=2, batch_norm=batch_norm),
    )
    backbone = GapBackbone(trunk, extra, NUM_MAPS, num_classes, dropout, random_trunk=True)
    if weights is not None:
        published = AlexNet_Weights.IMAGENET1K_V1
        load_trunk(trunk, weights, published, prefix="features.", replaced=("classifier.",))
    return backbone

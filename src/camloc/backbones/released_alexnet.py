"""The released AlexNet*-GAP."""

from collections import OrderedDict
from typing import Annotated

from annotated_types import Ge, Le
from torch import nn

from camloc.backbones.gap import GapBackbone
from camloc.backbones.released import RgbToBgr, load_released, max_pool, named_conv, released_input, response_norm

NUM_MAPS = 512
PUBLISHED = "alexnetplusCAM_imagenet.caffemodel"


def released_alexnet_gap(
    num_classes: int, weights: str | None = None, dropout: Annotated[float, Ge(0), Le(1)] = 0.5
) -> GapBackbone:
    """Build the released AlexNet*-GAP, 512 maps of 11 x 11 at 227 x 227.

    Its layers are those of ``deploy_alexnetplusCAM_imagenet.prototxt`` of the release of Zhou et al. (CVPR 2016).

    Args:
        num_classes: C; the released weights have 1000.
        weights: ``alexnetplusCAM_imagenet.caffemodel``, a file converted from it, or None for random weights.
        dropout: Fraction of the pooled maps dropped in training.

    Raises:
        ValueError: ``weights`` do not fit.
        FileNotFoundError: There is no such file.

    Example:
        >>> import torch
        >>> released_alexnet_gap(num_classes=10).forward_features(torch.zeros(1, 3, 227, 227)).maps.shape
        torch.Size([1, 512, 11, 11])
    """
    # The paper removes pool5 and has 13 x 13 maps (Sec. 3.1); the release keeps it at stride 1, which leaves 11 x 11.
    trunk = nn.Sequential(
        OrderedDict(
            [
                ("bgr", RgbToBgr()),
                *named_conv("conv1", 3, 96, 11, stride=4),
                ("pool1", max_pool(3, stride=2)),
                ("norm1", response_norm()),
                *named_conv("conv2", 96, 256, 5, padding=2, groups=2),
                ("pool2", max_pool(3, stride=2)),
                ("norm2", response_norm()),
                *named_conv("conv3", 256, 384, 3, padding=1),
                *named_conv("conv4", 384, 384, 3, padding=1, groups=2),
                *named_conv("conv5", 384, 384, 3, padding=1, groups=2),
                ("pool5", max_pool(3, stride=1)),
            ]
        )
    )
    extra = nn.Sequential(
        OrderedDict(
            [
                *named_conv("conv6", 384, NUM_MAPS, 3, padding=1, groups=2),
                *named_conv("conv7", NUM_MAPS, NUM_MAPS, 3, padding=1, groups=2),
            ]
        )
    )
    backbone = GapBackbone(trunk, extra, NUM_MAPS, num_classes, dropout, released_input(227), random_trunk=True)
    if weights is not None:
        load_released(backbone, weights, classifier="fc9", published=PUBLISHED)
    return backbone

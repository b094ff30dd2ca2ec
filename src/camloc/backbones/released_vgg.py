"""The released VGG-GAP."""

from collections import OrderedDict
from typing import Annotated

from annotated_types import Ge, Le
from torch import nn

from camloc.backbones.gap import GapBackbone
from camloc.backbones.released import RgbToBgr, load_released, max_pool, named_conv, released_input

NUM_MAPS = 1024
PUBLISHED = "vgg16CAM_train_iter_90000.caffemodel"
BLOCKS = {1: (64, 64), 2: (128, 128), 3: (256, 256, 256), 4: (512, 512, 512), 5: (512, 512, 512)}
"""Filters of the convolutions of each block of VGG16; pooling is between blocks."""


def released_vgg_gap(
    num_classes: int, weights: str | None = None, dropout: Annotated[float, Ge(0), Le(1)] = 0.5
) -> GapBackbone:
    """Build the released VGG-GAP, 1024 maps of 14 x 14 at 224 x 224.

    Its layers are those of ``deploy_vgg16CAM.prototxt`` of the release of Zhou et al. (CVPR 2016).

    Args:
        num_classes: C; the released weights have 1000.
        weights: ``vgg16CAM_train_iter_90000.caffemodel``, a file converted from it, or None for random weights.
        dropout: Fraction of the pooled maps dropped in training.

    Raises:
        ValueError: ``weights`` do not fit.
        FileNotFoundError: There is no such file.

    Example:
        >>> import torch
        >>> released_vgg_gap(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1024, 4, 6])
    """
    layers: list[tuple[str, nn.Module]] = [("bgr", RgbToBgr())]
    channels = 3
    for block, filters in BLOCKS.items():
        for number, width in enumerate(filters, start=1):
            layers += named_conv(f"conv{block}_{number}", channels, width, 3, padding=1)
            channels = width
        layers.append((f"pool{block}", max_pool(2, stride=2)))
    trunk = nn.Sequential(OrderedDict(layers[:-1]))  # no pooling after conv5_3
    extra = nn.Sequential(OrderedDict(named_conv("CAM_conv", channels, NUM_MAPS, 3, padding=1, groups=2)))
    # The deploy file has 224; a comment in the release's prepare_image.m says 227.
    backbone = GapBackbone(trunk, extra, NUM_MAPS, num_classes, dropout, released_input(224), random_trunk=True)
    if weights is not None:
        load_released(backbone, weights, classifier="CAM_fc", published=PUBLISHED)
    return backbone

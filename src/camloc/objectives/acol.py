"""Adversarial complementary learning: a second classifier sees what the first one did not look at."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, cast

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.backbones.contract import Backbone, Features, empty_image, prefers_channels_last
from camloc.objectives.contract import Labelled, Losses
from camloc.objectives.parts import channels, minmax, pooled_maps, refuse_several_labels


class TwoClassifiers(nn.Module):
    r"""The trunk of a network with two convolutional classifiers.

    Each is two 3x3 convolutions with ReLU and a 1x1 convolution to one map per class; the maps' means are the logits
    (Zhang et al., CVPR 2018, Sec. 3.1). They take the place of whatever followed the trunk: the network's own new
    convolution and linear layer. The logits are those of the first classifier.

    Args:
        backbone: Ends in global average pooling; its ``trunk``, or all before the pooling where it has none, is kept.
        threshold: From where on, a share of the first classifier's normalized map, the second one sees nothing.
        width: Units of the 3x3 convolutions.
    """

    class_weights: None = None

    def __init__(self, backbone: Backbone, threshold: float, width: int) -> None:
        super().__init__()
        self.num_classes, self.input_spec, self.threshold = backbone.num_classes, backbone.input_spec, threshold
        self.prefers_channels_last = prefers_channels_last(backbone)
        trunk = getattr(backbone, "trunk", None)
        self.trunk = trunk if isinstance(trunk, nn.Module) else _Maps(backbone)
        num_maps = channels(self.trunk, empty_image(backbone))
        self.first, self.second = (_classifier(num_maps, width, backbone.num_classes) for _ in range(2))

    def forward_features(self, images: Tensor) -> Features:
        """Return the (B,K,h,w) maps of the trunk."""
        return Features(self.trunk(images))

    def forward_head(self, features: Features) -> Tensor:
        """Return the (B,C) logits of the first classifier."""
        return self.class_maps(features).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,3,H,W) normalized images."""
        return self.forward_head(self.forward_features(images))

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of both classifiers."""
        yield from self.first.parameters()
        yield from self.second.parameters()

    def class_maps(self, features: Features) -> Tensor:
        """Return (B,C,h,w), a map of the first classifier for each class."""
        maps: Tensor = self.first(features.maps)
        return maps

    def complementary_maps(self, features: Features, seen: Tensor) -> Tensor:
        """Return (B,C,h,w), a map of the second classifier for each class.

        Args:
            features: Of the trunk.
            seen: (B,h,w) the first classifier's map of one class per image, where it is high nothing is left.
        """
        left = minmax(seen) < self.threshold
        maps: Tensor = self.second(features.maps * left[:, None].to(features.maps.dtype))
        return maps

    def joint_maps(self, features: Features, seen: Tensor, classes: Tensor) -> Tensor:
        """Return (B,h,w) in [0,1], the larger of both classifiers' normalized maps of one class per image.

        Args:
            features: Of the trunk.
            seen: (B,h,w) the first classifier's maps of the classes.
            classes: (B,).
        """
        second = self.complementary_maps(features, seen)[torch.arange(len(seen), device=seen.device), classes]
        return torch.maximum(minmax(seen), minmax(second))


class AdversarialComplementary(nn.Module):
    r"""The softmax cross entropies of two classifiers, the second of which sees the trunk's maps with a part erased.

    .. math:: L = \ell(A(f), t) + \ell(B(f \odot [\bar M_t < \delta]), t) \qquad
       \bar M_t = \frac{M_t - \min M_t}{\max M_t - \min M_t}

    with the first classifier's map :math:`M_t` of the true class (Zhang et al., "Adversarial Complementary Learning",
    CVPR 2018, Sec. 3.2). Evaluate with ``attribution=acol``, the maximum of both classifiers' normalized maps.

    The paper has :math:`\delta = 0.6` on ImageNet; 0.7 is the default of the released code of Choe et al. (CVPR 2020),
    which also smooths VGG's maps by two 3x3 poolings of stride 1 before the classifiers; here none are added.

    Args:
        class_counts: C numbers of training images; not used.
        threshold: :math:`\delta`, in (0, 1].
        width: Units of the classifiers' 3x3 convolutions.

    Raises:
        ValueError: An option is out of range.

    Example:
        >>> from camloc.backbones.gap import GapBackbone
        >>> backbone = GapBackbone(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), num_maps=8, num_classes=5)
        >>> two = AdversarialComplementary.extend(backbone, width=4)
        >>> losses = AdversarialComplementary([1] * 5)(two, Labelled(torch.zeros(2, 3, 16, 16), torch.tensor([0, 4])))
        >>> list(losses.by_name), losses.logits.shape
        (['cross_entropy', 'complementary'], torch.Size([2, 5]))
    """

    runs_in_parts: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int],  # noqa: ARG002 - every objective is given it
        threshold: Annotated[float, Gt(0), Le(1)] = 0.7,
        width: Annotated[int, Ge(1)] = 1024,  # noqa: ARG002 - for extend
    ) -> None:
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f"objective.threshold must lie in (0, 1], found {threshold}")

    @classmethod
    def extend(cls, backbone: Backbone, threshold: float = 0.7, width: int = 1024) -> TwoClassifiers:
        """Return the network's trunk with two classifiers.

        Raises:
            ValueError: The network does not end in global average pooling.
        """
        pooled_maps(backbone, "acol")
        return TwoClassifiers(backbone, threshold, width)

    def forward(self, backbone: TwoClassifiers, batch: Labelled) -> Losses:
        """Return both cross entropies of a batch.

        Raises:
            ValueError: If images have several labels.
        """
        refuse_several_labels(batch, "acol")
        features = backbone.forward_features(batch.images)
        maps = backbone.class_maps(features)
        seen = maps[torch.arange(len(maps), device=maps.device), batch.target]
        logits, second = maps.mean(dim=(2, 3)), backbone.complementary_maps(features, seen).mean(dim=(2, 3))
        losses = {"cross_entropy": F.cross_entropy(logits, batch.target)}
        return Losses(losses | {"complementary": F.cross_entropy(second, batch.target)}, logits)


class _Maps(nn.Module):
    """All of a network before its pooling; its linear layer, which nothing reads, is not trained."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        for parameter in backbone.new_layers():
            parameter.requires_grad = False

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.forward_features(images).maps


def _classifier(num_maps: int, width: int, num_classes: int) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(num_maps, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, num_classes, 1),
    )
    *inner, last = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    for conv in inner:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.normal_(last.weight, std=0.01)  # as a GAP network's linear layer
    for conv in (*inner, last):
        nn.init.zeros_(cast("nn.Parameter", conv.bias))
    return layers

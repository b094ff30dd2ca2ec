"""Self-produced guidance: the attention of later layers teaches inner ones what is surely object and surely not."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Le, Len
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.backbones.contract import Backbone, Extended, Features, empty_image
from camloc.objectives.contract import Labelled, Losses
from camloc.objectives.parts import minmax, pooled_maps, refuse_several_labels, through

MIN_FOREGROUND, SHARE_OF_MAXIMUM = 30, 0.7
"""Fewer pixels than this above the upper threshold: those above this share of the map's maximum are foreground."""
Thresholds = Annotated[Sequence[Annotated[float, Ge(0), Le(1)]], Len(2, 2)]
"""Foreground is above the first, background below the second."""


class Guided(NamedTuple):
    """What the network gives in training: features, and (B,1,h,w) logits of object against background."""

    features: Features
    inner: Tensor
    later: Tensor
    last: Tensor
    """Of the last feature maps."""


class GuidedBackbone(Extended):
    """A backbone with three branches that tell object from background; evaluation leaves them out.

    The first two, which read an inner and a later layer, share their second half (Zhang et al., ECCV 2018, Sec. 3.2).

    Args:
        backbone: Ends in global average pooling.
        layers: Names of two layers of its ``trunk``, a sequence of layers; null for its own, or the two stages before
            the last one of a network of timm.
        width: Units of the branches.

    Raises:
        ValueError: The network has no such layers.
    """

    def __init__(self, backbone: Backbone, layers: Sequence[str] | None, width: int) -> None:
        super().__init__(backbone)
        self.layers = getattr(backbone, "method_layers", {}).get("spg") if layers is None else layers
        if self.layers is not None and len(set(self.layers)) < len(self.layers):
            raise ValueError(f"objective.layers={list(self.layers)}: give two layers, an inner and a later one")
        was_training = self.training
        with torch.no_grad():
            features, inner, later = self.eval().forward_layers(empty_image(backbone))
        self.train(was_training)
        found, expected = features.maps.shape[1], pooled_maps(backbone, "spg")
        if found != expected:
            raise ValueError(
                f"objective=spg cannot read inner layers of {type(backbone).__name__}: its last maps come as {found} "
                f"in place of {expected}; use a convolutional network"
            )
        self.inner, self.later = (_conv_relu(maps.shape[1], width) for maps in (inner, later))
        self.shared = nn.Sequential(_conv_relu(width, width), _to_one_map(width))
        self.last = nn.Sequential(_conv_relu(expected, width), _to_one_map(width))

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the backbone's new layers and of the branches."""
        yield from self.backbone.new_layers()
        for branch in (self.inner, self.later, self.shared, self.last):
            yield from branch.parameters()

    def forward_guided(self, images: Tensor) -> Guided:
        """Return the features of (B,3,H,W) normalized images with the logits of the branches."""
        features, inner, later = self.forward_layers(images)
        return Guided(
            features, self.shared(self.inner(inner)), self.shared(self.later(later)), self.last(features.maps)
        )

    def forward_layers(self, images: Tensor) -> tuple[Features, Tensor, Tensor]:
        """Return the features of images, and what the inner and the later layer return on the way.

        Raises:
            ValueError: There are no such layers.
        """
        backbone: Any = self.backbone
        trunk: Any = getattr(backbone, "trunk", getattr(backbone, "network", None))
        after = getattr(backbone, "extra", nn.Identity())
        if isinstance(trunk, nn.Sequential) and self.layers is not None:
            names = [name.removeprefix("trunk.") for name in self.layers]
            maps, kept = through(trunk, images, names)
            missing = [layer for layer, name in zip(self.layers, names, strict=True) if name not in kept]
            if not missing:
                return Features(after(maps)), kept[names[0]], kept[names[1]]
        elif hasattr(trunk, "forward_intermediates") and self.layers is None:  # of timm
            stages = len(trunk.feature_info)
            maps, (inner, later) = trunk.forward_intermediates(images, indices=[stages - 3, stages - 2])
            return Features(after(maps)), inner, later
        raise ValueError(
            f"objective.layers={None if self.layers is None else list(self.layers)}: give two layers of a network whose"
            " trunk is a sequence, such as [trunk.layer3.0, trunk.layer3] of resnet50_gap; networks of timm have null"
        )


class SelfProducedGuidance(nn.Module):
    r"""Softmax cross entropy plus three binary cross entropies of masks that the network makes itself.

    .. math:: L = \ell(z, t) + H(b_2, m(\bar M_t; \delta_1)) + H(b_1, m(\sigma(b_2); \delta_2)) +
       H\!\left(c, m\!\left(\tfrac{\sigma(b_1) + \sigma(b_2)}{2}; \delta_3\right)\right)

    (Zhang et al., "Self-produced Guidance", ECCV 2018, Sec. 3). :math:`\bar M_t` is the true class's map, normalized by
    its minimum and maximum; :math:`b_1, b_2, c` are the logits of the inner, later and last branch; the mask m is 1
    above the first and 0 below the second of two thresholds, and what lies between is left out of the binary cross
    entropy H, a mean over pixels of the input. Maps are upsampled bilinearly to its size; masks pass no gradients.

    Thresholds and the rule for small foregrounds are those of the released code of Choe et al. (CVPR 2020); the paper
    teaches the branches in the same order, and its own code has no such rule.

    Args:
        class_counts: C numbers of training images; not used.
        later: :math:`\delta_1`.
        inner: :math:`\delta_2`.
        last: :math:`\delta_3`.
        layers: An inner and a later layer; null: those of Choe et al. for vgg_gap, resnet50_gap and inception_v3_gap.
        width: Units of the branches: 512 in the released code, 1024 for ResNet's inner ones.

    Raises:
        ValueError: An option is out of range.
    """

    changes_images: ClassVar[bool] = True
    runs_in_parts: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int],  # noqa: ARG002 - every objective is given it
        later: Thresholds = (0.7, 0.01),
        inner: Thresholds = (0.5, 0.05),
        last: Thresholds = (0.7, 0.1),
        layers: Annotated[Sequence[str], Len(2, 2)] | None = None,  # noqa: ARG002 - for extend
        width: Annotated[int, Ge(1)] = 512,  # noqa: ARG002 - for extend
    ) -> None:
        super().__init__()
        for name, pair in (("later", later), ("inner", inner), ("last", last)):
            if len(pair) != 2 or not 0 <= pair[1] <= pair[0] <= 1:  # noqa: PLR2004 - upper and lower
                raise ValueError(
                    f"objective.{name} must be an upper and a lower threshold in [0, 1], found {list(pair)}"
                )
        self.later_at, self.inner_at, self.last_at = ((pair[0], pair[1]) for pair in (later, inner, last))

    @classmethod
    def extend(cls, backbone: Backbone, layers: Sequence[str] | None = None, width: int = 512) -> GuidedBackbone:
        """Return the network with the three branches.

        Raises:
            ValueError: The network does not end in global average pooling, or has no such layers.
        """
        pooled_maps(backbone, "spg")
        return GuidedBackbone(backbone, layers, width)

    def forward(self, backbone: GuidedBackbone, batch: Labelled) -> Losses:
        """Return the four losses of a batch.

        Raises:
            ValueError: If images have several labels.
        """
        refuse_several_labels(batch, "spg")
        guided = backbone.forward_guided(batch.images)
        logits = backbone.forward_head(guided.features)
        size = (batch.images.shape[-2], batch.images.shape[-1])
        inner, later, last = (_upsampled(one, size) for one in (guided.inner, guided.later, guided.last))
        weights = backbone.class_weights
        assert weights is not None  # noqa: S101 - extend has looked
        # Without the bias, which the normalization would take off again.
        true = torch.einsum("bk,bkhw->bhw", weights[batch.target].float(), guided.features.maps.float())
        attention = minmax(_upsampled(true[:, None], size))
        fused = (inner.sigmoid() + later.sigmoid()) / 2
        losses = {
            "cross_entropy": F.cross_entropy(logits, batch.target),
            "later": masked_loss(later, attention, *self.later_at),
            "inner": masked_loss(inner, later.sigmoid(), *self.inner_at),
            "last": masked_loss(last, fused, *self.last_at),
        }
        return Losses(losses, logits)


def masked_loss(logits: Tensor, attention: Tensor, upper: float, lower: float) -> Tensor:
    """Return the binary cross entropy of logits on those pixels whose attention is high or low; 0 where none is.

    Args:
        logits: (B,H,W).
        attention: (B,H,W) in [0,1]; gets no gradient.
        upper: Foreground is above.
        lower: Background is below, also where it is foreground by the rule for small ones.

    Example:
        >>> masked_loss(torch.zeros(1, 1, 3), torch.tensor([[[0.0, 0.5, 1.0]]]), upper=0.9, lower=0.1)
        tensor(0.6931)
    """
    attention = attention.detach()
    foreground = attention > upper
    is_small = foreground.sum(dim=(1, 2), keepdim=True) < MIN_FOREGROUND
    highest = attention > SHARE_OF_MAXIMUM * attention.amax(dim=(1, 2), keepdim=True)
    background = attention < lower
    foreground = torch.where(is_small, highest, foreground) & ~background
    known = (foreground | background).float()
    each = F.binary_cross_entropy_with_logits(logits, foreground.float(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def _upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B,H,W) float32 of (B,1,h,w), as bilinear interpolation with a backward that CUDA repeats exactly."""
    with torch.autocast(maps.device.type, enabled=False):
        rows, columns = (
            F.interpolate(torch.eye(old, device=maps.device)[None], new, mode="linear")[0]
            for old, new in zip(maps.shape[-2:], size, strict=True)
        )
        upsampled: Tensor = rows.T @ maps[:, 0].float() @ columns
    return upsampled


def _conv_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type] # has one
    return nn.Sequential(conv, nn.ReLU())


def _to_one_map(width: int) -> nn.Conv2d:
    conv = nn.Conv2d(width, 1, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type] # has one
    return conv

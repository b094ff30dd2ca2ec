"""TriLite: a head that divides the feature maps into foreground, background and what is neither."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Protocol

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.backbones.contract import Backbone, Extended, Features, LongHead, count_maps
from camloc.objectives.contract import Labelled, Losses
from camloc.objectives.parts import refuse_several_labels

FOREGROUND, BACKGROUND = 0, 1
"""Channels of the regions, in the order of the released code; the third is what is neither."""
NUM_REGIONS = 3
SUM_EPSILON, LOG_EPSILON = 1e-6, 1e-7
"""Of the released code, so that an empty region and a certain class have finite values."""


class RegionBackbone(Backbone, Protocol):
    """A backbone that says to which region each pixel of its feature maps belongs."""

    def forward_regions(self, features: Features) -> Tensor:
        """Return (B,3,h,w) probabilities of foreground, background and neither."""

    def forward_region_logits(self, features: Features, regions: Tensor) -> Tensor:
        """Return the (B,2,C) logits of what the foreground and the background show."""


class TriLiteNetwork(Extended):
    """A backbone with TriLite's localization head on its feature maps.

    The network's own head classifies images as before; its weights are kept, those of the new layers are drawn.

    Args:
        backbone: The network.
        dropout: Fraction of each region's pooled maps dropped in training, in [0, 1).

    Example:
        >>> from camloc.backbones.gap import GapBackbone
        >>> base = GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5)
        >>> network = TriLiteNetwork(base, dropout=0.25)
        >>> features = network.forward_features(torch.zeros(2, 3, 6, 8))
        >>> regions = network.forward_regions(features)
        >>> regions.shape, network.forward_region_logits(features, regions).shape
        (torch.Size([2, 3, 4, 6]), torch.Size([2, 2, 5]))
    """

    def __init__(self, backbone: Backbone, dropout: float) -> None:
        super().__init__(backbone)
        num_maps = count_maps(backbone)
        self.regions = nn.Sequential(
            nn.Conv2d(num_maps, NUM_REGIONS, 3, padding=1, bias=False), nn.BatchNorm2d(NUM_REGIONS)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(num_maps, backbone.num_classes)

    def forward_regions(self, features: Features) -> Tensor:
        """Return (B,3,h,w) float32 probabilities of foreground, background and neither."""
        scores: Tensor = self.regions(features.maps)
        return scores.float().softmax(dim=1)

    def forward_region_logits(self, features: Features, regions: Tensor) -> Tensor:
        """Return the (B,2,C) logits of what the foreground and the background show, by one linear layer."""
        weights = regions[:, [FOREGROUND, BACKGROUND]]
        with torch.autocast(weights.device.type, enabled=False):
            pooled = torch.einsum("brhw,bkhw->brk", weights, features.maps.float())
            pooled = pooled / (weights.sum(dim=(2, 3))[..., None] + SUM_EPSILON)
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def forward_trunk(self, images: Tensor) -> Features:
        """Return what the trunk makes of images, see :class:`camloc.backbones.contract.LongHead`."""
        inner = self.backbone
        return inner.forward_trunk(images) if isinstance(inner, LongHead) else inner.forward_features(images)

    def forward_extra(self, features: Features) -> Features:
        """Return the feature maps of what the trunk made."""
        return self.backbone.forward_extra(features) if isinstance(self.backbone, LongHead) else features

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the backbone's new layers and of TriLite's head."""
        yield from super().new_layers()
        yield from self.regions.parameters()
        yield from self.classifier.parameters()


class TriLite(nn.Module):
    r"""Learn where the object is from what its region shows and its background does not.

    .. math::
        L = \mathrm{CE}(z, t) + \mathrm{CE}(z^F, t) - \alpha \log(1 - p^B_t + \epsilon) \qquad
        z^R = W \frac{\sum_{x,y} r_R(x, y) f(x, y)}{\sum_{x,y} r_R(x, y) + \epsilon'} + b

    averaged over images; z are the network's own logits, :math:`r_R` the probability of region R (foreground F,
    background B, neither: a 3x3 convolution, batch norm and a softmax), f the feature maps and :math:`p^B` the softmax
    of :math:`z^B` (TriLite, CVPR 2026; the released code at github.com/ariansabaghi/TriLite). There the trunk is a
    frozen DINOv2 and its tokens are taken before the final norm, where the network's own head has a dropout and a
    linear layer of its own; here the feature maps and the head are the network's, whatever it is.

    Args:
        class_counts: C numbers of training images; not used.
        alpha: Weight of the background's loss, at least 0.
        dropout: Of the pooled regions, in [0, 1); the network's part of the objective.

    Raises:
        ValueError: ``alpha`` is below 0.

    Example:
        >>> from camloc.backbones.gap import GapBackbone
        >>> base = GapBackbone(nn.Conv2d(3, 8, 3), nn.ReLU(), num_maps=8, num_classes=5)
        >>> objective, network = TriLite(class_counts=[1] * 5), TriLite.extend(base)
        >>> batch = Labelled(torch.zeros(2, 3, 6, 8), torch.tensor([0, 4]))
        >>> list(objective(network, batch).by_name)
        ['cross_entropy', 'foreground', 'background']
    """

    runs_in_parts: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int],  # noqa: ARG002 - every objective is given it
        alpha: Annotated[float, Ge(0)] = 1.0,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.25,  # noqa: ARG002 - extend reads it
    ) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"objective.alpha must be at least 0, found {alpha}")
        self.alpha = alpha

    @classmethod
    def extend(cls, backbone: Backbone, dropout: float = 0.25) -> TriLiteNetwork:
        """Return the network with TriLite's head.

        Raises:
            ValueError: ``dropout`` is out of range.
        """
        if not 0 <= dropout < 1:
            raise ValueError(f"objective.dropout must lie in [0, 1), found {dropout}")
        return TriLiteNetwork(backbone, dropout)

    def forward(self, backbone: RegionBackbone, batch: Labelled) -> Losses:
        """Return the three losses of a batch.

        Raises:
            ValueError: If images have several labels.
        """
        refuse_several_labels(batch, "trilite")
        features = backbone.forward_features(batch.images)
        logits = backbone.forward_head(features)
        foreground, background = backbone.forward_region_logits(features, backbone.forward_regions(features)).unbind(1)
        of_true = background.float().softmax(dim=1).gather(1, batch.target[:, None])
        losses = {
            "cross_entropy": F.cross_entropy(logits, batch.target),
            "foreground": F.cross_entropy(foreground, batch.target),
            "background": -self.alpha * torch.log(1 - of_true + LOG_EPSILON).mean(),
        }
        return Losses(losses, logits)

"""Networks that end in fully connected layers, as AlexNet and VGG were published."""

from collections.abc import Iterator

from torch import Tensor, nn

from camloc.backbones.contract import Features, InputSpec
from camloc.backbones.gap import IMAGENET, initialize
from camloc.backbones.stages import last_of_each_size, maps_of_layers


class FullyConnectedBackbone(nn.Module):
    """Convolutions, pooling to a fixed size, and several linear layers.

    The position of every pixel of the maps has weights of its own, so there are no class weights; maps come from
    gradients. All layers start from random weights, as those of :class:`camloc.backbones.gap.GapBackbone`. The keys
    of its state dict are those of torchvision's network.

    Args:
        features: Convolutions, images to (B,K,h,w) feature maps.
        pool: Feature maps of any size to maps of one size.
        classifier: Flattened maps to (B,C) logits; its last layer is made for the classes at hand.
        num_classes: C.
        input_spec: What the network expects of images.

    Example:
        >>> import torch
        >>> classifier = nn.Sequential(nn.Linear(8 * 2 * 2, 16), nn.ReLU(), nn.Linear(16, 5))
        >>> backbone = FullyConnectedBackbone(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(2), classifier, num_classes=5)
        >>> features = backbone.forward_features(torch.zeros(2, 3, 32, 48))
        >>> features.maps.shape, backbone.forward_head(features).shape, backbone.class_weights
        (torch.Size([2, 8, 30, 46]), torch.Size([2, 5]), None)
    """

    class_weights = None

    def __init__(
        self,
        features: nn.Module,
        pool: nn.Module,
        classifier: nn.Sequential,
        num_classes: int,
        input_spec: InputSpec = IMAGENET,
    ) -> None:
        super().__init__()
        self.features = features
        self.pool = pool
        self.classifier = classifier
        self.num_classes = num_classes
        self.input_spec = input_spec
        self.apply(initialize)

    def forward_features(self, images: Tensor) -> Features:
        """Return the (B,K,h,w) feature maps of (B,3,H,W) normalized images."""
        return Features(self.features(images))

    def forward_head(self, features: Features) -> Tensor:
        """Return the (B,C) logits of (B,K,h,w) feature maps."""
        logits: Tensor = self.classifier(self.pool(features.maps).flatten(1))
        return logits

    def forward_stages(self, images: Tensor) -> list[Tensor]:
        """Return the last maps of each size, see :class:`camloc.backbones.contract.Staged`."""
        return last_of_each_size(maps_of_layers(self.features, images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the (B,C) logits of (B,3,H,W) normalized images."""
        return self.forward_head(self.forward_features(images))

    def new_layers(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the last layer."""
        yield from self.classifier[-1].parameters()

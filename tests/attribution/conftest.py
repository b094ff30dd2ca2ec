"""Tiny backbones: any two modules as the halves of a network."""

from collections.abc import Callable, Iterator

import pytest
from torch import Tensor, nn

from camloc.backbones.contract import Backbone, Features, InputSpec


class Halves(nn.Module):
    input_spec = InputSpec()
    num_classes = 0

    def __init__(self, first: nn.Module, second: nn.Module, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.first, self.second, self.weights = first, second, class_weights

    def forward_features(self, images: Tensor) -> Features:
        return Features(self.first(images))

    def forward_head(self, features: Features) -> Tensor:
        logits: Tensor = self.second(features.maps)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    @property
    def class_weights(self) -> Tensor | None:
        return self.weights

    def new_layers(self) -> Iterator[nn.Parameter]:
        yield from self.second.parameters()


@pytest.fixture
def halves() -> Callable[..., Backbone]:
    """Build a backbone from its two halves, and its class weights if it has any."""
    return Halves

"""TriLite's losses and pooling, by hand on two pixels."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camloc.backbones.contract import Features
from camloc.backbones.gap import GapBackbone
from camloc.backbones.timm_network import timm_network
from camloc.objectives.contract import Labelled
from camloc.objectives.trilite import TriLite, TriLiteNetwork


def base(num_classes: int = 2) -> GapBackbone:
    """Its two maps are the red and the green channel."""
    trunk = nn.Conv2d(3, 2, 1, bias=False)
    backbone = GapBackbone(trunk, nn.Identity(), num_maps=2, num_classes=num_classes)
    with torch.no_grad():
        trunk.weight.copy_(torch.eye(3)[:2].view(2, 3, 1, 1))
        backbone.head.linear.weight.copy_(torch.eye(num_classes, 2))
    return backbone


def network() -> TriLiteNetwork:
    """Red pixels are foreground by e : 1 : 1, green ones background; one linear layer reads class 0 from red."""
    built = TriLite.extend(base(), dropout=0.0)
    with torch.no_grad():
        weight: Any = built.regions[0].weight
        weight.zero_()
        weight[:2, :, 1, 1] = torch.eye(2)
        built.classifier.weight.copy_(torch.eye(2))
        built.classifier.bias.zero_()
    built.regions[1].eval()  # running mean 0 and variance 1
    built.regions[1].eps = 0.0  # type: ignore[assignment] # of the batch norm
    return built


RED_THEN_GREEN = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]]])
E = math.e


def test_regions_are_a_softmax_over_three_channels() -> None:
    built = network()
    regions = built.forward_regions(built.forward_features(RED_THEN_GREEN))
    high, low = E / (E + 2), 1 / (E + 2)
    expected = torch.tensor([[[[high, low]], [[low, high]], [[low, low]]]])
    torch.testing.assert_close(regions, expected)


def test_each_region_is_pooled_by_its_own_map() -> None:
    built = network()
    features = built.forward_features(RED_THEN_GREEN)
    logits = built.forward_region_logits(features, built.forward_regions(features))
    # Foreground: E/(E+2) of red and 1/(E+2) of green, over their sum.
    share = E / (E + 1)
    torch.testing.assert_close(logits, torch.tensor([[[share, 1 - share], [1 - share, share]]]), rtol=1e-5, atol=1e-5)


def test_an_empty_region_has_finite_logits() -> None:
    built = network()
    features = built.forward_features(RED_THEN_GREEN)
    logits = built.forward_region_logits(features, torch.zeros(1, 3, 1, 2))
    assert logits.tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 10.0])
def test_the_losses_are_those_of_the_released_code(alpha: float) -> None:
    batch = Labelled(RED_THEN_GREEN, torch.tensor([0]))
    losses = TriLite(class_counts=[1, 1], alpha=alpha)(network(), batch)
    assert losses.logits.tolist() == [[0.5, 0.5]]
    # The foreground's logits differ by (E-1)/(E+1) for the true class, the background's by as much against it.
    lead = (E - 1) / (E + 1)
    of_true = 1 / (1 + math.exp(lead))
    expected = {
        "cross_entropy": math.log(2),
        "foreground": math.log(1 + math.exp(-lead)),
        "background": -alpha * math.log(1 - of_true + 1e-7),
    }
    assert {name: loss.item() for name, loss in losses.by_name.items()} == pytest.approx(expected, rel=1e-5)


def test_every_new_layer_has_a_gradient_and_the_pretrained_weights_survive() -> None:
    before = base()
    weight = base().state_dict()["trunk.weight"]
    built = TriLite.extend(before)
    assert torch.equal(built.state_dict()["backbone.trunk.weight"], weight)
    losses = TriLite([1, 1])(built, Labelled(torch.rand(4, 3, 5, 5), torch.tensor([0, 1, 0, 1])))
    torch.stack(list(losses.by_name.values())).sum().backward()  # type: ignore[no-untyped-call] # torch's
    new = list(built.new_layers())
    assert len(new) == 2 + 3 + 2  # the head's linear layer, convolution and batch norm, the regions' linear layer
    assert all(parameter.grad is not None for parameter in built.parameters())


def test_a_certain_background_costs_a_finite_loss() -> None:
    class Certain(nn.Module):
        def forward_features(self, images: Tensor) -> Features:
            return Features(images)

        def forward_head(self, features: Features) -> Tensor:
            return torch.zeros(len(features.maps), 2)

        def forward_regions(self, features: Features) -> Tensor:
            return features.maps

        def forward_region_logits(self, features: Features, regions: Tensor) -> Tensor:  # noqa: ARG002 - made up
            return torch.tensor([[[0.0, 0.0], [1000.0, 0.0]]])

    losses = TriLite([1, 1])(Certain(), Labelled(torch.zeros(1, 3, 1, 1), torch.tensor([0])))
    assert losses.by_name["background"].item() == pytest.approx(-math.log(1e-7), rel=1e-4)


def test_a_transformer_has_maps_and_tokens() -> None:
    pytest.importorskip("timm", reason="the extra timm is not installed")
    built = TriLite.extend(timm_network("vit_tiny_patch16_224", num_classes=2, input_size=32))
    losses = TriLite([1, 1])(built, Labelled(torch.rand(2, 3, 32, 32), torch.tensor([0, 1])))
    assert losses.logits.shape == (2, 2)
    assert built.class_weights is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"objective\.alpha must be at least 0, found -1"):
        TriLite([1, 1], alpha=-1)
    with pytest.raises(ValueError, match=r"objective\.dropout must lie in \[0, 1\), found 1"):
        TriLite.extend(base(), dropout=1)
    several = Labelled(RED_THEN_GREEN, torch.tensor([[True, True]]))
    with pytest.raises(ValueError, match=r"objective=trilite trains on one class per image, .* \(1, 2\)"):
        TriLite([1, 1])(network(), several)

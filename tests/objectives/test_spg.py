import copy
import math
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate

from camloc.attribution.cam import cam
from camloc.backbones.alexnet import alexnet_gap
from camloc.objectives.contract import Labelled
from camloc.objectives.spg import GuidedBackbone, SelfProducedGuidance, _upsampled, masked_loss
from camloc.records import Pairs

NETWORKS = run_path(str(Path(__file__).parent / "networks.py"))
conv_gap: Callable[..., Any] = NETWORKS["conv_gap"]
without_gradient: Callable[..., Any] = NETWORKS["without_gradient"]

LAYERS = ["trunk.1", "trunk.3"]


def wide(values: list[float]) -> Tensor:
    """Return (1,30,len) with the values in every row: each is as many pixels as make no small foreground."""
    return torch.tensor(values).expand(1, 30, len(values)).contiguous()


def test_the_masks_by_hand() -> None:
    # Foreground, unknown, unknown (on either threshold), background, at logits of -1, 5, 5, 5, 2.
    attention, logits = wide([0.9, 0.5, 0.7, 0.1, 0.05]), wide([-1.0, 5.0, 5.0, 5.0, 2.0])
    found = masked_loss(logits, attention, upper=0.7, lower=0.1)
    expected = (math.log1p(math.exp(1.0)) + math.log1p(math.exp(2.0))) / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_a_small_foreground_is_what_is_above_a_share_of_the_maximum() -> None:
    attention = torch.tensor([[[0.5, 0.36, 0.34, 0.0]]])
    logits = torch.tensor([[[1.0, 2.0, 7.0, 3.0]]])
    found = masked_loss(logits, attention, upper=0.9, lower=0.1)
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(-2)) + math.log1p(math.exp(3))) / 3
    assert found.item() == pytest.approx(expected, rel=1e-6)
    # It replaces what was above the threshold, also where it is less.
    found = masked_loss(logits, torch.tensor([[[1.0, 0.6, 0.6, 0.0]]]), upper=0.5, lower=0.1)
    assert found.item() == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 2, rel=1e-6)


def test_background_wins_and_nothing_known_costs_nothing() -> None:
    assert masked_loss(torch.ones(1, 1, 2), torch.full((1, 1, 2), 0.05), 0.7, 0.1).item() == pytest.approx(
        math.log1p(math.exp(1))
    )
    logits = torch.ones(1, 1, 2, requires_grad=True)
    none = masked_loss(logits, torch.zeros(1, 1, 2), 0.7, 0.0)
    none.backward()  # type: ignore[no-untyped-call] # torch's
    assert none == 0
    assert logits.grad is not None  # every process has a gradient for every parameter


def test_masks_pass_no_gradients() -> None:
    attention = torch.rand(1, 8, 8, requires_grad=True)
    logits = torch.randn(1, 8, 8, requires_grad=True)
    masked_loss(logits, attention, 0.7, 0.3).backward()  # type: ignore[no-untyped-call] # the same
    assert attention.grad is None
    assert logits.grad is not None


def test_upsampling_is_bilinear_interpolation() -> None:
    maps = torch.randn(2, 1, 3, 5)
    expected = interpolate(maps, (8, 11), mode="bilinear")[:, 0]
    torch.testing.assert_close(_upsampled(maps, (8, 11)), expected, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(_upsampled(maps, (8, 11)), expected, rtol=1e-5, atol=1e-6)


def reference(network: GuidedBackbone, images: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Compute the losses pixel by pixel, from the same branches."""
    guided, size = network.forward_guided(images), images.shape[-2:]
    inner, later, last = (interpolate(one, size, mode="bilinear") for one in (guided.inner, guided.later, guided.last))
    weights: Any = network.class_weights
    maps = torch.stack(
        [(weights[c][:, None, None] * one).sum(dim=0) for c, one in zip(target, guided.features.maps, strict=True)]
    )
    attention = interpolate(maps[:, None], size, mode="bilinear")
    for one in attention:
        one.sub_(one.min()).div_(one.max())

    def loss(logits: Tensor, attention: Tensor, upper: float, lower: float) -> Tensor:
        wanted: list[float] = []
        known: list[Tensor] = []
        for image in range(len(logits)):
            least = upper
            if int((attention[image] > upper).sum()) < 30:
                least = 0.7 * float(attention[image].max())
            for logit, value in zip(logits[image].flatten(), attention[image].flatten().tolist(), strict=True):
                if value < lower or value > least:
                    wanted.append(float(value >= lower))
                    known.append(logit)
        return binary_cross_entropy_with_logits(torch.stack(known), torch.tensor(wanted))

    return {
        "cross_entropy": cross_entropy(network(images), target),
        "later": loss(later, attention.detach(), 0.7, 0.01),
        "inner": loss(inner, later.sigmoid().detach(), 0.5, 0.05),
        "last": loss(last, ((inner.sigmoid() + later.sigmoid()) / 2).detach(), 0.7, 0.1),
    }


def test_the_losses_against_a_plain_reference() -> None:
    torch.manual_seed(0)
    network = SelfProducedGuidance.extend(conv_gap(), LAYERS, width=5)
    for branch in (network.shared[1], network.last[1]):
        cast(nn.Conv2d, branch).weight.data *= 300  # so that branches are sure of some pixels
    images, target = torch.randn(3, 3, 8, 8), torch.tensor([0, 3, 1])
    found = SelfProducedGuidance([1] * 4)(network, Labelled(images, target)).by_name
    with torch.no_grad():
        expected = reference(network, images, target)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_inner_layers_are_read_where_they_are_named() -> None:
    network = SelfProducedGuidance.extend(conv_gap(), LAYERS, width=5)
    images = torch.randn(1, 3, 8, 8)
    features, inner, later = network.forward_layers(images)
    backbone: Any = network.backbone
    assert torch.equal(inner, backbone.trunk[:2](images))
    assert torch.equal(later, backbone.trunk(images))
    assert torch.equal(features.maps, backbone.forward_features(images).maps)


def test_evaluation_is_that_of_the_network_as_it_was() -> None:
    plain = conv_gap().eval()
    extended = SelfProducedGuidance.extend(copy.deepcopy(plain), LAYERS, width=5).eval()
    images, pairs = torch.randn(2, 3, 8, 8), Pairs.of_target(torch.tensor([1, 3]))
    assert torch.equal(extended(images), plain(images))
    assert torch.equal(cam(extended, images, lambda _: pairs).cams, cam(plain, images, lambda _: pairs).cams)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_parameter_has_a_gradient(precision: torch.dtype) -> None:
    network = SelfProducedGuidance.extend(conv_gap(), LAYERS, width=5)
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        losses = SelfProducedGuidance([1] * 4)(network, Labelled(torch.randn(2, 3, 8, 8), torch.tensor([0, 3])))
    total = sum(losses.by_name.values(), torch.zeros(()))
    total.backward()
    assert total.isfinite()
    assert without_gradient(network) == []
    new = {id(one) for one in network.new_layers()}
    named = {name for name, one in network.named_parameters() if id(one) in new}
    assert {name for name, _ in network.named_parameters()} - named == {
        f"backbone.trunk.{index}.{kind}" for index in (0, 2) for kind in ("weight", "bias")
    }


def test_the_stages_of_a_network_of_timm() -> None:
    pytest.importorskip("timm", reason="is an extra of the installation")
    from camloc.backbones.timm_network import timm_network  # noqa: PLC0415 - needs timm

    network = SelfProducedGuidance.extend(timm_network("resnet18", 3, input_size=64).eval(), width=4)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features, inner, later = network.eval().forward_layers(images)
        expected = network.backbone.forward_features(images).maps
    assert (inner.shape[1:], later.shape[1:]) == ((128, 8, 8), (256, 4, 4))
    torch.testing.assert_close(features.maps, expected)


def test_what_it_is_not_for_is_refused() -> None:
    for layers in (None, ["trunk.1", "trunk.9"]):
        with pytest.raises(ValueError, match=r"objective\.layers=.*give two layers of a network whose trunk is a sequ"):
            SelfProducedGuidance.extend(conv_gap(), layers)
    max_pooled = conv_gap()
    max_pooled.head.pooling = "max"
    with pytest.raises(ValueError, match="give two layers, an inner and a later one"):
        SelfProducedGuidance.extend(alexnet_gap(5), layers=["trunk.0", "trunk.0"])
    with pytest.raises(ValueError, match="objective=spg needs a network that ends in global average pooling"):
        SelfProducedGuidance.extend(max_pooled)
    with pytest.raises(ValueError, match=r"objective\.inner must be an upper and a lower .* found \[0\.1, 0\.5\]"):
        SelfProducedGuidance([1], inner=(0.1, 0.5))
    network = SelfProducedGuidance.extend(conv_gap(), LAYERS, width=2)
    with pytest.raises(ValueError, match="objective=spg trains on one class per image"):
        SelfProducedGuidance([1])(network, Labelled(torch.zeros(1, 3, 8, 8), torch.ones(1, 4).bool()))

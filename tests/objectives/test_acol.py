from collections.abc import Callable
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from camloc.attribution.acol import acol
from camloc.attribution.cam import cam
from camloc.backbones.contract import Features
from camloc.objectives.acol import AdversarialComplementary, TwoClassifiers
from camloc.objectives.contract import Labelled
from camloc.records import Pairs

NETWORKS = run_path(str(Path(__file__).parent / "networks.py"))
conv_gap: Callable[..., Any] = NETWORKS["conv_gap"]
identity_gap: Callable[..., Any] = NETWORKS["identity_gap"]
without_gradient: Callable[..., Any] = NETWORKS["without_gradient"]


def two(first: list[list[float]], second: list[list[float]], threshold: float = 0.7) -> TwoClassifiers:
    """Return classifiers that weigh the image's channels, (C,3) each."""
    network = AdversarialComplementary.extend(identity_gap(first), threshold, width=1)
    for name, weights in (("first", first), ("second", second)):
        conv = nn.Conv2d(3, len(weights), 1, bias=False)
        conv.weight.data = torch.tensor(weights)[:, :, None, None]
        setattr(network, name, conv)
    return network


# Red weighs for class 0 in the first classifier, green in the second; class 1 the other way round.
NETWORK = two([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
IMAGES = torch.tensor([[[[0.0, 2.0, 1.0, 10.0]], [[8.0, 4.0, 0.0, 6.0]], [[0.0, 0.0, 0.0, 0.0]]]])


def test_what_the_second_classifier_sees_by_hand() -> None:
    features = NETWORK.forward_features(IMAGES)
    red, green = NETWORK.class_maps(features)[0]
    assert (red.tolist(), green.tolist()) == ([[0, 2, 1, 10]], [[8, 4, 0, 6]])
    # 70% of the red map, which goes from 0 to 10, and of the green one, from 0 to 8: both corners and their neighbours.
    assert NETWORK.complementary_maps(features, red[None])[0, 0].tolist() == [[8, 4, 0, 0]]
    assert NETWORK.complementary_maps(features, green[None])[0, 1].tolist() == [[0, 2, 1, 0]]


def test_a_constant_map_erases_nothing() -> None:
    features = Features(torch.full((1, 3, 1, 2), 5.0))
    assert NETWORK.complementary_maps(features, torch.full((1, 1, 2), 5.0)).tolist() == [[[[5, 5]], [[5, 5]]]]


def test_the_losses_by_hand() -> None:
    losses = AdversarialComplementary([1, 1])(NETWORK, Labelled(IMAGES, torch.tensor([0])))
    assert losses.logits.tolist() == [[13 / 4, 18 / 4]]
    torch.testing.assert_close(losses.by_name["cross_entropy"], cross_entropy(losses.logits, torch.tensor([0])))
    left = torch.tensor([[12 / 4, 3 / 4]])  # green, red without the erased corner
    torch.testing.assert_close(losses.by_name["complementary"], cross_entropy(left, torch.tensor([0])))


def test_maps_are_the_larger_of_both_by_hand() -> None:
    pairs = Pairs(image_index=torch.tensor([0, 0]), classes=torch.tensor([1, 0]))
    found = acol(NETWORK, IMAGES, lambda _: pairs)
    assert found.logits.tolist() == [[13 / 4, 18 / 4]]
    # Class 1: green over 8, and red without the erased corners, 0 2 1 0, over 2. Class 0: red over 10, green 8 4 0 0.
    expected = [[[1, 1, 0.5, 0.75]], [[1, 0.5, 0.1, 1]]]
    torch.testing.assert_close(found.cams, torch.tensor(expected))


def _given(pairs: Pairs, _: Tensor) -> Pairs:
    return pairs


def test_a_pairs_map_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    network = AdversarialComplementary.extend(conv_gap(), width=5).eval()
    images = torch.randn(3, 3, 8, 8)
    many = Pairs(image_index=torch.tensor([2, 0, 2, 1]), classes=torch.tensor([3, 1, 0, 1]))
    together = acol(network, images, lambda _: many).cams
    for place in range(4):
        one = Pairs(many.image_index[place, None] * 0, many.classes[place, None])
        image = images[many.image_index[place], None]
        alone = acol(network, image, partial(_given, one))
        torch.testing.assert_close(alone.cams[0], together[place])
    none = acol(network, images, lambda _: Pairs(torch.zeros(0).long(), torch.zeros(0).long()))
    assert none.cams.shape == (0, 4, 4)
    with pytest.raises(ValueError, match="classes of pairs must lie in 0"):
        acol(network, images, lambda _: Pairs(torch.tensor([0]), torch.tensor([4])))


def test_every_parameter_has_a_gradient_and_nothing_stays_of_the_old_head() -> None:
    backbone = conv_gap()
    network = AdversarialComplementary.extend(backbone, width=5)
    losses = AdversarialComplementary([1] * 4)(network, Labelled(torch.randn(2, 3, 8, 8), torch.tensor([0, 3])))
    sum(losses.by_name.values(), torch.zeros(())).backward()
    assert without_gradient(network) == []
    assert network.trunk is backbone.trunk
    assert not [name for name in network.state_dict() if "head" in name or "extra" in name]
    new = {id(one) for one in network.new_layers()}
    assert {name.partition(".")[0] for name, one in network.named_parameters() if id(one) in new} == {"first", "second"}
    assert cast(nn.Conv2d, network.first[0]).weight.shape == (5, 6, 3, 3)  # of the trunk's maps


def test_half_precision() -> None:
    network = AdversarialComplementary.extend(conv_gap(), width=5)
    with torch.autocast("cpu", torch.bfloat16):
        losses = AdversarialComplementary([1] * 4)(network, Labelled(torch.randn(2, 3, 8, 8), torch.tensor([0, 3])))
    assert all(value.isfinite() for value in losses.by_name.values())


def test_a_network_of_timm_without_its_linear_layer() -> None:
    pytest.importorskip("timm", reason="is an extra of the installation")
    from camloc.backbones.timm_network import timm_network  # noqa: PLC0415 - needs timm

    network = AdversarialComplementary.extend(timm_network("resnet18", 3, input_size=32), width=4)
    losses = AdversarialComplementary([1] * 3)(network, Labelled(torch.randn(2, 3, 64, 64), torch.tensor([0, 2])))
    sum(losses.by_name.values(), torch.zeros(())).backward()
    assert without_gradient(network) == []
    assert losses.logits.shape == (2, 3)


def test_what_it_is_not_for_is_refused() -> None:
    headless: Any = conv_gap()
    headless.head.pooling = "max"
    with pytest.raises(ValueError, match="objective=acol needs a network that ends in global average pooling"):
        AdversarialComplementary.extend(headless)
    with pytest.raises(ValueError, match=r"objective\.threshold must lie in \(0, 1\], found 0"):
        AdversarialComplementary([1], threshold=0)
    with pytest.raises(ValueError, match="objective=acol trains on one class per image"):
        AdversarialComplementary([1])(NETWORK, Labelled(IMAGES, torch.ones(1, 2).bool()))
    with pytest.raises(ValueError, match=r"attribution=acol maps networks with two classifiers, which GapBackbone has"):
        acol(conv_gap(), IMAGES, lambda _: Pairs.of_target(torch.tensor([0])))
    with pytest.raises(ValueError, match="attribution=cam needs a network"):
        cam(NETWORK, IMAGES, lambda _: Pairs.of_target(torch.tensor([0])))

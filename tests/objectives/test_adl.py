import copy
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from camloc.attribution.cam import cam
from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.vgg import vgg_gap
from camloc.objectives.adl import AttentionDrop, AttentionDropout
from camloc.objectives.contract import Labelled
from camloc.records import Pairs

NETWORKS = run_path(str(Path(__file__).parent / "networks.py"))
conv_gap: Callable[..., Any] = NETWORKS["conv_gap"]
identity_gap: Callable[..., Any] = NETWORKS["identity_gap"]
without_gradient: Callable[..., Any] = NETWORKS["without_gradient"]

# The attention is the mean over both maps: 1, 2, 4 and 0, 0, 0.
MAPS = torch.tensor([[[[0.0, 1.0, 8.0]], [[2.0, 3.0, 0.0]]], [[[1.0, -1.0, 0.0]], [[-1.0, 1.0, 0.0]]]])
ATTENTION = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])


def test_the_drop_mask_by_hand() -> None:
    dropped = AttentionDrop(threshold=0.5, drop_rate=1.0)(MAPS)
    # Below half of 4 is 1 alone; of a constant map nothing is below its maximum.
    assert dropped.tolist() == [[[[0.0, 0.0, 0.0]], [[2.0, 0.0, 0.0]]], [[[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]]


def test_the_importance_map_by_hand() -> None:
    expected = MAPS * ATTENTION.sigmoid()[:, None, None]
    torch.testing.assert_close(AttentionDrop(threshold=0.5, drop_rate=0.0)(MAPS), expected)


def test_a_whole_batch_is_dropped_as_often_as_wanted() -> None:
    torch.manual_seed(0)
    drop = AttentionDrop(threshold=0.5, drop_rate=0.75)
    dropped = [not drop(MAPS)[0, 0].any() for _ in range(1000)]
    assert sum(dropped) == pytest.approx(750, abs=45)


def test_gradients_pass_through_the_importance_map() -> None:
    maps = torch.tensor([[[[2.0]]]], requires_grad=True)
    AttentionDrop(threshold=0.5, drop_rate=0.0)(maps).sum().backward()
    sigmoid = torch.tensor(2.0).sigmoid()
    torch.testing.assert_close(maps.grad, (sigmoid + 2 * sigmoid * (1 - sigmoid)).view(1, 1, 1, 1))


def test_half_precision_stays() -> None:
    assert AttentionDrop(0.5, 0.0)(MAPS.bfloat16()).dtype == torch.bfloat16


def test_evaluation_is_that_of_the_network_as_it_was() -> None:
    plain = conv_gap().eval()
    extended = AttentionDropout.extend(copy.deepcopy(plain), layers=["trunk.1", "trunk.3", "maps"]).eval()
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(extended(images), plain(images))
    assert sorted(value.sum().item() for value in extended.state_dict().values()) == sorted(
        value.sum().item() for value in plain.state_dict().values()
    )
    pairs = Pairs.of_target(torch.tensor([1, 3]))
    assert torch.equal(cam(extended, images, lambda _: pairs).cams, cam(plain, images, lambda _: pairs).cams)
    assert not torch.equal(extended.train()(images), plain.train()(images))


def test_layers_are_dropped_where_they_are_named() -> None:
    extended = AttentionDropout.extend(identity_gap([[1.0, 0.0, 0.0]]), 0.5, 1.0, ["trunk.0"])
    images = torch.tensor([[[[1.0, 3.0]], [[1.0, 0.0]], [[1.0, 6.0]]]])  # attention 1 and 3
    assert extended.forward_features(images).maps.tolist() == [[[[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]]]
    assert isinstance(extended.drop, nn.Identity)


def test_the_layers_of_the_benchmark() -> None:
    for batch_norm, (pool3, conv4_3, conv5_3) in ((False, (16, 22, 29)), (True, (23, 32, 42))):
        with torch.device("meta"):
            extended = AttentionDropout.extend(vgg_gap(num_classes=2, batch_norm=batch_norm))
        trunk: Any = extended.backbone.trunk  # type: ignore[attr-defined] # a GapBackbone
        dropped = {index: type(layer[0]) for index, layer in enumerate(trunk) if isinstance(layer, nn.Sequential)}
        assert dropped == {pool3: nn.MaxPool2d, conv4_3: nn.ReLU, conv5_3: nn.ReLU}
    assert isinstance(AttentionDropout.extend(conv_gap()).drop, AttentionDrop)


def test_every_parameter_has_a_gradient() -> None:
    extended = AttentionDropout.extend(conv_gap())
    batch = Labelled(torch.randn(2, 3, 8, 8), torch.tensor([0, 3]))
    losses = AttentionDropout([1] * 4)(extended, batch)
    assert torch.equal(losses.by_name["cross_entropy"], cross_entropy(losses.logits, batch.target))
    losses.by_name["cross_entropy"].backward()
    assert without_gradient(extended) == []
    assert [id(one) for one in extended.new_layers()] == [id(one) for one in extended.backbone.new_layers()]


def test_what_it_is_not_for_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"objective\.layers=\['trunk\.9'\]: give names of its layers, such as .*trunk"
    ):
        AttentionDropout.extend(conv_gap(), layers=["trunk.9"])
    max_pooled = conv_gap()
    max_pooled.head.pooling = "max"
    for name in ("head", "head.linear", "head.dropout"):
        with pytest.raises(ValueError, match=rf"objective\.layers=.*: {name} makes no maps"):
            AttentionDropout.extend(alexnet_gap(5), layers=[name])
    with pytest.raises(ValueError, match="objective=adl needs a network that ends in global average pooling"):
        AttentionDropout.extend(max_pooled)
    with pytest.raises(ValueError, match=r"objective\.drop_rate must lie in \[0, 1\], found 2"):
        AttentionDropout([1], drop_rate=2)
    with pytest.raises(ValueError, match="objective=adl trains on one class per image"):
        AttentionDropout([1])(conv_gap(), Labelled(torch.zeros(1, 3, 8, 8), torch.ones(1, 4).bool()))

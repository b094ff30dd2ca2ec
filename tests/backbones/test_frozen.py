"""A trunk that is not trained: what of a network learns, and features that take the place of images."""

import copy

import pytest
import torch
from torch import Tensor, nn

from camloc.backbones.contract import Features, LongHead
from camloc.backbones.frozen import FrozenBackbone, Shapes, freeze, trunk_features, trunk_state
from camloc.backbones.gap import GapBackbone
from camloc.backbones.timm_network import timm_network
from camloc.objectives.trilite import TriLite


def network(dropout: float = 0.0) -> GapBackbone:
    """A trunk with a batch norm and dropout, and a new convolution with a batch norm of its own."""
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
    extra = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
    return GapBackbone(trunk, extra, num_maps=6, num_classes=3, dropout=dropout)


def test_rows_hold_maps_and_others_in_order() -> None:
    features = Features(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]), (torch.tensor([[[5.0, 6.0]]]),))
    shapes = Shapes.of(features)
    assert list(shapes) == [(2, 1, 2), (1, 2)]
    assert shapes.width == 6
    assert shapes.rows(features).tolist() == [[1, 2, 3, 4, 5, 6]]
    back = shapes.features(shapes.rows(features))
    assert torch.equal(back.maps, features.maps)
    assert torch.equal(back.others[0], features.others[0])


def test_rows_of_half_precision_are_single_precision() -> None:
    features = Features(torch.ones(1, 2, 1, 1, dtype=torch.bfloat16))
    assert Shapes.of(features).rows(features).dtype == torch.float32


def test_only_the_new_layers_learn() -> None:
    backbone = network()
    assert freeze(backbone, 8) == ((4, 8, 8),)
    learns = {name.split(".")[0] for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert learns == {"extra", "head"}
    assert not any(parameter.requires_grad for parameter in backbone.trunk.parameters())
    assert backbone.training


def test_the_trunk_runs_in_evaluation_mode_and_the_new_layers_in_training_mode() -> None:
    backbone = network()
    freeze(backbone, 8)
    before = copy.deepcopy(backbone.state_dict())
    images = torch.rand(4, 3, 8, 8)
    features = FrozenBackbone(backbone).forward_features(images)
    assert backbone.training
    after = backbone.state_dict()
    assert torch.equal(after["trunk.1.running_mean"], before["trunk.1.running_mean"])
    assert not torch.equal(after["extra.1.running_mean"], before["extra.1.running_mean"])
    # Dropout of the trunk is off: a second pass finds the same.
    assert torch.equal(features.maps, FrozenBackbone(backbone).forward_features(images).maps)


def test_the_heads_dropout_stays_on() -> None:
    backbone = network(dropout=0.5)
    freeze(backbone, 8)
    frozen, images = FrozenBackbone(backbone), torch.rand(4, 3, 8, 8)
    assert not torch.equal(frozen(images), frozen(images))


def test_kept_rows_train_as_images_do() -> None:
    images, backbone = torch.rand(4, 3, 8, 8), network(dropout=0.5)
    shapes = freeze(backbone, 8)
    rows = shapes.rows(trunk_features(backbone, images))
    other = copy.deepcopy(backbone)
    for one, inputs, kept in ((backbone, images, None), (other, rows, shapes)):
        torch.manual_seed(0)
        FrozenBackbone(one, kept)(inputs).sum().backward()  # type: ignore[no-untyped-call] # torch's
    for (name, parameter), of_other in zip(backbone.named_parameters(), other.parameters(), strict=True):
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert of_other.grad is not None, name
            assert torch.equal(parameter.grad, of_other.grad), name
        else:
            assert parameter.grad is None, name


def test_tokens_of_a_transformer_are_kept_beside_its_maps() -> None:
    pytest.importorskip("timm", reason="the extra timm is not installed")
    backbone = timm_network("vit_tiny_patch16_224", num_classes=5, input_size=32)
    shapes = freeze(backbone, 32)
    assert list(shapes) == [(192, 2, 2), (1, 192)]
    images = torch.rand(2, 3, 32, 32)
    rows = shapes.rows(trunk_features(backbone, images))
    assert rows.shape == (2, 5 * 192)
    backbone.eval()
    assert torch.equal(FrozenBackbone(backbone, shapes)(rows), backbone(images))
    learns = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    assert learns == ["network.head.weight", "network.head.bias"]


def test_what_else_a_backbone_has_is_reached() -> None:
    backbone = network()
    frozen = FrozenBackbone(backbone)
    assert frozen.class_weights is backbone.class_weights
    assert copy.deepcopy(frozen).num_classes == 3


class NoNewLayers(GapBackbone):
    """Complete with its weights."""

    def new_layers(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - an iterator of nothing
        return iter(())


class Hidden(nn.Module):
    """Has a new layer before its maps and does not say where the trunk ends."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.input_spec, self.num_classes = self.inner.input_spec, 3

    def forward_features(self, images: Tensor) -> Features:
        return self.inner.forward_features(images)

    def new_layers(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - the inner's
        return self.inner.new_layers()


def test_a_network_with_nothing_to_train_is_refused() -> None:
    backbone = NoNewLayers(nn.Conv2d(3, 4, 1), nn.Identity(), num_maps=4, num_classes=3)
    with pytest.raises(ValueError, match="trains the new layers alone, and NoNewLayers has none"):
        freeze(backbone, 8)


def test_new_layers_before_the_maps_need_to_be_told_apart() -> None:
    assert isinstance(network(), LongHead)
    with pytest.raises(ValueError, match="Hidden has new layers before its feature maps; give it forward_trunk"):
        freeze(Hidden(), 8)  # type: ignore[arg-type] # without a head


def test_the_state_of_the_trunk_leaves_out_what_learns() -> None:
    backbone = network()
    state = trunk_state(backbone)
    names = ["weight", "bias", "weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert [name for name, _ in state] == names
    assert state[4][1] is backbone.trunk[1].running_mean  # type: ignore[index] # a sequence


def test_the_state_of_the_trunk_is_the_same_within_a_training_method() -> None:
    backbone = network()
    alone = trunk_state(backbone)
    within = trunk_state(TriLite.extend(backbone))
    assert [name for name, _ in within] == [name for name, _ in alone]
    assert all(one is other for (_, one), (_, other) in zip(within, alone, strict=True))

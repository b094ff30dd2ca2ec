import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from camloc.backbones.alexnet import alexnet_gap
from camloc.backbones.box_head import CENTRED, BoxHead, BoxRegressor, grid_average


@pytest.mark.parametrize("size", [(6, 6), (13, 13), (14, 7), (3, 5), (1, 1), (7, 20)])
def test_the_grid_is_that_of_adaptive_average_pooling(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(grid_average(maps, 6), adaptive_avg_pool2d(maps, 6))


def test_an_untrained_head_predicts_boxes_around_the_middle() -> None:
    torch.manual_seed(0)
    boxes = BoxHead(num_maps=8, num_classes=50)(torch.rand(4, 8, 7, 7))
    assert torch.allclose(boxes.mean(dim=(0, 1)), torch.tensor(CENTRED), atol=0.1)


def test_where_a_map_is_bright_decides_the_box() -> None:
    head = BoxHead(num_maps=2, num_classes=3)
    maps = torch.zeros(2, 2, 6, 6)
    maps[0, :, 1, 1] = maps[1, :, 4, 4] = 1  # global average pooling could not tell them apart
    first, second = head(maps)
    assert not torch.allclose(first, second)


def test_boxes_are_not_rounded_to_half_precision_under_autocast() -> None:
    head = BoxHead(num_maps=2, num_classes=1)
    with torch.no_grad():
        head.boxes.bias.copy_(torch.tensor([0.501, 0.601, 0.701, 0.801]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            boxes = head(torch.zeros(1, 2, 6, 6))
    assert boxes.dtype == torch.float32
    assert torch.equal(boxes[0, 0], head.boxes.bias)


def test_a_backbone_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    backbone = alexnet_gap(num_classes=5, weights=None)
    images = torch.rand(2, 3, 64, 64)
    backbone.train()
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    regressor = BoxRegressor(backbone)
    assert backbone.training
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    regressor.eval()
    features = regressor.forward_features(images)
    assert torch.equal(regressor(images), backbone(images))
    assert torch.equal(regressor.forward_head(features), regressor(images))
    assert regressor.forward_boxes(features).shape == (2, 5, 4)
    new, head = {id(one) for one in regressor.new_layers()}, list(regressor.box_head.parameters())
    assert new == {id(one) for one in (*backbone.new_layers(), *head)}


def test_maps_are_counted_where_a_network_has_no_class_weights() -> None:
    backbone = alexnet_gap(num_classes=5, weights=None)
    num_maps = backbone.class_weights.shape[1]

    class NoWeights(type(backbone)):  # type: ignore[misc] # made here
        class_weights = None

    backbone.__class__ = NoWeights
    assert BoxRegressor(backbone).box_head.conv.in_channels == num_maps

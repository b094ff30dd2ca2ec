from collections.abc import Callable

import pytest
import torch
from torch import nn

from camloc.attribution.cam import cam, class_activation_map
from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Halves = Callable[..., Backbone]


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images, two maps of 1 x 3, three classes."""
    feature_maps = torch.tensor([[[[1.0, 0.0, 2.0]], [[0.0, 1.0, 3.0]]], [[[4.0, 5.0, 6.0]], [[1.0, 1.0, 1.0]]]])
    class_weights = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.5, 10.0]])
    return feature_maps, class_weights


def of_target(*target: int) -> Pairs:
    return Pairs.of_target(torch.tensor(target, dtype=torch.int64))


def test_by_hand_and_each_image_its_own_class() -> None:
    cams = class_activation_map(*example(), of_target(1, 2))
    assert cams.tolist() == [[[2.0, -1.0, 1.0]], [[12.0, 12.5, 13.0]]]


def test_several_classes_of_an_image_in_any_order() -> None:
    pairs = Pairs(image_index=torch.tensor([1, 0, 0, 0]), classes=torch.tensor([2, 2, 0, 1]))
    cams = class_activation_map(*example(), pairs)
    assert cams.tolist() == [[[12.0, 12.5, 13.0]], [[0.5, 10.0, 31.0]], [[1.0, 0.0, 2.0]], [[2.0, -1.0, 1.0]]]


def test_height_before_width() -> None:
    cams = class_activation_map(torch.ones(1, 2, 3, 5), torch.ones(4, 2), of_target(0))
    assert cams.shape == (1, 3, 5)


def test_agrees_with_a_loop_over_every_index() -> None:
    generator = torch.Generator().manual_seed(0)
    feature_maps = torch.randn(3, 5, 2, 4, generator=generator)
    class_weights = torch.randn(6, 5, generator=generator)
    image_index, classes = torch.tensor([2, 0, 2, 1]), torch.tensor([5, 0, 3, 3])
    expected = torch.zeros(4, 2, 4)
    for p in range(4):
        for k in range(5):
            expected[p] += class_weights[classes[p], k] * feature_maps[image_index[p], k]
    torch.testing.assert_close(class_activation_map(feature_maps, class_weights, Pairs(image_index, classes)), expected)


def test_one_product_for_a_class_of_each_image_whatever_else_is_mapped() -> None:
    generator = torch.Generator().manual_seed(0)
    feature_maps = torch.randn(8, 512, 14, 14, generator=generator)
    class_weights = torch.randn(20, 512, generator=generator)
    true = torch.randint(20, (8,), generator=generator)
    expected = torch.einsum("bk,bkhw->bhw", class_weights[true], feature_maps)
    pairs = Pairs.of_target(true)
    alone = class_activation_map(feature_maps, class_weights, pairs)
    predicted = Pairs.most_likely(torch.randn(8, 20, generator=generator))
    among_others = class_activation_map(feature_maps, class_weights, pairs.followed_by(predicted))
    assert torch.equal(alone, expected)
    assert torch.equal(among_others[:8], expected)


def test_float32_under_autocast_and_from_half_maps() -> None:
    feature_maps, class_weights = torch.tensor([[[[256.0]], [[1.0]]]]), torch.tensor([[1.0, 1.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cams = class_activation_map(feature_maps.bfloat16(), class_weights, of_target(0))
    assert cams.dtype == torch.float32
    assert cams.tolist() == [[[257.0]]]  # bfloat16 would round to 256


def test_no_images() -> None:
    assert class_activation_map(torch.zeros(0, 2, 3, 3), torch.zeros(4, 2), of_target()).shape == (0, 3, 3)


def test_no_pairs() -> None:
    assert class_activation_map(torch.zeros(2, 2, 3, 5), torch.zeros(4, 2), of_target()).shape == (0, 3, 5)


def test_nan_stays_in_its_image() -> None:
    feature_maps, class_weights = example()
    feature_maps[0, 0, 0, 1] = torch.nan
    cams = class_activation_map(feature_maps, class_weights, of_target(1, 2))
    assert cams.isnan().tolist() == [[[False, True, False]], [[False, False, False]]]


@pytest.mark.parametrize("target", [[0, 3], [-1, 0]])
def test_class_that_does_not_exist(target: list[int]) -> None:
    wrong = next(value for value in target if value not in range(3))
    with pytest.raises(ValueError, match=rf"classes of pairs must lie in 0\.\.2, found \[{wrong}\]"):
        class_activation_map(*example(), of_target(*target))


@pytest.mark.parametrize(
    ("maps_shape", "weights_shape"),
    [((2, 3, 4, 4), (5, 2)), ((2, 3, 4, 4), (3,)), ((3, 4, 4), (5, 3)), ((2, 3), (5, 3))],
)
def test_shapes_that_do_not_fit(maps_shape: tuple[int, ...], weights_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must share K, found \(") as caught:
        class_activation_map(torch.zeros(maps_shape), torch.zeros(weights_shape), of_target(0, 0))
    assert str(maps_shape) in str(caught.value)
    assert str(weights_shape) in str(caught.value)


def test_the_pairs_are_chosen_from_the_logits(halves: Halves) -> None:
    feature_maps, class_weights = example()
    linear = nn.Linear(2, 3)
    with torch.no_grad():
        linear.weight.copy_(class_weights)
        linear.bias.copy_(torch.tensor([0.0, 0.0, 9.0]))
    backbone = halves(nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear), linear.weight)
    with torch.no_grad():
        logits, pairs, cams = cam(backbone, feature_maps, lambda logits: Pairs.most_likely(logits, count=2))
    torch.testing.assert_close(logits, torch.tensor([[1.0, 2 / 3, 22.8333], [5.0, 9.0, 21.5]]))
    assert pairs.image_index.tolist() == [0, 0, 1, 1]
    assert pairs.classes.tolist() == [2, 0, 2, 1]
    torch.testing.assert_close(
        cams, torch.tensor([[[0.5, 10.0, 31.0]], [[1.0, 0.0, 2.0]], [[12.0, 12.5, 13.0]], [[7.0, 9.0, 11.0]]])
    )
    # The mean of a map plus the bias is the logit.
    torch.testing.assert_close(
        cams.mean(dim=(1, 2)) + linear.bias[pairs.classes], logits[pairs.image_index, pairs.classes]
    )


def test_a_network_without_class_weights_is_refused_with_the_alternative(halves: Halves) -> None:
    with pytest.raises(ValueError, match=r"Halves has no class_weights\. Use attribution=grad_cam"):
        cam(halves(nn.Identity(), nn.Flatten()), torch.zeros(1, 2, 1, 1), lambda _: of_target(0))

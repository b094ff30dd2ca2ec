import pytest
import torch

from camloc.attribution.cam import class_activation_map


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images, two maps of 1 x 3, three classes."""
    feature_maps = torch.tensor([[[[1.0, 0.0, 2.0]], [[0.0, 1.0, 3.0]]], [[[4.0, 5.0, 6.0]], [[1.0, 1.0, 1.0]]]])
    class_weights = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.5, 10.0]])
    return feature_maps, class_weights


def test_by_hand_and_each_image_its_own_class() -> None:
    cam = class_activation_map(*example(), torch.tensor([1, 2]))
    assert cam.tolist() == [[[2.0, -1.0, 1.0]], [[12.0, 12.5, 13.0]]]


def test_same_image_other_class() -> None:
    feature_maps, class_weights = example()
    cams = class_activation_map(feature_maps[:1].expand(3, -1, -1, -1), class_weights, torch.arange(3))
    assert cams.tolist() == [[[1.0, 0.0, 2.0]], [[2.0, -1.0, 1.0]], [[0.5, 10.0, 31.0]]]


def test_height_before_width() -> None:
    cam = class_activation_map(torch.ones(1, 2, 3, 5), torch.ones(4, 2), torch.tensor([0]))
    assert cam.shape == (1, 3, 5)


def test_agrees_with_a_loop_over_every_index() -> None:
    generator = torch.Generator().manual_seed(0)
    feature_maps = torch.randn(3, 5, 2, 4, generator=generator)
    class_weights = torch.randn(6, 5, generator=generator)
    target = torch.tensor([5, 0, 3])
    expected = torch.zeros(3, 2, 4)
    for b in range(3):
        for k in range(5):
            expected[b] += class_weights[target[b], k] * feature_maps[b, k]
    torch.testing.assert_close(class_activation_map(feature_maps, class_weights, target), expected)


def test_float32_under_autocast_and_from_half_maps() -> None:
    feature_maps, class_weights = torch.tensor([[[[256.0]], [[1.0]]]]), torch.tensor([[1.0, 1.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cam = class_activation_map(feature_maps.bfloat16(), class_weights, torch.tensor([0]))
    assert cam.dtype == torch.float32
    assert cam.tolist() == [[[257.0]]]  # bfloat16 would round to 256


def test_no_images() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    assert class_activation_map(torch.zeros(0, 2, 3, 3), torch.zeros(4, 2), empty).shape == (0, 3, 3)


@pytest.mark.parametrize("target", [[0, 3], [-1, 0]])
def test_target_that_is_no_class(target: list[int]) -> None:
    wrong = next(value for value in target if value not in range(3))
    with pytest.raises(ValueError, match=rf"target must lie in 0\.\.2, found \[{wrong}\]"):
        class_activation_map(*example(), torch.tensor(target))


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1), ()])
def test_one_target_per_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one class for each of 2 images"):
        class_activation_map(*example(), torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize(
    ("maps_shape", "weights_shape"),
    [((2, 3, 4, 4), (5, 2)), ((2, 3, 4, 4), (3,)), ((3, 4, 4), (5, 3)), ((2, 3), (5, 3))],
)
def test_shapes_that_do_not_fit(maps_shape: tuple[int, ...], weights_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must share K, found \(") as caught:
        class_activation_map(torch.zeros(maps_shape), torch.zeros(weights_shape), torch.zeros(2).long())
    assert str(maps_shape) in str(caught.value)
    assert str(weights_shape) in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_target_that_is_no_index(dtype: torch.dtype) -> None:
    with pytest.raises(RuntimeError, match=r"int32 or int64"):
        class_activation_map(*example(), torch.tensor([0, 1]).to(dtype))

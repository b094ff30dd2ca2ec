import torch

from camloc.data.transforms import TrainTransform, WarpTransform


def gradient(height: int, width: int) -> torch.Tensor:
    row = torch.linspace(0, 255, width).byte().expand(height, width)
    column = torch.linspace(0, 255, height).byte()[:, None].expand(height, width)
    return torch.stack([row, column, row // 2])


def test_a_seed_fixes_crop_and_mirroring() -> None:
    transform = TrainTransform(image_size=24, crop_area=(0.3, 1.0))
    picture = gradient(40, 64)
    assert torch.equal(transform(picture, seed=5), transform(picture, seed=5))
    results = {transform(picture, seed=seed).numpy().tobytes() for seed in range(8)}
    assert len(results) == 8


def test_augmenting_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    TrainTransform(image_size=8, crop_area=(0.5, 1.0))(gradient(16, 16), seed=1)
    assert torch.equal(torch.rand(4), expected)


def test_both_mirrorings_happen() -> None:
    transform = TrainTransform(image_size=16, crop_area=(1.0, 1.0))
    rising = {bool(image[0, 0, -1] > image[0, 0, 0]) for image in (transform(gradient(16, 16), s) for s in range(16))}
    assert rising == {True, False}


def test_a_warp_takes_boxes_along() -> None:
    picture = torch.zeros(3, 30, 90, dtype=torch.uint8)
    picture[:, 10:20, 30:60] = 255
    image, boxes = WarpTransform(60)(picture, torch.tensor([[30.0, 10.0, 60.0, 20.0], [0.0, 0.0, 90.0, 30.0]]))
    assert image.shape == (3, 60, 60)
    assert image.dtype == torch.uint8
    assert boxes.tolist() == [[20, 20, 40, 40], [0, 0, 60, 60]]
    assert image[:, 22:38, 22:38].min() == 255
    assert image[:, :, :18].max() == 0


def test_one_pixel_becomes_a_flat_square() -> None:
    image, boxes = WarpTransform(8)(torch.full((3, 1, 1), 7, dtype=torch.uint8), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    assert {*image.flatten().tolist()} == {7}
    assert boxes.tolist() == [[0, 0, 8, 8]]

from typing import Any

import pytest
import torch
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes

from camloc.boxes import from_window, to_window
from camloc.data.images.transforms import EvalTransform, TrainTransform, _crop, _uniform


def gradient(height: int, width: int) -> torch.Tensor:
    row = torch.linspace(0, 255, width).byte().expand(height, width)
    column = torch.linspace(0, 255, height).byte()[:, None].expand(height, width)
    return torch.stack([row, column, row // 2])


def test_a_seed_fixes_crop_and_mirroring() -> None:
    transform = TrainTransform(input_size=24, crop_area=(0.3, 1.0))
    image = gradient(40, 64)
    assert torch.equal(transform(image, seed=5), transform(image, seed=5))
    results = {transform(image, seed=seed).numpy().tobytes() for seed in range(8)}
    assert len(results) == 8


def test_augmenting_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    TrainTransform(input_size=8, crop_area=(0.5, 1.0))(gradient(16, 16), seed=1)
    assert torch.equal(torch.rand(4), expected)


def test_both_mirrorings_happen() -> None:
    transform = TrainTransform(input_size=16, crop_area=(1.0, 1.0))
    rising = {bool(image[0, 0, -1] > image[0, 0, 0]) for image in (transform(gradient(16, 16), s) for s in range(16))}
    assert rising == {True, False}


@pytest.mark.parametrize("kind", ["random_resized_crop", "resize_crop"])
@pytest.mark.parametrize("size", [(48, 64), (300, 200), (20, 5000), (1, 1), (3000, 4000)])
def test_an_image_may_be_smaller_as_long_as_its_crop_need_not_be_enlarged(kind: Any, size: tuple[int, int]) -> None:  # noqa: ANN401 - a literal
    transform = TrainTransform(32, (0.2, 1.0), kind)
    for seed in range(50):
        _, *uniform = _uniform(seed)
        crop = size if kind == "resize_crop" else _crop(*size, (0.2, 1.0), uniform)[2:]
        wanted = 37 if kind == "resize_crop" else 32
        factor = transform.shrink(seed)(size)
        assert factor in (1, 2, 4, 8)
        assert factor == 1 or min(crop) / factor >= wanted
        assert factor == 8 or min(crop) / (2 * factor) < wanted


def test_a_smaller_image_gives_nearly_the_same_image() -> None:
    image = gradient(400, 640)
    smaller = image[:, ::2, ::2]
    transform = TrainTransform(64, (0.5, 1.0))
    for seed in range(8):
        assert transform.shrink(seed)((400, 640)) >= 2
        difference = transform(image, seed).int() - transform(smaller, seed).int()
        assert difference.abs().max() <= 4  # crops are rounded to whole pixels


def test_a_warp_shows_the_whole_image() -> None:
    image = torch.zeros(3, 30, 90, dtype=torch.uint8)
    image[:, 10:20, 30:60] = 255
    transform = EvalTransform(60)
    window = transform.window((30, 90))
    assert window == (0, 0, 90, 30)
    image = transform(image, window)
    assert image.shape == (3, 60, 60)
    assert image.dtype == torch.uint8
    assert image[:, 22:38, 22:38].min() == 255
    assert image[:, :, :18].max() == 0


def test_one_pixel_becomes_a_flat_square() -> None:
    image = EvalTransform(8)(torch.full((3, 1, 1), 7, dtype=torch.uint8), (0, 0, 1, 1))
    assert {*image.flatten().tolist()} == {7}


@pytest.mark.parametrize("size", [(256, 512), (512, 256), (1, 1), (20, 5000), (37, 41)])
def test_a_centre_crop_is_a_square_in_the_middle(size: tuple[int, int]) -> None:
    height, width = size
    x0, y0, x1, y1 = EvalTransform(32, "centre_crop").window(size)
    assert x1 - x0 == y1 - y0 == max(1, round(min(size) * 224 / 256))
    assert abs((x0 + x1) - width) <= 1
    assert abs((y0 + y1) - height) <= 1
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


def test_a_centre_crop_takes_boxes_and_masks_along_unclipped() -> None:
    transform = EvalTransform(112, "centre_crop")
    window = transform.window((256, 512))
    assert window == (144, 16, 368, 240)
    boxes = to_window(torch.tensor([[144.0, 16.0, 256.0, 128.0], [0.0, 0.0, 144.0, 256.0]]), window, transform.size)
    assert boxes.tolist() == [[0, 0, 56, 56], [-72, -8, 0, 120]]
    assert from_window(boxes, window, transform.size)[0].tolist() == [144, 16, 256, 128]
    mask = torch.zeros(2, 256, 512, dtype=torch.bool)
    mask[0, 16:128, 144:256] = True
    resized = transform.masks(mask, window)
    assert resized[0, :56, :56].all()
    assert resized.sum() == 56 * 56


@pytest.mark.parametrize(("kind", "make"), [("squeeze", EvalTransform), ("squeeze", TrainTransform)])
def test_an_unknown_kind_is_named(kind: str, make: Any) -> None:  # noqa: ANN401 - either class
    arguments = (8, kind) if make is EvalTransform else (8, (0.5, 1.0), kind)
    with pytest.raises(ValueError, match=r"datamodule\.(eval|train)_transform must be one of .* found 'squeeze'"):
        make(*arguments)


def test_resize_crop_keeps_seven_eighths_of_each_side() -> None:
    transform = TrainTransform(input_size=56, crop_area=(1.0, 1.0), kind="resize_crop")
    images = [transform(gradient(64, 64), seed) for seed in range(12)]
    assert {tuple(image.shape) for image in images} == {(3, 56, 56)}
    spans = [int(image[0, 0].max()) - int(image[0, 0].min()) for image in images]
    assert all(abs(span - 255 * 55 / 63) <= 2 for span in spans)
    assert len({int(image[0, 0].min()) for image in images}) > 3


@pytest.mark.parametrize("kind", ["random_resized_crop", "resize_crop"])
@pytest.mark.parametrize("size", [(96, 64), (64, 128)])
def test_a_box_moves_with_what_it_surrounds(kind: Any, size: tuple[int, int]) -> None:  # noqa: ANN401 - a literal
    """What is bright in the augmented image lies within a pixel of the augmented box, cut or mirrored."""
    transform, mirrored, cut = TrainTransform(48, (0.3, 1.0), kind), set(), 0
    image, box = torch.zeros(3, *size, dtype=torch.uint8), (2, 20, 40, 44)
    image[:, box[1] : box[3], box[0] : box[2]] = 255
    for seed in range(40):
        moved = transform.boxes(torch.tensor([box], dtype=torch.float32), size, seed)[0]
        bright = transform(image, seed)[0] > 127
        if not bright.any():
            assert (moved[2:] - moved[:2]).min() < 1
            continue
        rows, columns = bright.any(dim=1).nonzero(), bright.any(dim=0).nonzero()
        seen = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert (moved - seen).abs().max() <= 1, seed
        mirrored.add(_uniform(seed)[0] < 0.5)
        cut += int((moved == 0).any() or (moved == 48).any())
    assert mirrored == {True, False}
    assert cut > 3


def test_boxes_are_those_of_torchvisions_crop_and_flip() -> None:
    transform = TrainTransform(32, (0.2, 0.9))
    boxes = torch.tensor([[5.0, 7.0, 30.0, 21.0], [40.0, 0.0, 64.0, 48.0], [0.0, 40.0, 3.0, 48.0]])
    for seed in range(20):
        mirror, *uniform = _uniform(seed)
        top, left, height, width = _crop(48, 64, (0.2, 0.9), uniform)
        given = BoundingBoxes(boxes, format="XYXY", canvas_size=(48, 64))
        expected = functional.resized_crop(given, top, left, height, width, [32, 32])
        expected = functional.horizontal_flip(expected) if mirror < 0.5 else expected
        moved = transform.boxes(boxes, (48, 64), seed)
        has_area = ((moved[:, 2:] - moved[:, :2]) > 0).all(dim=1)
        assert torch.allclose(moved[has_area], functional.clamp_bounding_boxes(expected)[has_area], atol=1e-4)


def test_a_mirrored_whole_image_mirrors_its_boxes_exactly() -> None:
    transform = TrainTransform(64, (1.0, 1.0))
    boxes = torch.tensor([[8.0, 2.0, 24.0, 60.0]])
    seeds = {_uniform(seed)[0] < 0.5: seed for seed in range(8)}
    assert transform.boxes(boxes, (64, 64), seeds[False]).tolist() == boxes.tolist()
    assert transform.boxes(boxes, (64, 64), seeds[True]).tolist() == [[40, 2, 56, 60]]

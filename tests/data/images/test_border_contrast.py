import numpy as np
import pytest
import torch
from torch import Tensor

from camloc.data.images.border_contrast import LEAST_VARIANCE, border_contrast, border_contrast_box


def rectangle(box: tuple[int, int, int, int], size: tuple[int, int] = (40, 60), scale: int = 1) -> Tensor:
    """A bright rectangle on a dark ground, (3,H,W) uint8."""
    image = torch.full((3, size[0] * scale, size[1] * scale), 40, dtype=torch.uint8)
    x0, y0, x1, y1 = (side * scale for side in box)
    image[:, y0:y1, x0:x1] = 210
    return image


def test_by_hand_one_grey_pixel_of_another_level() -> None:
    # Nothing of the border differs from itself, so the covariance is LEAST_VARIANCE and the only distance is divided by
    # itself: 1 for each of four sides, less the largest.
    image = np.full((5, 5, 3), 90, np.uint8)
    image[2, 1] = 160
    expected = np.zeros((5, 5))
    expected[2, 1] = 3
    assert np.allclose(border_contrast(image)[:, 1:4], expected[:, 1:4])
    assert LEAST_VARIANCE > 0


@pytest.mark.parametrize("box", [(15, 10, 35, 30), (10, 4, 55, 36), (0, 8, 30, 32), (26, 16, 34, 24)])
def test_a_rectangle_is_its_box_also_where_it_covers_part_of_a_side(box: tuple[int, int, int, int]) -> None:
    assert border_contrast_box(rectangle(box)).tolist() == list(box)


def test_large_images_are_boxed_in_their_own_pixels() -> None:
    found = border_contrast_box(rectangle((15, 10, 35, 30), scale=7))
    torch.testing.assert_close(found, torch.tensor([105.0, 70.0, 245.0, 210.0]), atol=5, rtol=0)


def test_the_larger_of_two_objects_counts() -> None:
    image = rectangle((12, 10, 30, 30))
    image[:, 15:20, 45:50] = 210
    assert border_contrast_box(image).tolist() == [12, 10, 30, 30]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (30, 50)])
def test_where_nothing_differs_it_is_the_whole_image(size: tuple[int, int]) -> None:
    assert border_contrast_box(torch.full((3, *size), 7, dtype=torch.uint8)).tolist() == [0, 0, size[1], size[0]]


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(3, 0, 4).byte()]
)
def test_what_is_no_image_is_refused(image: Tensor) -> None:
    with pytest.raises(ValueError, match=r"image is torch\..*; give uint8 \(3,H,W\) with a pixel at least"):
        border_contrast_box(image)


def test_random_images_have_a_box_inside() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        height, width = (int(side) for side in torch.randint(1, 40, (2,), generator=generator))
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        x0, y0, x1, y1 = border_contrast_box(image).tolist()
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height

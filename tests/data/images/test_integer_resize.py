import pytest
import torch

from camloc.data.images.integer_resize import integer_resize
from camloc.data.images.transforms import EvalTransform


# Smaller, larger, the same, one pixel, sides that change in opposite ways, a factor that leaves weights more bits.
@pytest.mark.parametrize(
    "size", [(97, 131), (20, 31), (64, 64), (1, 1), (1, 40), (300, 3), (33, 500), (64, 65), (700, 1100), (128, 192)]
)
@pytest.mark.parametrize("side", [64, 97])
@pytest.mark.parametrize("is_interleaved", [False, True])
def test_it_equals_what_an_evaluation_shows(size: tuple[int, int], side: int, is_interleaved: bool) -> None:
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if is_interleaved:  # as files are read
        image = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    shown = EvalTransform(side)(image, (0, 0, size[1], size[0]))
    resized = integer_resize(image[None], (side, side))[0]
    assert resized.dtype == torch.float32
    assert torch.equal(resized, shown.float())


def test_levels_are_rounded_after_rows_and_after_columns() -> None:
    # Rows: (1 + 0) / 2 rounds up to 1, (0 + 0) / 2 is 0; columns: (1 + 0) / 2 rounds up to 1. At once it were 1/4.
    # Two pixels to one: weights are 1/2 each.
    images = torch.tensor([[[[1, 0], [0, 0]]]], dtype=torch.uint8)
    assert integer_resize(images, (1, 1)).tolist() == [[[[1.0]]]]

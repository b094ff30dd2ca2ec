"""Ten crops again, one image, one crop and one pixel at a time."""

from collections.abc import Callable

import torch
from torch import Tensor


def merged(map_of: Callable[[Tensor], Tensor], image: Tensor, crop: tuple[int, int], *, released: bool) -> Tensor:
    """Return the (H,W) map of a (3,H,W) image, where ``map_of`` gives the (h,w) map of a crop."""
    _, height, width = image.shape
    rows, columns = crop
    total, views = torch.zeros(height, width), torch.zeros(height, width)
    corners = [(top, left) for top in (0, height - rows) for left in (0, width - columns)]
    for top, left in [*corners, ((height - rows) // 2, (width - columns) // 2)]:
        seen = image[:, top : top + rows, left : left + columns]
        for is_mirrored in (False, True):
            small = map_of(torch.flip(seen, [2]) if is_mirrored else seen)
            for y in range(rows):
                for x in range(columns):
                    value = sampled(small, y, columns - 1 - x if is_mirrored else x, crop)
                    total[top + y, left + x] += abs(value) if released else value
                    views[top + y, left + x] += 1
    return total if released else total / views


def sampled(small: Tensor, y: int, x: int, size: tuple[int, int]) -> float:
    """Read a map at the centre of a pixel of its crop, bilinearly; beyond its outer cells the border is repeated."""
    value = 0.0
    where = []
    for place, length, cells in zip((y, x), size, small.shape, strict=True):
        centre = min(max((place + 0.5) * cells / length - 0.5, 0.0), cells - 1)
        low = int(centre)
        high = min(low + 1, cells - 1)
        where.append([(low, 1 - (centre - low)), (high, centre - low)])
    for row, row_share in where[0]:
        for column, column_share in where[1]:
            value += row_share * column_share * float(small[row, column])
    return value

"""Boxes as half-open xyxy pixels: the pixels x0 <= x < x1, y0 <= y < y1.

An inclusive annotation ``(x0, y0, x1, y1)`` becomes ``(x0, y0, x1 + 1, y1 + 1)``. Areas are then plain products and the
plain IoU of two half-open boxes equals the ILSVRC devkit's "+1" IoU of the inclusive ones.
"""

import torch
from torch import Tensor


def inclusive_to_half_open(boxes: Tensor) -> Tensor:
    """Convert boxes whose last row and column belong to the object.

    Args:
        boxes: (..., 4) inclusive xyxy pixels.

    Returns:
        (..., 4) half-open xyxy pixels, same dtype.

    Example:
        >>> inclusive_to_half_open(torch.tensor([0, 31, 60, 60]))
        tensor([ 0, 31, 61, 61])
    """
    return boxes + torch.tensor([0, 0, 1, 1], dtype=boxes.dtype, device=boxes.device)


def half_open_to_inclusive(boxes: Tensor) -> Tensor:
    """Convert boxes to inclusive ones, whose last row and column belong to the object.

    Args:
        boxes: (..., 4) half-open xyxy pixels.

    Returns:
        (..., 4) inclusive xyxy pixels, same dtype.

    Example:
        >>> half_open_to_inclusive(torch.tensor([0, 31, 61, 61]))
        tensor([ 0, 31, 60, 60])
    """
    return boxes - torch.tensor([0, 0, 1, 1], dtype=boxes.dtype, device=boxes.device)


def rescale(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Carry boxes from an image of one size to the same image at another size.

    Args:
        boxes: (..., 4) float half-open xyxy pixels at ``from_size``.
        from_size: ``(height, width)`` the boxes were drawn at.
        to_size: ``(height, width)`` of the result.

    Returns:
        (..., 4) boxes at ``to_size``, not rounded, so that IoU does not change.

    Example:
        >>> rescale(torch.tensor([0.0, 8.0, 32.0, 16.0]), from_size=(16, 64), to_size=(32, 32))
        tensor([ 0., 16., 16., 32.])
    """
    scale_y, scale_x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return boxes * torch.tensor([scale_x, scale_y, scale_x, scale_y], dtype=boxes.dtype, device=boxes.device)


def iou(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    r"""Return the intersection over union of every box with every true box.

    .. math:: IoU(a, b) = |a \cap b| / |a \cup b|

    Computed in float64, so that an IoU that is exactly a threshold (7/10 against 0.7) compares as equal. A box without
    area, in particular ``(0, 0, 0, 0)``, has IoU 0 with everything.

    Args:
        boxes: (..., N, 4) half-open xyxy pixels.
        gt_boxes: (..., M, 4) half-open xyxy pixels; the leading dimensions are those of ``boxes``.

    Returns:
        (..., N, M) float64 in [0, 1].

    Example:
        >>> iou(torch.tensor([[0, 0, 10, 10], [0, 0, 0, 0]]), torch.tensor([[0, 0, 10, 5]]))
        tensor([[0.5000],
                [0.0000]], dtype=torch.float64)
    """
    a = boxes.to(torch.float64).unsqueeze(-2)
    b = gt_boxes.to(torch.float64).unsqueeze(-3)
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    intersection = sides.prod(dim=-1)
    union = area(a) + area(b) - intersection
    return torch.where(union > 0, intersection / union.clamp(min=torch.finfo(torch.float64).tiny), 0.0)


def area(boxes: Tensor) -> Tensor:
    """Return the area of half-open boxes; an inverted box has none.

    Args:
        boxes: (..., 4) half-open xyxy pixels.

    Returns:
        (...,) square pixels, same dtype.

    Example:
        >>> area(torch.tensor([[1, 1, 4, 3], [4, 3, 1, 1]]))
        tensor([6, 0])
    """
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def centred(scales: Tensor, size: tuple[int, int]) -> Tensor:
    """Return boxes in the middle of an image, the prediction that needs no network.

    Args:
        scales: (S,) side lengths as fractions of the image's sides, in [0, 1].
        size: ``(height, width)`` of the image.

    Returns:
        (S, 4) float half-open xyxy pixels.

    Example:
        >>> centred(torch.tensor([0.5, 1.0]), (10, 20))
        tensor([[ 5.0000,  2.5000, 15.0000,  7.5000],
                [ 0.0000,  0.0000, 20.0000, 10.0000]])
    """
    height, width = size
    x, y = scales * width / 2, scales * height / 2
    return torch.stack([width / 2 - x, height / 2 - y, width / 2 + x, height / 2 + y], dim=-1)


def to_window(boxes: Tensor, window: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """Carry boxes of an image to a map that covers a window of it.

    Args:
        boxes: (..., 4) float half-open xyxy pixels of the image.
        window: Half-open xyxy pixels of the image.
        size: ``(height, width)`` of the map.

    Returns:
        (..., 4) pixels of the map, neither rounded nor clipped where the window cuts a box, so IoU does not change.

    Example:
        >>> to_window(torch.tensor([10.0, 0.0, 30.0, 20.0]), window=(20, 0, 40, 20), size=(10, 10))
        tensor([-5.,  0.,  5., 10.])
    """
    x0, y0, x1, y1 = window
    offset = torch.tensor([x0, y0, x0, y0], dtype=boxes.dtype, device=boxes.device)
    return rescale(boxes - offset, (y1 - y0, x1 - x0), size)


def from_window(boxes: Tensor, window: tuple[int, int, int, int] | Tensor, size: tuple[int, int]) -> Tensor:
    """Carry boxes of a map back to the image, the inverse of :func:`to_window`.

    A box without area becomes ``(0, 0, 0, 0)``, which means that there is none.

    Args:
        boxes: (..., 4) float half-open xyxy pixels of the map.
        window: What the map covers, half-open xyxy pixels of the image; (..., 4) where boxes are of several images.
        size: ``(height, width)`` of the map.

    Returns:
        (..., 4) pixels of the image, not rounded.

    Example:
        >>> from_window(torch.tensor([0.0, 0.0, 5.0, 10.0]), window=(20, 0, 40, 20), size=(10, 10))
        tensor([20.,  0., 30., 20.])
        >>> windows = torch.tensor([[20, 0, 40, 20], [0, 0, 10, 10]])
        >>> from_window(torch.tensor([[0.0, 0.0, 5.0, 10.0]] * 2), windows, size=(10, 10))
        tensor([[20.,  0., 30., 20.],
                [ 0.,  0.,  5., 10.]])
    """
    windows = torch.as_tensor(window, dtype=torch.float64, device=boxes.device)
    height, width = size
    scale = (windows[..., 2:] - windows[..., :2]) / windows.new_tensor([width, height])
    corner = windows[..., :2].to(boxes.dtype)
    placed = boxes * torch.cat([scale, scale], dim=-1).to(boxes.dtype) + torch.cat([corner, corner], dim=-1)
    return torch.where(area(boxes)[..., None] > 0, placed, torch.zeros_like(placed))

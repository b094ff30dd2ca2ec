"""Torch's antialiased resize of uint8 images in operations that every graph format has, equal to the bit."""

import torch
from torch import Tensor

_WEIGHT_BITS = 15
_MOST_BITS = 22


def integer_resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Resize images as :class:`~camloc.data.images.transforms.EvalTransform` does, for graphs that are exported.

    Torch resizes uint8 images by weights that are integers, first along rows, then along columns, and rounds to whole
    levels after each. Both are products with a matrix of weights here. A resize in floating point, such as ONNX's,
    comes out a level off at some pixels.

    .. math:: out_i = \lfloor 2^{-p} \sum_j \lfloor 2^p w_{ij} + 0.5 \rfloor in_j + 0.5 \rfloor

    Args:
        images: (B,3,H,W) uint8.
        size: ``(height, width)`` of the result.

    Returns:
        (B,3,height,width) float32, whole numbers from 0 to 255.

    Example:
        >>> integer_resize(torch.tensor([[[[0, 10, 20, 30]]]], dtype=torch.uint8), (1, 2))
        tensor([[[[ 7., 23.]]]])
    """
    rows, row_bits = _weights(images.shape[3], size[1], images.device)
    columns, column_bits = _weights(images.shape[2], size[0], images.device)
    # In float64, which holds every sum exactly, and which matrix products are made for, as they are not for integers.
    narrow = _rounded(images.double() @ rows.T, row_bits)
    return _rounded(columns @ narrow, column_bits).float()


def _weights(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor]:
    r"""Return the (new,old) whole-numbered weights of a side's pixels, and :math:`2^p` which they add up to.

    Tensors alone: ``old`` is unknown when a graph is exported.
    """
    pixels = torch.arange(old, dtype=torch.float64, device=device)
    scale = (pixels[-1:] + 1) / new
    centres = scale * (torch.arange(new, dtype=torch.float64, device=device) + 0.5)
    distances = (pixels - centres[:, None] + 0.5).abs() / scale.clamp(min=1)
    triangle = (1 - distances).clamp(min=0)
    fractions = triangle / triangle.sum(dim=1, keepdim=True)
    # p is the largest for which no weight needs more than 15 bits.
    powers = 2.0 ** torch.arange(1, _MOST_BITS + 1, dtype=torch.float64, device=device)
    fits = (fractions.max() * powers + 0.5).floor() < 2**_WEIGHT_BITS
    one = torch.where(fits, powers, 1.0).max()
    return (fractions * one + 0.5).floor(), one


def _rounded(sums: Tensor, one: Tensor) -> Tensor:
    return (sums / one + 0.5).floor().clamp(min=0, max=255)

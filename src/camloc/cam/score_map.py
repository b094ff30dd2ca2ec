"""From raw class activation maps to score maps in [0, 1] at the picture's size."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

Normalization = Literal["minmax", "max"]
Interpolation = Literal["bilinear", "bicubic"]


def score_map(
    cam: Tensor,
    size: tuple[int, int],
    normalization: Normalization = "minmax",
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Upsample class activation maps, then normalize each.

    Args:
        cam: (B,h,w), raw and signed.
        size: ``(height, width)`` in pixels of the score map.
        normalization: As in :func:`normalize`.
        interpolation: Between the centres of the map's cells; values beyond the border repeat the border.

    Returns:
        (B,H,W) float32 in [0, 1]. All zeros, hence without a box at any threshold, where :func:`normalize`
        says so of the map before or after upsampling.

    Raises:
        ValueError: ``cam`` is not (B,h,w), or an option is unknown.

    Example:
        >>> score_map(torch.tensor([[[-1.0, 3.0]]]), size=(1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
        >>> score_map(torch.tensor([[[-1.0, 3.0]]]), size=(1, 4), normalization="max")
        tensor([[[0.0000, 0.0000, 0.6667, 1.0000]]])
    """
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation must be one of {get_args(Interpolation)}, found {interpolation!r}")
    _check_maps("cam", cam)
    cam = cam.float()
    upsampled = F.interpolate(cam[:, None], size=size, mode=interpolation, align_corners=False)[:, 0]
    # Upsampling leaves rounding noise on a constant map, which normalizing would blow up to the full range.
    return normalize(torch.where(_varies(cam), upsampled, 0.0), normalization)


def normalize(maps: Tensor, method: Normalization = "minmax") -> Tensor:
    r"""Bring each map into [0, 1], so that one threshold suits all.

    .. math:: minmax: (m - \min m) / (\max m - \min m) \qquad max: \max(m, 0) / \max m

    ``minmax`` is what wsolevaluation and most of the literature do. ``max`` is the paper's wording, "above
    20% of the max value of the CAM" (Zhou et al., CVPR 2016, Sec. 3.2). In both the largest value becomes 1.

    A map that says nothing about a place becomes all zeros: a constant one (its range is below float32's
    smallest normal number, 1.2e-38), one with a NaN, an infinity or a range that overflows, and under ``max``
    one with nothing above 0.

    Args:
        maps: (B,H,W).
        method: ``minmax`` or ``max``.

    Returns:
        (B,H,W) float32 in [0, 1].

    Raises:
        ValueError: ``maps`` is not (B,H,W), or the method is unknown.

    Example:
        >>> normalize(torch.tensor([[[-1.0, 0.0, 3.0]], [[7.0, 7.0, 7.0]]]))
        tensor([[[0.0000, 0.2500, 1.0000]],
        <BLANKLINE>
                [[0.0000, 0.0000, 0.0000]]])
    """
    if method not in get_args(Normalization):
        raise ValueError(f"normalization must be one of {get_args(Normalization)}, found {method!r}")
    _check_maps("maps", maps)
    maps = maps.float()
    low = maps.amin(dim=(1, 2), keepdim=True) if method == "minmax" else torch.zeros_like(maps[:, :1, :1])
    scale = maps.amax(dim=(1, 2), keepdim=True) - low
    usable = _varies(maps) & (scale >= torch.finfo(torch.float32).tiny)
    return torch.where(usable, ((maps - low) / scale).clamp(min=0), 0.0)


def _varies(maps: Tensor) -> Tensor:
    """Tell for each map, as (B,1,1), whether its range is finite and not 0."""
    spread = maps.amax(dim=(1, 2), keepdim=True) - maps.amin(dim=(1, 2), keepdim=True)
    return spread.isfinite() & (spread >= torch.finfo(torch.float32).tiny)


def _check_maps(name: str, maps: Tensor) -> None:
    if maps.ndim != 3 or 0 in maps.shape[1:]:  # noqa: PLR2004 - batch, height, width
        raise ValueError(f"{name} must be (B,height,width) with pixels in it, found {tuple(maps.shape)}")

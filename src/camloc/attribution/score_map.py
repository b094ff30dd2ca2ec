"""From raw class activation maps to score maps in [0, 1] at the image's size."""

from typing import Annotated, Literal, get_args

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional as F

Normalization = Literal["minmax", "max", "pas", "ivr", "none"]
Interpolation = Literal["bilinear", "bicubic"]
QUANTILES = {"pas": 0.9, "ivr": 0.35}
"""Default quantile of each normalization that has one."""


def score_map(
    cam: Tensor,
    size: tuple[int, int],
    normalization: Normalization = "minmax",
    interpolation: Interpolation = "bilinear",
    quantile: Annotated[float, Ge(0), Le(1)] | None = None,
) -> Tensor:
    """Upsample class activation maps, then normalize each.

    Args:
        cam: (P,h,w), raw and signed; for ``none``, score maps.
        size: ``(height, width)`` in pixels of the score map.
        normalization: As in :func:`normalize`.
        interpolation: Between the centres of the map's cells; values beyond the border repeat the border.
        quantile: As in :func:`normalize`.

    Returns:
        (P,H,W) float32 in [0, 1]. A map that :func:`normalize` turns into zeros, before or after upsampling, is all
        zeros and has no box at any threshold.

    Raises:
        ValueError: ``cam`` is not (P,h,w), an option is unknown, or ``none`` is given values outside [0, 1].

    Example:
        >>> score_map(torch.tensor([[[-1.0, 3.0]]]), size=(1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
        >>> score_map(torch.tensor([[[-1.0, 3.0]]]), size=(1, 4), normalization="max")
        tensor([[[0.0000, 0.0000, 0.6667, 1.0000]]])
    """
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation must be one of {get_args(Interpolation)}, found {interpolation!r}")
    _check_maps("cam", cam)
    cam = normalize(cam, "none", quantile) if normalization == "none" else cam.float()
    upsampled = F.interpolate(cam[:, None], size=size, mode=interpolation, align_corners=False)[:, 0]
    if normalization == "none":
        return upsampled.clamp(min=0, max=1)  # the cubic overshoots
    # Upsampling leaves rounding noise on a constant map, which normalizing would blow up to the full range.
    return normalize(torch.where(_varies(cam), upsampled, 0.0), normalization, quantile)


def normalize(maps: Tensor, method: Normalization = "minmax", quantile: float | None = None) -> Tensor:
    r"""Bring each map into [0, 1], so that one threshold suits all.

    .. math::
        minmax: \frac{m - \min m}{\max m - \min m} \qquad
        max: \frac{\max(m, 0)}{\max m} \qquad
        pas: \min\left(1, \frac{m - \min m}{Q_q(m) - \min m}\right) \qquad
        ivr: \frac{\max(m - Q_q(m), 0)}{\max m - Q_q(m)}

    ``minmax`` is what wsolevaluation and most of the literature do. ``max`` is the paper's wording, "above
    20% of the max value of the CAM" (Zhou et al., CVPR 2016, Sec. 3.2). ``pas`` and ``ivr`` are from Kim et al.,
    "Normalization Matters in WSOL", ICCV 2021. In all four the largest value becomes 1. ``none`` keeps maps that are
    score maps already.

    A map that localizes nothing becomes all zeros: one with a NaN or an infinity; and, but for ``none``, a constant
    one (its range is below float32's smallest normal number, 1.2e-38), one whose range overflows, and one whose
    denominator above is not positive, as under ``max`` with nothing above 0.

    Args:
        maps: (P,H,W).
        method: ``minmax``, ``max``, ``pas``, ``ivr`` or ``none``.
        quantile: q of ``pas`` (0.9 when null) and ``ivr`` (0.35 when null; the paper tries 0.2 to 0.45), a fraction
            in [0, 1] of the map's pixels. The other methods have none.

    Returns:
        (P,H,W) float32 in [0, 1].

    Raises:
        ValueError: ``maps`` is not (P,H,W), the method is unknown, the quantile does not belong to it, or ``none`` is
            given finite maps with values outside [0, 1].

    Example:
        >>> normalize(torch.tensor([[[-1.0, 0.0, 3.0]], [[7.0, 7.0, 7.0]]]))
        tensor([[[0.0000, 0.2500, 1.0000]],
        <BLANKLINE>
                [[0.0000, 0.0000, 0.0000]]])
    """
    if method not in get_args(Normalization):
        raise ValueError(f"normalization must be one of {get_args(Normalization)}, found {method!r}")
    if quantile is not None and (method not in QUANTILES or not 0 <= quantile <= 1):
        raise ValueError(
            f"quantile is a fraction in [0, 1] for {' and '.join(QUANTILES)}, found {quantile} for {method!r}"
        )
    _check_maps("maps", maps)
    maps = maps.float()
    if method == "none":
        return _as_score_maps(maps)
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    if method == "max":
        low = torch.zeros_like(low)
    elif method == "pas":
        high = _quantile(maps, QUANTILES["pas"] if quantile is None else quantile)
    elif method == "ivr":
        low = _quantile(maps, QUANTILES["ivr"] if quantile is None else quantile)
    scale = high - low
    usable = _varies(maps) & (scale >= torch.finfo(torch.float32).tiny)
    return torch.where(usable, ((maps - low) / scale).clamp(min=0, max=1), 0.0)


def _as_score_maps(maps: Tensor) -> Tensor:
    """Check that maps lie in [0, 1]; those that are not finite become zeros."""
    finite = maps.isfinite().all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    kept = torch.where(finite, maps, 0.0)
    if ((kept < 0) | (kept > 1)).any():
        raise ValueError(
            f"score_map=none takes score maps in [0, 1], found values from {kept.min():g} to {kept.max():g}; "
            "choose a normalization, such as score_map=minmax"
        )
    return kept


def _quantile(maps: Tensor, quantile: float) -> Tensor:
    """The (P,1,1) quantiles of (P,H,W) maps, one by one: torch.quantile takes 16 million values at most."""
    values = [one.flatten().quantile(quantile) for one in maps]
    return torch.stack(values).view(-1, 1, 1) if values else maps.new_zeros(0, 1, 1)


def _varies(maps: Tensor) -> Tensor:
    """Whether each map's range is finite and not 0, as (P,1,1)."""
    spread = maps.amax(dim=(1, 2), keepdim=True) - maps.amin(dim=(1, 2), keepdim=True)
    return spread.isfinite() & (spread >= torch.finfo(torch.float32).tiny)


def _check_maps(name: str, maps: Tensor) -> None:
    if maps.ndim != 3 or 0 in maps.shape[1:]:  # noqa: PLR2004 - pairs, height, width
        raise ValueError(f"{name} must be (P,height,width) with at least one pixel, found {tuple(maps.shape)}")

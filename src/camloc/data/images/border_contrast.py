"""A box of what differs from the image's border: where an object may be, without a person, a class or a network."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BORDER = 0.1
"""Of the shorter side: how wide the border is."""
SIDE = 128
"""Larger images are looked at with this longer side, pixels."""
CENTRE_DEVIATION = 0.7
"""Of the Gaussian by which the middle weighs more than the corners; the image reaches from -1 to 1."""
OF_OTSU = 0.6
"""Of Otsu's threshold, which keeps the most different part of an object alone."""
LEAST_VARIANCE = 9.0
"""Of a border's colours, of 255 levels squared: a border of one colour would make everything else as different."""


def border_contrast_box(image: Tensor) -> Tensor:
    """Box the largest component of what differs from the border by more than most.

    The threshold is a share of Otsu's (1979) of :func:`border_contrast`, each pixel weighted by how close to the middle
    it is. On 200 images of 20 classes of Tiny ImageNet 67% of the boxes have an IoU of 0.5 with the true one and 46% of
    0.7; of the best box in the middle of all images these are 65% and 26%.

    Args:
        image: (3,H,W) uint8.

    Returns:
        (4,) float32 half-open xyxy pixels of the image: of the largest 8-connected component; the whole image where
        nothing differs.

    Raises:
        ValueError: The shape or type does not fit.

    Example:
        >>> image = torch.full((3, 40, 60), 50, dtype=torch.uint8)
        >>> image[:, 10:30, 15:35] = 200
        >>> border_contrast_box(image)
        tensor([15., 10., 35., 30.])
    """
    if image.dtype != torch.uint8 or image.ndim != len("CHW") or len(image) != len("RGB") or 0 in image.shape:
        raise ValueError(f"image is {image.dtype} {tuple(image.shape)}; give uint8 (3,H,W) with a pixel at least")
    height, width = image.shape[1:]
    shrink = max(1.0, max(height, width) / SIDE)
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))  # OpenCV's order
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    contrast = border_contrast(np.asarray(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), np.uint8))
    y, x = ((np.arange(side) + 0.5) / side * 2 - 1 for side in contrast.shape)
    contrast *= np.exp(-(y[:, None] ** 2 + x**2) / (2 * CENTRE_DEVIATION**2))
    if contrast.max() <= 0:
        return torch.tensor([0.0, 0.0, width, height])
    levels = (contrast / contrast.max() * 255).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    mask = (levels > OF_OTSU * otsu).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    left, top, across, down, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())].tolist()  # 0 is the background
    wide, high = width / small[0], height / small[1]
    return torch.tensor([left * wide, top * high, (left + across) * wide, (top + down) * high])


def border_contrast(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    r"""Return how much the colour of each pixel differs from those of the border.

    .. math::
        u_k(x) = \sqrt{(c(x) - \mu_k)^T \Sigma_k^{-1} (c(x) - \mu_k)} \qquad
        u(x) = \sum_k \bar{u}_k(x) - \max_k \bar{u}_k(x)

    over the four sides k, :math:`\bar{u}_k` being :math:`u_k` divided by its maximum (the image
    boundary contrast of Zhang et al., ICCV 2015); c is the colour in CIELAB. Without the largest one, an object that
    covers one side still differs from the three others.

    Args:
        image: (H,W,3) RGB.

    Returns:
        (H,W), not negative.

    Example:
        >>> image = np.zeros((5, 5, 3), np.uint8)
        >>> image[2, 2] = 255
        >>> border_contrast(image).nonzero()
        (array([2]), array([2]))
    """
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float64)
    deep = max(1, round(BORDER * min(colours.shape[:2])))
    different = []
    for side in (colours[:deep], colours[-deep:], colours[:, :deep], colours[:, -deep:]):
        flat = side.reshape(-1, 3)
        covariance = np.cov(flat.T, bias=True) + LEAST_VARIANCE * np.eye(3)
        away = colours - flat.mean(axis=0)
        distance = np.sqrt(np.einsum("hwi,ij,hwj->hw", away, np.linalg.inv(covariance), away))
        different.append(distance / max(distance.max(), np.finfo(np.float64).tiny))
    stacked = np.stack(different)
    contrast: NDArray[np.float64] = stacked.sum(axis=0) - stacked.max(axis=0)
    return contrast

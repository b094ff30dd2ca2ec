"""Heatmaps: score maps in colour over their images, for people to look at."""

import matplotlib as mpl
import numpy as np
from PIL import Image
from torch import Tensor

from camloc.report.rgb import RGB, as_rgb


def overlay_heatmap(image: Tensor, score_map: Tensor) -> RGB:
    """Blend a coloured score map half and half with its image in gray, so that all colour comes from the score.

    Args:
        image: (3,H,W) uint8 RGB.
        score_map: (H,W) in [0,1]; NaN is drawn in black.

    Returns:
        (H,W,3) uint8 RGB.

    Raises:
        ValueError: If the image is not (3,H,W) uint8 or the score map has another size.

    Example:
        >>> import torch
        >>> black = torch.zeros(3, 1, 2, dtype=torch.uint8)
        >>> overlay_heatmap(black, torch.tensor([[0.0, 1.0]])).tolist()  # half of inferno's first and last colour
        [[[0, 0, 1], [126, 127, 82]]]
    """
    gray = np.array(Image.fromarray(as_rgb(image)).convert("L"), dtype=np.uint16)
    if score_map.shape != image.shape[1:]:
        raise ValueError(
            f"the score map is {tuple(score_map.shape)} but its image is {tuple(image.shape[1:])}; "
            "upsample the score map to the image first"
        )
    heat = mpl.colormaps["inferno"](score_map.detach().double().cpu().numpy(), bytes=True)[..., :3]
    blended: RGB = ((gray[..., None] + heat) // 2).astype(np.uint8)
    return blended

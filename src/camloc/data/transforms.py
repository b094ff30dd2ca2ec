"""What happens to a picture, and to its boxes with it, before it meets the network. All in uint8."""

from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from camloc.data.sample import Window

EvalKind = Literal["warp", "centre_crop"]
TrainKind = Literal["random_resized_crop", "resize_crop"]
CROP_SHARE = 224 / 256
"""Of a side, what the field's crops keep."""


class TrainTransform:
    """A random crop of the picture as a square, and random mirroring.

    ``random_resized_crop`` draws area and aspect, as most of today's trainings do. ``resize_crop`` warps the picture
    to 256/224 of the square's side and cuts the square anywhere, as the paper's release and wsolevaluation do.

    Args:
        image_size: Side of the square, pixels.
        crop_area: Smallest and largest share of the picture's area that a random resized crop covers, in (0, 1].
        kind: ``random_resized_crop`` or ``resize_crop``.

    Raises:
        ValueError: If ``kind`` is unknown.

    Example:
        >>> TrainTransform(image_size=32, crop_area=(0.5, 1.0))(torch.zeros(3, 48, 64, dtype=torch.uint8), seed=0).shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self, image_size: int, crop_area: tuple[float, float], kind: TrainKind = "random_resized_crop"
    ) -> None:
        if kind not in get_args(TrainKind):
            raise ValueError(f"datamodule.train_transform must be one of {get_args(TrainKind)}, found {kind!r}")
        crop: list[v2.Transform] = [v2.RandomResizedCrop(image_size, scale=crop_area, antialias=True)]
        if kind == "resize_crop":
            side = round(image_size / CROP_SHARE)
            crop = [v2.Resize((side, side), antialias=True), v2.RandomCrop(image_size)]
        self._transform = v2.Compose([*crop, v2.RandomHorizontalFlip()])

    def __call__(self, picture: Tensor, seed: int) -> Tensor:
        """Return the (3,S,S) uint8 image that this seed draws from a (3,H,W) uint8 picture."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image: Tensor = self._transform(picture)
        return image


class EvalTransform:
    """Bring a picture to the network's square input; which part of the picture that is, is the window.

    ``warp`` squeezes the whole picture into the square whatever its aspect, the convention of the WSOL literature.
    ``centre_crop`` takes the middle square, 224/256 of the shorter side, as classification does; true boxes are not
    cut, so what lies outside counts as missed.

    Args:
        image_size: Side of the square, pixels.
        kind: ``warp`` or ``centre_crop``.

    Raises:
        ValueError: If ``kind`` is unknown.

    Example:
        >>> transform = EvalTransform(32, "centre_crop")
        >>> transform.window((256, 512))
        (144, 16, 368, 240)
        >>> transform(torch.zeros(3, 256, 512, dtype=torch.uint8), transform.window((256, 512))).shape
        torch.Size([3, 32, 32])
    """

    def __init__(self, image_size: int, kind: EvalKind = "warp") -> None:
        if kind not in get_args(EvalKind):
            raise ValueError(f"datamodule.eval_transform must be one of {get_args(EvalKind)}, found {kind!r}")
        self.size = (image_size, image_size)
        self.kind = kind

    def window(self, image_size: tuple[int, int]) -> Window:
        """Return what is shown of a picture of ``(height, width)``, half-open xyxy pixels."""
        height, width = image_size
        if self.kind == "warp":
            return 0, 0, width, height
        side = max(1, round(min(height, width) * CROP_SHARE))
        x0, y0 = (width - side) // 2, (height - side) // 2
        return x0, y0, x0 + side, y0 + side

    def __call__(self, picture: Tensor, window: Window) -> Tensor:
        """Return the (3,S,S) uint8 image of a (3,H,W) uint8 picture."""
        x0, y0, x1, y1 = window
        image: Tensor = F.resize(picture[:, y0:y1, x0:x1], list(self.size), antialias=True)
        return image

    def masks(self, masks: Tensor, window: Window) -> Tensor:
        """Return (2,S,S) bool masks for (2,H,W) bool ones, by the nearest pixel as wsolevaluation takes it."""
        x0, y0, x1, y1 = window
        shown = masks[:, y0:y1, x0:x1].numpy().astype(np.uint8)
        resized = [cv2.resize(mask, self.size[::-1], interpolation=cv2.INTER_NEAREST) for mask in shown]
        return torch.from_numpy(np.stack(resized) > 0)

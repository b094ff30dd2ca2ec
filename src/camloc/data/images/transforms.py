"""Images to network inputs, with the part of the image that they show. All in uint8."""

import math
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional as F

from camloc.boxes import rescale, to_window
from camloc.data.loading.split import Shrink
from camloc.records import Window

EvalKind = Literal["warp", "centre_crop"]
TrainKind = Literal["random_resized_crop", "resize_crop"]
CROP_SHARE = 224 / 256
"""Share of a side that the field's crops keep."""
ASPECTS = (3 / 4, 4 / 3)
"""Smallest and largest width over height of a random resized crop."""
TRIES = 10
MIRRORED = 0.5


class TrainTransform:
    """A random crop of the image as a square, and random mirroring; shrinking is antialiased.

    ``random_resized_crop`` draws area and aspect, as most of today's trainings do. ``resize_crop`` warps the image
    to 256/224 of the square's side and cuts the square anywhere, as the paper's release and wsolevaluation do.
    Fastest on images that lie in memory pixel by pixel, as ``read_image`` gives them.

    Args:
        input_size: Side of the square, pixels; null until it is known.
        crop_area: Smallest and largest share of the image's area that a random resized crop covers, in (0, 1].
        kind: ``random_resized_crop`` or ``resize_crop``.

    Raises:
        ValueError: If ``kind`` is unknown.

    Example:
        >>> TrainTransform(input_size=32, crop_area=(0.5, 1.0))(torch.zeros(3, 48, 64, dtype=torch.uint8), seed=0).shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self, input_size: int | None, crop_area: tuple[float, float], kind: TrainKind = "random_resized_crop"
    ) -> None:
        if kind not in get_args(TrainKind):
            raise ValueError(f"datamodule.train_transform must be one of {get_args(TrainKind)}, found {kind!r}")
        self.input_size, self.crop_area, self.kind = input_size, crop_area, kind

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Return the (3,S,S) uint8 image that this seed draws from a (3,H,W) uint8 image, channels last in memory."""
        mirror, *uniform = _uniform(seed)
        size = _known(self.input_size)
        if self.kind == "resize_crop":
            warped = _resize(image, _warp_side(size))
            top, left = _corner(len(warped), size, uniform)
            square = warped[top : top + size, left : left + size]
        else:
            top, left, height, width = _crop(image.shape[1], image.shape[2], self.crop_area, uniform)
            square = _resize(image[:, top : top + height, left : left + width], size)
        return torch.from_numpy(cv2.flip(square, 1) if mirror < MIRRORED else square).permute(2, 0, 1)

    def boxes(self, boxes: Tensor, image_size: tuple[int, int], seed: int) -> Tensor:
        """Move boxes as this seed moves their image, and cut them at the edges of the square.

        Args:
            boxes: (M,4) float half-open xyxy pixels of the image.
            image_size: ``(height, width)`` of the image, whole.
            seed: That of the image.

        Returns:
            (M,4) pixels of the square; without area where nothing of a box is shown.

        Example:
            >>> transform = TrainTransform(input_size=32, crop_area=(1.0, 1.0))
            >>> transform.boxes(torch.tensor([[0.0, 0.0, 16.0, 64.0]]), (64, 64), seed=1)  # which mirrors
            tensor([[24.,  0., 32., 32.]])
        """
        mirror, *uniform = _uniform(seed)
        size = _known(self.input_size)
        if self.kind == "resize_crop":
            side = _warp_side(size)
            top, left = _corner(side, size, uniform)
            boxes, height, width = rescale(boxes, image_size, (side, side)), size, size
        else:
            top, left, height, width = _crop(*image_size, self.crop_area, uniform)
        shown = to_window(boxes, (left, top, left + width, top + height), (size, size)).clamp(0, size)
        if mirror < MIRRORED:
            x0, y0, x1, y1 = shown.unbind(dim=1)
            shown = torch.stack([size - x1, y0, size - x0, y1], dim=1)
        return shown

    def shrink(self, seed: int) -> Shrink:
        """Say how much smaller an image may be read so that this seed's crop still has the pixels of its square.

        Example:
            >>> TrainTransform(input_size=224, crop_area=(1.0, 1.0)).shrink(seed=0)((3000, 3600))
            8
        """

        def times(size: tuple[int, int]) -> int:
            input_size = _known(self.input_size)
            if self.kind == "random_resized_crop":
                crop, wanted = _crop(*size, self.crop_area, _uniform(seed)[1:])[2:], input_size
            else:
                crop, wanted = size, _warp_side(input_size)
            return next(factor for factor in (8, 4, 2, 1) if min(crop) >= factor * wanted or factor == 1)

        return times


class EvalTransform:
    """Resize an image to the network's square input; the window is the part of the image that it shows.

    ``warp`` squeezes the whole image into the square whatever its aspect, the convention of the WSOL literature.
    ``centre_crop`` takes the middle square, 224/256 of the shorter side, as classification does; true boxes are not
    cut, so what lies outside counts as missed.

    Args:
        input_size: Side of the square, pixels; null until it is known, and not needed for the window.
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

    def __init__(self, input_size: int | None, kind: EvalKind = "warp") -> None:
        if kind not in get_args(EvalKind):
            raise ValueError(f"datamodule.eval_transform must be one of {get_args(EvalKind)}, found {kind!r}")
        self.input_size, self.kind = input_size, kind

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the square.

        Raises:
            ValueError: If it is not known yet.
        """
        return (_known(self.input_size),) * 2

    def window(self, image_size: tuple[int, int]) -> Window:
        """Return what is shown of an image of ``(height, width)``, half-open xyxy pixels."""
        height, width = image_size
        if self.kind == "warp":
            return 0, 0, width, height
        side = max(1, round(min(height, width) * CROP_SHARE))
        x0, y0 = (width - side) // 2, (height - side) // 2
        return x0, y0, x0 + side, y0 + side

    def __call__(self, image: Tensor, window: Window) -> Tensor:
        """Return the (3,S,S) uint8 image of a (3,H,W) uint8 image."""
        x0, y0, x1, y1 = window
        square: Tensor = F.resize(image[:, y0:y1, x0:x1], list(self.size), antialias=True)
        return square

    def masks(self, masks: Tensor, window: Window) -> Tensor:
        """Return (...,S,S) bool masks for (...,H,W) bool ones, by the nearest pixel as wsolevaluation takes it."""
        x0, y0, x1, y1 = window
        shown = masks[..., y0:y1, x0:x1].flatten(0, -3).numpy().astype(np.uint8)
        resized = [cv2.resize(mask, self.size[::-1], interpolation=cv2.INTER_NEAREST) > 0 for mask in shown]
        return torch.from_numpy(np.array(resized, dtype=bool).reshape(*masks.shape[:-2], *self.size))


def _known(input_size: int | None) -> int:
    if input_size is None:
        raise ValueError("the input size is not known yet; give the transform the size that the backbone was made for")
    return input_size


def _warp_side(input_size: int) -> int:
    return round(input_size / CROP_SHARE)


def _corner(side: int, size: int, uniform: list[float]) -> tuple[int, int]:
    """Draw top and left of a crop of ``size`` pixels within ``side`` pixels."""
    top, left = (int(u * (side - size + 1)) for u in uniform[:2])
    return top, left


def _uniform(seed: int) -> list[float]:
    """Draw numbers in [0, 1): whether to mirror, and four for each try at a crop."""
    # Not fork_rng, which saves and restores the whole state of the global generator.
    generator = torch.Generator().manual_seed(seed)
    numbers: list[float] = torch.rand(1 + 4 * TRIES, generator=generator, dtype=torch.float64).tolist()
    return numbers


def _resize(image: Tensor, side: int) -> NDArray[np.uint8]:
    """Return the (side,side,3) pixels of a (3,H,W) image."""
    if max(image.shape) <= side:
        pixels = image.permute(1, 2, 0).numpy()
        return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value] # uint8
    # Not OpenCV's antialiased INTER_AREA, which takes five times as long. Torch resizes interleaved pixels a third
    # faster than planes, but only where they lie without gaps.
    dense = image[None].contiguous(memory_format=torch.channels_last)
    resized = interpolate(dense, (side, side), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def _crop(height: int, width: int, crop_area: tuple[float, float], uniform: list[float]) -> tuple[int, int, int, int]:
    """Draw as torchvision's ``RandomResizedCrop.get_params`` does, from numbers that are uniform in [0, 1).

    Area and logarithm of the aspect are uniform. A crop that does not fit is redrawn; after ``TRIES`` misses, the
    largest centred crop of an allowed aspect is taken.

    Returns:
        Top, left, height and width, pixels.
    """
    low, high = (math.log(aspect) for aspect in ASPECTS)
    for draw in range(TRIES):
        u_area, u_aspect, u_top, u_left = uniform[4 * draw : 4 * draw + 4]
        area = height * width * (crop_area[0] + u_area * (crop_area[1] - crop_area[0]))
        aspect = math.exp(low + u_aspect * (high - low))
        crop_height, crop_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            top, left = int(u_top * (height - crop_height + 1)), int(u_left * (width - crop_width + 1))
            return top, left, crop_height, crop_width
    crop_height, crop_width = min(height, round(width / ASPECTS[0])), min(width, round(height * ASPECTS[1]))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width

"""What happens to a picture, and to its boxes with it, before it meets the network. All in uint8."""

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from camloc.boxes import rescale


class TrainTransform:
    """Random resized crop to a square and random mirroring.

    Args:
        image_size: Side of the square, pixels.
        crop_area: Smallest and largest share of the picture's area that a crop covers, in (0, 1].

    Example:
        >>> TrainTransform(image_size=32, crop_area=(0.5, 1.0))(torch.zeros(3, 48, 64, dtype=torch.uint8), seed=0).shape
        torch.Size([3, 32, 32])
    """

    def __init__(self, image_size: int, crop_area: tuple[float, float]) -> None:
        self._transform = v2.Compose(
            [v2.RandomResizedCrop(image_size, scale=crop_area, antialias=True), v2.RandomHorizontalFlip()]
        )

    def __call__(self, picture: Tensor, seed: int) -> Tensor:
        """Return the (3,S,S) uint8 image that this seed draws from a (3,H,W) uint8 picture."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image: Tensor = self._transform(picture)
        return image


class WarpTransform:
    """Resize to a square whatever the aspect, the convention of the WSOL literature; nothing is cut away.

    IoU does not change under a warp, so boxes are compared in the warped frame.

    Args:
        image_size: Side of the square, pixels.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 32.0, 48.0]])
        >>> image, boxes = WarpTransform(32)(torch.zeros(3, 48, 64, dtype=torch.uint8), boxes)
        >>> boxes
        tensor([[ 0.,  0., 16., 32.]])
    """

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def __call__(self, picture: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (3,S,S) uint8 image and its (M,4) boxes for a (3,H,W) uint8 picture and its boxes."""
        size = (self.image_size, self.image_size)
        height, width = picture.shape[-2:]
        return F.resize(picture, list(size), antialias=True), rescale(gt_boxes, (height, width), size)

"""An image larger than those of the training, and its mirror image."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from camloc.attribution.contract import Attributed, Attribution, Choose
from camloc.attribution.views import Flip
from camloc.backbones.contract import Backbone

MULTIPLE = 32
"""Sides are multiples of the coarsest output stride, so that maps cover the image exactly."""


@dataclass(frozen=True)
class Enlarged:
    """Show an evaluation larger images than training shows, with their mirror images.

    Random crops are stretched to the network's input, so that objects look larger in training than whole images show
    them; a larger evaluation image makes up for it (Touvron et al., NeurIPS 2019), and its maps are finer. Networks of
    a fixed input size, as most transformers, cannot be shown one.

    Args:
        attribution: Maps the pairs.
        scale: Side of the image over that of the network's input, at least 1; rounded to a multiple of 32 pixels.
        flip: Whether logits and maps are means over the image and its mirror image, see :class:`Flip`.

    Raises:
        ValueError: ``scale`` is below 1.

    Example:
        >>> from camloc.attribution.cam import cam
        >>> Enlarged(cam).image_size(160), Enlarged(cam, scale=1.0).image_size(227)
        (224, 224)
    """

    attribution: Attribution
    scale: Annotated[float, Ge(1)] = 1.4
    flip: bool = True

    def __post_init__(self) -> None:
        if not self.scale >= 1:
            raise ValueError(f"views.scale must be at least 1, found {self.scale}")

    def image_size(self, input_size: int) -> int:
        """Return the side of the images, pixels, for a network that is trained at ``input_size``."""
        return max(1, round(input_size * self.scale / MULTIPLE)) * MULTIPLE

    def __call__(self, backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
        """Map pairs, see :class:`camloc.attribution.contract.Attribution`."""
        attribution = Flip(self.attribution) if self.flip else self.attribution
        return attribution(backbone, images, choose)

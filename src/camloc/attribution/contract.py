"""The contract of attribution methods: images and a choice of pairs in, logits and evidence maps out."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from camloc.backbones.contract import Backbone
from camloc.records import Pairs

Choose = Callable[[Tensor], Pairs]
"""From (B,C) logits to the pairs to be mapped: true classes, predicted ones, or both."""


class Attributed(NamedTuple):
    """The answer of an attribution method for B images and P pairs."""

    logits: Tensor
    """(B,C)."""
    pairs: Pairs
    """What ``choose`` chose."""
    cams: Tensor
    """(P,h,w) float32, raw and signed."""


class Attribution(Protocol):
    """Map the evidence for each chosen (image, class) pair.

    Called in evaluation mode and without gradients; a method that needs them enables them itself
    (:func:`camloc.attribution.gradients.with_gradients`) and leaves nothing behind: no hook, no ``.grad``.
    """

    def __call__(self, backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
        """Classify (B,3,H,W) normalized images and map the pairs that ``choose`` chooses from the logits.

        Raises:
            ValueError: The backbone lacks what the method needs, or a pair names no image or no class.
        """


Views = Callable[[Attribution], Attribution]
"""Wraps an attribution so that it sees each image several times: mirrored, cropped, scaled.

All views of an image map the same pairs, which ``choose`` chooses once, from the mean of the views' logits. To that
end all views go through the wrapped attribution as one batch; :func:`camloc.attribution.views.attribute_views` does
so. What is left to a wrapper is to make the views, and to paste their maps back onto the image.
"""


@runtime_checkable
class Cropping(Protocol):
    """Views whose crops are the network's input, and which therefore need a larger image.

    An attribution with this method is handed images of that size by every evaluation; its maps are then of that size.
    """

    def image_size(self, input_size: int) -> int:
        """Return the side of the square image whose crops are ``input_size`` pixels wide and high."""

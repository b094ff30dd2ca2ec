"""Views: an attribution around an attribution, which sees each image several times."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Attribution, Choose
from camloc.attribution.pairs import check_pairs
from camloc.backbones.contract import Backbone
from camloc.records import Pairs


def one_view(attribution: Attribution) -> Attribution:
    """Return the attribution itself: each image is seen once, as it is."""
    return attribution


@dataclass(frozen=True)
class Flip:
    """Average logits and maps over the image and its mirror image.

    The map of the mirror image is turned back before. Costs twice the time and memory of one view.
    """

    attribution: Attribution

    def __call__(self, backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
        """Map pairs, see :class:`camloc.attribution.contract.Attribution`."""
        logits, pairs, (cams, mirrored) = attribute_views(
            self.attribution, backbone, [images, images.flip(dims=[3])], choose
        )
        return Attributed(logits, pairs, (cams + mirrored.flip(dims=[2])) / 2)


def attribute_views(
    attribution: Attribution, backbone: Backbone, views: Sequence[Tensor], choose: Choose
) -> tuple[Tensor, Pairs, Tensor]:
    """Map the same pairs in all views of the images, by one call of the attribution on one batch.

    Args:
        attribution: Maps the pairs in every view.
        backbone: Classifies the views.
        views: V times (B,3,H,W), each with the same images in the same order.
        choose: Called once, with the mean of the views' logits.

    Returns:
        The (B,C) mean of the logits, P pairs, and the (V,P,h,w) maps.

    Raises:
        ValueError: A pair names no image or no class.
    """
    num_views, num_images = len(views), len(views[0])

    def mean(logits: Tensor) -> Tensor:
        return logits.float().reshape(num_views, num_images, *logits.shape[1:]).mean(dim=0)

    def choose_for_all(logits: Tensor) -> Pairs:
        averaged = mean(logits)
        pairs = choose(averaged)
        check_pairs(pairs, *averaged.shape)
        first_of_view = torch.arange(num_views, device=logits.device) * num_images
        return Pairs((first_of_view[:, None] + pairs.image_index).flatten(), pairs.classes.repeat(num_views))

    logits, pairs, cams = attribution(backbone, torch.cat(list(views)), choose_for_all)
    num_pairs = len(cams) // num_views
    # The images of the first view stand where those of the batch do.
    pairs = Pairs(pairs.image_index[:num_pairs], pairs.classes[:num_pairs])
    return mean(logits), pairs, cams.reshape(num_views, num_pairs, *cams.shape[1:])

"""The foreground that TriLite's head finds, the same for every class."""

from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs
from camloc.backbones.contract import Backbone

_FOREGROUND = 0


def trilite(backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
    """Map every pair of an image by the probability that a pixel is foreground, (P,h,w) in [0, 1].

    For networks that were trained with ``objective=trilite`` (see :class:`camloc.objectives.trilite.TriLite`). The map
    does not depend on the class: an image has one.

    Raises:
        ValueError: The network has no such head, or a pair names no image or no class.
    """
    forward_regions = getattr(backbone, "forward_regions", None)
    if forward_regions is None:
        raise ValueError(
            f"attribution=trilite needs a network that was trained with objective=trilite; {type(backbone).__name__} "
            "has no head that finds the foreground. Use attribution=cam or grad_cam"
        )
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    foreground: Tensor = forward_regions(features)[:, _FOREGROUND].float()
    return Attributed(logits, pairs, foreground.index_select(0, pairs.image_index))

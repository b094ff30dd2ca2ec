"""Maps of adversarial complementary learning: where either of two classifiers sees a class."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs, rounds
from camloc.backbones.contract import Backbone, Features


@runtime_checkable
class TwoClassifiers(Protocol):
    """What ``objective=acol`` makes of a network."""

    def class_maps(self, features: Features) -> Tensor:
        """Return (B,C,h,w), a map of the first classifier for each class."""

    def joint_maps(self, features: Features, seen: Tensor, classes: Tensor) -> Tensor:
        """Return (B,h,w) the joint map of one of the (B,) classes per image, (B,h,w) of the first classifier."""


def acol(backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
    r"""Map pairs by the larger of two classifiers' normalized maps, see :mod:`camloc.objectives.acol`.

    .. math:: M_c(x, y) = \max(\bar A_c(x, y), \bar B_c(x, y))

    (Zhang et al., CVPR 2018, Sec. 3.2), each normalized to [0, 1] by its minimum and maximum, a constant one to zeros.
    The second classifier runs once for each pair, for what is erased depends on the class.

    Raises:
        ValueError: The backbone has not two classifiers, or a pair names no image or no class.
    """
    if not isinstance(backbone, TwoClassifiers):
        raise ValueError(  # noqa: TRY004 - of a configuration, as in attribution=cam
            f"attribution=acol maps networks with two classifiers, which {type(backbone).__name__} has not; train one "
            "with objective=acol, or use attribution=cam"
        )
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    first = backbone.class_maps(features)
    check_pairs(pairs, *first.shape[:2])
    cams = torch.empty(len(pairs.classes), *first.shape[2:], device=first.device)
    for places in rounds(pairs):
        index, classes = pairs.image_index[places], pairs.classes[places]
        cams[places] = backbone.joint_maps(Features(features.maps[index]), first[index, classes], classes)
    return Attributed(logits, pairs, cams)

"""BagCAMs: the places of the feature maps as regional classifiers, whose maps are added up."""

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import Evidence, attribute_by_gradients
from camloc.backbones.contract import Backbone

LEAST_LOGIT = 1e-6


def bag_cams(backbone: Backbone, images: Tensor, choose: Choose, *, stage: Annotated[int, Ge(1)] = 1) -> Attributed:
    r"""Map pairs by bagging regional classification activation maps.

    .. math::
        g_k(x, y) = \frac{\partial \log y^c}{\partial f_k(x, y)} \qquad
        L^c(x, y) = \sum_k \mathrm{ReLU}\Big(\Big(1 + \frac{1}{hw} \sum_{a,b} g_k(a, b) f_k(a, b)\Big)
        g_k(x, y) f_k(x, y)\Big)

    (Zhu et al., ECCV 2022, as its released code computes it). Under average pooling, at the last maps, the bracket is
    close to 1: the map is the CAM of positive contributions alone. The authors do better with maps of a stage before.

    The logarithm has no value for logits from 0 downwards, where the release gives no map; here the gradient is
    divided by the logit's absolute value, and by 1e-6 at least. The release also clips the gradients that come back
    through every ReLU of the network (guided backpropagation), which changes the maps of ``stage`` 2 and more and is
    left out.

    Args:
        backbone: Any whose head reads the feature maps; with ``stage`` above 1 one with ``forward_stages``.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        stage: Which maps: 1 for the last, 2 for the last ones of the next larger size, and so on.

    Returns:
        Logits, pairs and (P,h,w) maps, none negative. One forward pass; with ``stage=1`` one backward pass through
        the head, else down to the stage, as many times as the image with the most pairs has pairs.

    Raises:
        ValueError: The logits do not depend on the feature maps, the network has no such stage, or a pair names no
            image or no class.
    """
    return attribute_by_gradients("bag_cams", backbone, images, choose, _weigh, (stage,))


def _weigh(stages: list[Evidence]) -> Tensor:
    ((maps, gradients, scores),) = stages
    contributions = gradients * maps / scores.abs().clamp(min=LEAST_LOGIT)[:, None, None, None]
    weights = 1 + contributions.mean(dim=(2, 3), keepdim=True)
    return (weights * contributions).relu().sum(dim=1)

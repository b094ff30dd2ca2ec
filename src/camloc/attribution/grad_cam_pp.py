"""Grad-CAM++: the feature maps weighted by their positive gradients, each place by what it adds to the class."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import Evidence, attribute_by_gradients
from camloc.backbones.contract import Backbone


def grad_cam_pp(backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
    r"""Map pairs by Grad-CAM++.

    .. math::
        \alpha_k^c(x, y) = \frac{g^2}{2 g^2 + g^3 \sum_{a,b} f_k(a, b)} \qquad
        w_k^c = \sum_{x,y} \alpha_k^c(x, y) \, \mathrm{ReLU}(g) \qquad
        L^c = \mathrm{ReLU}\Big(\sum_k w_k^c f_k\Big)

    with :math:`g = \partial y^c / \partial f_k(x, y)` (Chattopadhay et al., WACV 2018, Eq. 5, 7 and 19), and 0 where
    g is. The paper differentiates :math:`\exp(y^c)`: that factor cancels in :math:`\alpha`, and scales a pair's
    whole map, which is left out here. The fraction is computed as :math:`1 / (2 + g \sum f_k)`, which is the same
    and does not underflow.

    Two packages differ. grad-cam adds 1e-6 to the denominator, more than all of it where gradients are below 1e-3,
    as under average pooling: its weights are then :math:`10^6 \sum g^3`. torchcam 0.5 divides a copy, and so leaves
    the division out.

    Args:
        backbone: Any whose head reads the feature maps; its parameters may be frozen.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.

    Returns:
        Logits, pairs and (P,h,w) maps, none negative. All pairs take one backward pass, through the head alone.

    Raises:
        ValueError: The logits do not depend on the feature maps, or a pair names no image or no class.
    """
    return attribute_by_gradients("grad_cam_pp", backbone, images, choose, _weigh)


def _weigh(stages: list[Evidence]) -> Tensor:
    ((maps, gradients, _),) = stages
    denominator = 2 + gradients * maps.sum(dim=(2, 3), keepdim=True)
    # Maps that are negative may make it 0, where the fraction has no value.
    counted = (gradients > 0) & (denominator != 0)
    weights = torch.where(counted, gradients / denominator, 0).sum(dim=(2, 3))
    return torch.einsum("pk,pkhw->phw", weights, maps).relu()

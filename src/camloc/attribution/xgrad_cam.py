"""XGrad-CAM: the feature maps weighted by their gradients, each place by its share of the map."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import Evidence, attribute_by_gradients
from camloc.backbones.contract import Backbone


def xgrad_cam(backbone: Backbone, images: Tensor, choose: Choose, *, relu: bool = True) -> Attributed:
    r"""Map pairs by axiom-based Grad-CAM.

    .. math::
        \alpha_k^c = \sum_{x,y} \frac{f_k(x, y)}{\sum_{a,b} f_k(a, b)} \frac{\partial y^c}{\partial f_k(x, y)} \qquad
        L^c(x, y) = \mathrm{ReLU}\Big(\sum_k \alpha_k^c f_k(x, y)\Big)

    (Fu et al., BMVC 2020, Eq. 8), and 0 where a map's sum is. Where the gradient is the same everywhere, as under
    global average pooling, it is Grad-CAM.

    Args:
        backbone: Any whose head reads the feature maps; its parameters may be frozen.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        relu: Whether negative evidence becomes 0.

    Returns:
        Logits, pairs and (P,h,w) maps. All pairs take one backward pass, through the head alone.

    Raises:
        ValueError: The logits do not depend on the feature maps, or a pair names no image or no class.
    """

    def weigh(stages: list[Evidence]) -> Tensor:
        ((maps, gradients, _),) = stages
        sums = maps.sum(dim=(2, 3))
        weights = torch.where(sums != 0, (gradients * maps).sum(dim=(2, 3)) / sums, 0)
        cams = torch.einsum("pk,pkhw->phw", weights, maps)
        return cams.relu() if relu else cams

    return attribute_by_gradients("xgrad_cam", backbone, images, choose, weigh)

"""Grad-CAM: the feature maps weighted by the mean gradient of a class's logit, whatever the head is."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import Evidence, attribute_by_gradients
from camloc.backbones.contract import Backbone


def grad_cam(backbone: Backbone, images: Tensor, choose: Choose, *, relu: bool = True) -> Attributed:
    r"""Map pairs by gradient-weighted class activation mapping.

    .. math::
        \alpha_k^c = \frac{1}{hw} \sum_{x,y} \frac{\partial y^c}{\partial f_k(x, y)} \qquad
        L^c(x, y) = \mathrm{ReLU}\Big(\sum_k \alpha_k^c f_k(x, y)\Big)

    (Selvaraju et al., ICCV 2017, Eq. 1 and 2), :math:`y^c` being the logit. On a network that ends in global average
    pooling and one linear layer :math:`\alpha_k^c = w_k^c / (hw)`: without the ReLU the map is the CAM divided by hw.

    Args:
        backbone: Any whose head reads the feature maps; its parameters may be frozen.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        relu: Whether negative evidence becomes 0, as in the paper.

    Returns:
        Logits, pairs and (P,h,w) maps. All pairs take one backward pass, through the head alone.

    Raises:
        ValueError: The logits do not depend on the feature maps, or a pair names no image or no class.
    """

    def weigh(stages: list[Evidence]) -> Tensor:
        ((maps, gradients, _),) = stages
        cams = torch.einsum("pk,pkhw->phw", gradients.mean(dim=(2, 3)), maps)
        return cams.relu() if relu else cams

    return attribute_by_gradients("grad_cam", backbone, images, choose, weigh)

"""LayerCAM: every place of the feature maps weighted by its own positive gradient, maps of several stages fused."""

from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import Evidence, attribute_by_gradients
from camloc.backbones.contract import Backbone


def layer_cam(
    backbone: Backbone,
    images: Tensor,
    choose: Choose,
    *,
    stages: Annotated[int, Ge(1)] = 3,
    gamma: Annotated[float, Gt(0)] = 2.0,
) -> Attributed:
    r"""Map pairs by hierarchical class activation mapping.

    .. math::
        M^c(x, y) = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}\Big(\frac{\partial y^c}{\partial f_k(x, y)}\Big)
        f_k(x, y)\Big) \qquad \hat{M}^c = \tanh\Big(\gamma \frac{M^c}{\max M^c}\Big)

    (Jiang et al., TIP 2021, Eq. 6 to 9). Of several stages, the scaled maps are upsampled to the largest and fused by
    their maximum; the map of one stage is not scaled. A stage's maps are the last of their size, before pooling. All
    fused maps are scaled, as torchcam does too.

    Args:
        backbone: Any whose head reads the feature maps; with ``stages`` above 1 one with ``forward_stages``.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        stages: How many are fused, counted from the last.
        gamma: The scale.

    Returns:
        Logits, pairs and (P,h,w) maps, none negative, at the size of the largest fused maps. One forward pass; with
        ``stages=1`` one backward pass through the head, else through the fused stages, as many times as the image
        with the most pairs has pairs.

    Raises:
        ValueError: The logits do not depend on the feature maps, the network has no such stages, or a pair names no
            image or no class.
    """
    weigh = partial(_fused, gamma=gamma)
    return attribute_by_gradients("layer_cam", backbone, images, choose, weigh, range(1, stages + 1))


def _fused(stages: list[Evidence], gamma: float) -> Tensor:
    cams = [(gradients.relu() * maps).sum(dim=1).relu() for maps, gradients, _ in stages]
    if len(cams) == 1:
        return cams[0]
    size = cams[-1].shape[1:]
    fused = cams[-1].new_zeros(cams[-1].shape)
    for cam in cams:
        highest = cam.amax(dim=(1, 2), keepdim=True)
        scaled = torch.tanh(gamma * torch.where(highest > 0, cam / highest, cam))
        fused = torch.maximum(fused, F.interpolate(scaled[:, None], size, mode="bilinear", align_corners=False)[:, 0])
    return fused

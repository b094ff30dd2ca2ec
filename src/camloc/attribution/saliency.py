"""Saliency: how strongly each pixel of the image moves a class's logit."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import with_gradients
from camloc.attribution.pairs import check_pairs, rounds
from camloc.backbones.contract import Backbone


def saliency(backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
    r"""Map pairs by the gradient of the logit in the image.

    .. math:: M_c(x, y) = \max_j \left| \frac{\partial y^c}{\partial I_j(x, y)} \right|

    over the image's channels j (Simonyan et al., arXiv 1312.6034, Sec. 3.1). I is the network's input: where its
    normalization divides channels by different deviations, they weigh as differently in the maximum.

    Args:
        backbone: Any; its parameters may be frozen.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.

    Returns:
        Logits, pairs and (P,H,W) maps at the size of the input, none negative. One forward pass, in full precision;
        as many backward passes as the image with the most pairs has pairs.

    Raises:
        ValueError: A pair names no image or no class.
    """
    with with_gradients(images.device):
        leaf = images.clone().requires_grad_()
        # The clone is what an in-place layer at the start of the network may overwrite.
        logits = backbone.forward_head(backbone.forward_features(leaf.clone()))
        pairs = choose(logits.detach())
        check_pairs(pairs, *logits.shape)
        cams = images.new_empty(len(pairs.classes), *images.shape[2:], dtype=torch.float32)
        for places in rounds(pairs):
            image_index = pairs.image_index[places]
            # In evaluation mode a logit depends on its own image alone, so the sum's gradient is each one's own.
            score = logits[image_index, pairs.classes[places]].sum()
            (gradients,) = torch.autograd.grad(score, leaf, retain_graph=True)
            cams[places] = gradients[image_index].abs().amax(dim=1).float()
    return Attributed(logits.detach(), pairs, cams)

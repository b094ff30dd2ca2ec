"""Grad-CAM: the feature maps weighted by the mean gradient of a class's logit, whatever the head is."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import with_gradients
from camloc.attribution.pairs import check_pairs
from camloc.backbones.contract import Backbone, Features
from camloc.records import Pairs


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
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    if len(pairs.classes) == 0:  # not every head takes an empty batch
        return Attributed(logits, pairs, features.maps.new_zeros(0, *features.maps.shape[2:], dtype=torch.float32))
    with with_gradients(images.device):
        maps, gradients = _maps_and_gradients(backbone, features, pairs)
        cams = torch.einsum("pk,pkhw->phw", gradients.mean(dim=(2, 3)), maps)
    return Attributed(logits, pairs, cams.relu() if relu else cams)


def _maps_and_gradients(backbone: Backbone, features: Features, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The (P,K,h,w) feature maps of each pair's image, and the gradients of the pair's logit in them."""

    def of_pairs(of_images: Tensor) -> Tensor:
        # A copy of its own for each pair keeps the gradients of an image's classes apart.
        copies = of_images.index_select(0, pairs.image_index)
        return copies.float() if copies.is_floating_point() else copies

    maps = of_pairs(features.maps).requires_grad_()
    # The clone is what an in-place ReLU at the start of the head may overwrite.
    logits = backbone.forward_head(Features(maps.clone(), tuple(of_pairs(other) for other in features.others)))
    score = logits.gather(1, pairs.classes.clone()[:, None]).sum()
    (gradients,) = torch.autograd.grad(score, maps, allow_unused=True) if score.requires_grad else (None,)
    if gradients is None:
        raise ValueError(
            f"attribution=grad_cam needs logits that depend on the feature maps; the head of "
            f"{type(backbone).__name__} does not read them. Use attribution=saliency"
        )
    return maps.detach(), gradients

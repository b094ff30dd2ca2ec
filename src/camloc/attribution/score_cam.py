"""Score-CAM: the feature maps weighted by the logit of the image that each lets through; no gradients."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs
from camloc.backbones.contract import Backbone


def score_cam(
    backbone: Backbone,
    images: Tensor,
    choose: Choose,
    *,
    num_maps: Annotated[int, Ge(1)] | None = None,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Attributed:
    r"""Map pairs by score-weighted class activation mapping.

    .. math::
        H_k = \frac{U(f_k) - \min U(f_k)}{\max U(f_k) - \min U(f_k)} \qquad
        \alpha_k^c = \mathrm{softmax}_k \big(y^c(X \circ H_k) - y^c(X_b)\big) \qquad
        L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c f_k\Big)

    (Wang et al., CVPR Workshops 2020, Eq. 5 to 7 and Alg. 1): U upsamples a map to the size of the normalized images
    X; :math:`y^c` is the logit. The baseline :math:`X_b` cancels in the softmax. A constant map lets nothing through.

    Implementations differ. The release weighs by the class's probability, without the softmax over maps; torchcam
    normalizes before it upsamples, and grad-cam upsamples with aligned corners. All agree where maps are as large as
    the images.

    Args:
        backbone: Any.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        num_maps: How many maps of an image are used, those of the highest variance; null for all K, as in the paper.
        batch_size: Masked images that go through the network at once.

    Returns:
        Logits, pairs and (P,h,w) maps. 1 + K forward passes for each image, or 1 + ``num_maps``, whatever its number
        of pairs.

    Raises:
        ValueError: A pair names no image or no class.
    """
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    cams = features.maps.new_empty(len(pairs.classes), *features.maps.shape[2:], dtype=torch.float32)
    for image in sorted(set(pairs.image_index.tolist())):
        places = (pairs.image_index == image).nonzero()[:, 0]
        maps = features.maps[image].float()
        if num_maps is not None and num_maps < len(maps):
            maps = maps[maps.var(dim=(1, 2), correction=0).topk(num_maps).indices]
        scores = [backbone(images[image] * _masks(part, images.shape[2:])) for part in torch.split(maps, batch_size)]
        weights = torch.cat(scores).float()[:, pairs.classes[places]].softmax(dim=0)
        with torch.autocast(images.device.type, enabled=False):
            cams[places] = torch.einsum("kp,khw->phw", weights, maps).relu()
    return Attributed(logits, pairs, cams)


def _masks(maps: Tensor, size: torch.Size) -> Tensor:
    """(K,1,H,W) in [0,1] of (K,h,w) maps."""
    upsampled = F.interpolate(maps[:, None], tuple(size), mode="bilinear", align_corners=False)
    lowest, highest = upsampled.amin(dim=(2, 3), keepdim=True), upsampled.amax(dim=(2, 3), keepdim=True)
    return torch.where(highest > lowest, (upsampled - lowest) / (highest - lowest), 0)

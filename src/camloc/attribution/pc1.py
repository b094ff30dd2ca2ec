"""PC1: what the class's weighted feature maps have in common, their first principal component."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs
from camloc.attribution.principal import first_direction
from camloc.backbones.contract import Backbone


def pc1(backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
    r"""Map pairs by the first principal component of the weighted feature maps.

    Each of the K maps :math:`w_k^c f_k` is scaled to [0, 1]; the map is the first principal component of the K as
    points in the space of the hw places (Yasuki and Taki, "CAM Back Again", CVPR 2024). A component's sign is
    arbitrary: the one is taken in which half of the map's frame, the outermost places, or less lies above the map's
    mean, since objects seldom fill the frame.

    The release counts a frame that is a row and a column too wide at the lower right, and turns :math:`M` into
    :math:`1 - M` where this takes its negative, which is the same once normalized by minimum and maximum. Since maps
    are scaled, only the sign of a weight matters.

    Args:
        backbone: One that ends in global average pooling and one linear layer.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.

    Returns:
        Logits, pairs and (P,h,w) maps. One forward pass, and a singular vector for each pair.

    Raises:
        ValueError: The backbone has no ``class_weights``, or a pair names no image or no class.
    """
    class_weights = backbone.class_weights
    if class_weights is None:
        raise ValueError(
            f"attribution=pc1 needs a network that ends in global average pooling and one linear layer; "
            f"{type(backbone).__name__} has no class_weights. Use attribution=eigen_cam"
        )
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    maps = features.maps.index_select(0, pairs.image_index).double()
    weighted = maps.flatten(2) * class_weights.index_select(0, pairs.classes).double()[..., None]  # (P,K,hw)
    lowest, highest = weighted.amin(dim=2, keepdim=True), weighted.amax(dim=2, keepdim=True)
    scaled = torch.where(highest == lowest, 0, (weighted - lowest) / (highest - lowest))
    component = first_direction(scaled - scaled.mean(dim=1, keepdim=True)).view(-1, *maps.shape[2:])
    above = component > component.mean(dim=(1, 2), keepdim=True)
    frame = torch.ones(maps.shape[2:], dtype=torch.bool, device=maps.device)
    frame[1:-1, 1:-1] = False
    filled = above[:, frame].double().mean(dim=1)[:, None, None] > 0.5  # noqa: PLR2004 - half of it
    return Attributed(logits, pairs, component.where(~filled, -component).float())

"""Class activation mapping: the feature maps weighted by what the linear layer behind them learned."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs, rounds
from camloc.backbones.contract import Backbone
from camloc.records import Pairs


def cam(backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
    """Map pairs by :func:`class_activation_map`, see :class:`camloc.attribution.contract.Attribution`.

    Raises:
        ValueError: The backbone has no ``class_weights``, or a pair names no image or no class.
    """
    class_weights = backbone.class_weights
    if class_weights is None:
        raise ValueError(
            f"attribution=cam needs a network that ends in global average pooling and one linear layer; "
            f"{type(backbone).__name__} has no class_weights. Use attribution=grad_cam, or for a vision "
            "transformer attention_rollout"
        )
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    return Attributed(logits, pairs, class_activation_map(features.maps, class_weights, pairs))


def class_activation_map(feature_maps: Tensor, class_weights: Tensor, pairs: Pairs) -> Tensor:
    r"""Sum the feature maps of each pair's image, weighted by how much they count for its class.

    .. math:: M_c(x, y) = \sum_k w_k^c f_k(x, y)

    (Zhou et al., CVPR 2016, Eq. 2). With global average pooling before one linear layer, the mean of the map
    plus the class's bias is the class's logit.

    Args:
        feature_maps: (B,K,h,w) last convolutional maps.
        class_weights: (C,K) weight of every feature map for every class.
        pairs: P (image, class) pairs.

    Returns:
        (P,h,w) float32, raw and signed.

    Raises:
        ValueError: Shapes do not fit together, or a pair names no image or no class.

    Example:
        >>> feature_maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # one image, two maps of 1 x 2
        >>> class_weights = torch.tensor([[5.0, 0.0], [2.0, -3.0]])
        >>> class_activation_map(feature_maps, class_weights, Pairs.of_target(torch.tensor([1])))
        tensor([[[ 2., -3.]]])
    """
    dimensions = (feature_maps.ndim, class_weights.ndim)
    if dimensions != (4, 2) or feature_maps.shape[1] != class_weights.shape[1]:
        raise ValueError(
            "feature_maps (B,K,h,w) and class_weights (C,K) must share K, "
            f"found {tuple(feature_maps.shape)} and {tuple(class_weights.shape)}"
        )
    check_pairs(pairs, len(feature_maps), len(class_weights))
    # Half precision would leave a map a few hundred levels, and neighbouring thresholds the same box.
    feature_maps = feature_maps.float()
    cams = feature_maps.new_empty(len(pairs.classes), *feature_maps.shape[2:])
    with torch.autocast(feature_maps.device.type, enabled=False):
        # By rounds rather than from maps repeated for each pair: five classes of each image need no copy of its maps,
        # and a pair's map is the same to the bit whatever other pairs are mapped.
        for places in rounds(pairs):
            every_image = len(places) == len(feature_maps)
            maps = feature_maps if every_image else feature_maps.index_select(0, pairs.image_index[places])
            weights = class_weights.index_select(0, pairs.classes[places]).float()
            cams[places] = torch.einsum("bk,bkhw->bhw", weights, maps)
    return cams

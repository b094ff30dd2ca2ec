"""Class activation maps: which places spoke for a class."""

import torch
from torch import Tensor


def class_activation_map(feature_maps: Tensor, class_weights: Tensor, target: Tensor) -> Tensor:
    r"""Weigh the feature maps of every image by how much they count for one class.

    .. math:: M_c(x, y) = \sum_k w_k^c f_k(x, y)

    (Zhou et al., CVPR 2016, Eq. 2). With global average pooling before one linear layer, the mean of the map
    plus the class's bias is the class's logit.

    Args:
        feature_maps: (B,K,h,w) last convolutional maps.
        class_weights: (C,K) weight of every feature map for every class.
        target: (B,) integer class of every image, 0-based.

    Returns:
        (B,h,w) float32, raw and signed.

    Raises:
        ValueError: Shapes do not fit together, or a target is no class.

    Example:
        >>> feature_maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # one image, two maps of 1 x 2
        >>> class_weights = torch.tensor([[5.0, 0.0], [2.0, -3.0]])
        >>> class_activation_map(feature_maps, class_weights, torch.tensor([1]))
        tensor([[[ 2., -3.]]])
    """
    dimensions = (feature_maps.ndim, class_weights.ndim)
    if dimensions != (4, 2) or feature_maps.shape[1] != class_weights.shape[1]:
        raise ValueError(
            "feature_maps (B,K,h,w) and class_weights (C,K) must share K, "
            f"found {tuple(feature_maps.shape)} and {tuple(class_weights.shape)}"
        )
    if target.shape != feature_maps.shape[:1]:
        raise ValueError(
            f"target must give one class for each of {len(feature_maps)} images, found {tuple(target.shape)}"
        )
    num_classes = len(class_weights)
    # Indexing would take a negative class from the end, and for one too large stop the whole process on CUDA.
    outside = target[(target < 0) | (target >= num_classes)]
    if len(outside) > 0:
        raise ValueError(f"target must lie in 0..{num_classes - 1}, found {outside.tolist()}")
    # Half precision would leave a map a few hundred levels, and neighbouring thresholds the same box.
    with torch.autocast(feature_maps.device.type, enabled=False):
        weights = class_weights.index_select(0, target).float()
        return torch.einsum("bk,bkhw->bhw", weights, feature_maps.float())

"""Eigen-CAM: the feature maps projected on their first principal direction; the same map for every class."""

from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs
from camloc.attribution.principal import first_direction
from camloc.backbones.contract import Backbone


def eigen_cam(backbone: Backbone, images: Tensor, choose: Choose, *, centred: bool = False) -> Attributed:
    r"""Map images by the first principal direction of their feature maps, for all pairs alike.

    .. math:: O = U \Sigma V^\top \qquad L = O \, v_1

    (Muhammad and Yeasin, IJCNN 2020, Eq. 3 and 4): O has a row for each place of the maps and a column for each of
    the K maps. The sign of a singular vector is arbitrary; here the map agrees with the mean of the maps, that is,
    their inner product is not negative. The package grad-cam subtracts each map's mean first, and keeps whatever
    sign comes out.

    Args:
        backbone: Any.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        centred: Whether each map's mean is subtracted first.

    Returns:
        Logits, pairs and (P,h,w) maps. One forward pass, and a singular vector for each image.

    Raises:
        ValueError: A pair names no image or no class.
    """
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    rows = features.maps.flatten(2).mT.double()  # (B,hw,K)
    if centred:
        rows = rows - rows.mean(dim=1, keepdim=True)
    projected = (rows @ first_direction(rows)[..., None])[..., 0]
    agrees = (projected * rows.mean(dim=2)).sum(dim=1, keepdim=True) >= 0
    maps = projected.where(agrees, -projected).view(len(rows), *features.maps.shape[2:])
    return Attributed(logits, pairs, maps.float()[pairs.image_index])

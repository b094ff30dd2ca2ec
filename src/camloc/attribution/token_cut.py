"""TokenCut: the object is what a normalized cut of the feature maps separates from the rest, whatever the class."""

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs
from camloc.backbones.contract import Backbone

WEAK_EDGE = 1e-5
"""Weight of an edge between tokens that are not alike: the graph stays connected, as in the paper."""


def token_cut(backbone: Backbone, images: Tensor, choose: Choose, *, tau: float = 0.2) -> Attributed:
    """Map pairs by the :func:`normalized_cut` of their image, a map of 0 and 1 that all classes share.

    A baseline without classes (Wang et al., CVPR 2022). The paper cuts the keys in the last attention layer of a DINO
    transformer; here it is the network's own feature maps, whatever the network, so that rows of one table differ in
    the method alone.

    Args:
        backbone: Any.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        tau: See :func:`normalized_cut`.

    Returns:
        Logits, pairs and (P,h,w) maps. One forward pass, and the eigenvectors of an (hw,hw) matrix for each image.

    Raises:
        ValueError: ``tau`` lies outside its range, or a pair names no image or no class.
    """
    if not -1 <= tau < 1:
        raise ValueError(f"attribution.tau={tau} is a cosine similarity and must lie in [-1, 1)")
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    cams = features.maps.new_zeros(len(pairs.classes), *features.maps.shape[2:], dtype=torch.float32)
    for image in sorted(set(pairs.image_index.tolist())):
        cams[pairs.image_index == image] = normalized_cut(features.maps[image], tau)
    return Attributed(logits, pairs, cams)


def normalized_cut(maps: Tensor, tau: float = 0.2) -> Tensor:
    r"""Return the part of an image that a normalized cut of its tokens separates from the rest.

    .. math::
        E_{ij} = 1 \text{ if } \cos(f_i, f_j) > \tau \text{ else } \epsilon \qquad
        D_{ii} = \sum_j E_{ij} \qquad (D - E) y = \lambda D y

    (Wang et al., CVPR 2022, Sec. 3; Shi & Malik, PAMI 2000), y being the eigenvector of the second smallest
    :math:`\lambda`. Tokens above the mean of y are one part of the image, the others are the other part. The object is
    the part with the largest :math:`|y|`, and of it the 4-connected component with that token.

    Args:
        maps: (K,h,w): a token of K features at each of hw places.
        tau: Cosine similarity above which two tokens are alike, in [-1, 1). The paper's 0.2 is for keys; features after
            a ReLU are never opposed, and want a larger one.

    Returns:
        (h,w) float32 of 0 and 1; zeros where there is no cut: all tokens are alike, or one is not finite.

    Example:
        >>> maps = torch.tensor([[[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        >>> normalized_cut(maps)
        tensor([[0., 0., 0.],
                [0., 1., 0.]])
    """
    height, width = maps.shape[1:]
    # Doubles: the eigenvalues of a cut through few edges differ by little more than WEAK_EDGE.
    tokens = torch.nn.functional.normalize(maps.double().flatten(1).T, dim=1)
    nothing = torch.zeros(height, width, device=maps.device)
    if not tokens.isfinite().all():
        return nothing
    with torch.autocast(maps.device.type, enabled=False):
        alike = tokens @ tokens.T > tau
        if alike.all():
            return nothing
        edges = torch.where(alike, 1.0, WEAK_EDGE).double()
        # With y = D^(-1/2) u the problem is symmetric: D^(-1/2) (D - E) D^(-1/2) u = lambda u.
        scale = edges.sum(dim=1).rsqrt()
        degrees = torch.eye(len(edges), dtype=edges.dtype, device=edges.device)
        _, vectors = torch.linalg.eigh(degrees - scale[:, None] * edges * scale)
    second = (scale * vectors[:, 1]).reshape(height, width)
    seed = int(second.abs().argmax())
    part = second > second.mean()
    return _component(part if part.flatten()[seed] else ~part, seed).float()


def _component(part: Tensor, seed: int) -> Tensor:
    """Return the 4-connected component of an (h,w) bool part that holds a place."""
    found = torch.zeros_like(part)
    found.view(-1)[seed] = True
    while True:
        grown = found.clone()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        grown &= part
        if torch.equal(grown, found):
            return found
        found = grown

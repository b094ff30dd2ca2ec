"""Gradients for attribution methods, wherever they are called from: of logits in the feature maps."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.pairs import check_pairs, rounds
from camloc.backbones.contract import Backbone, Features, Staged
from camloc.records import Pairs


class Evidence(NamedTuple):
    """What the gradient says of P pairs at one stage of the network."""

    maps: Tensor
    """(P,K,h,w) feature maps of each pair's image."""
    gradients: Tensor
    """(P,K,h,w) gradients of the pair's logit in them."""
    scores: Tensor
    """(P,) the logits."""


Weigh = Callable[[list[Evidence]], Tensor]
"""From the evidence of P pairs, stage by stage, to their (P,h,w) maps, each from what is its own. P may be 0."""


@contextmanager
def with_gradients(device: torch.device) -> Iterator[None]:
    """Record gradients in full precision, also where the caller switched them off.

    Lightning evaluates in inference mode. A tensor made there cannot be differentiated: clone it in here. The same
    goes for the half-precision weights that autocast keeps from an earlier pass, hence autocast is off.

    Example:
        >>> with torch.inference_mode():
        ...     images = torch.ones(2)
        ...     with with_gradients(images.device):
        ...         leaf = images.clone().requires_grad_()
        ...         torch.autograd.grad((leaf**2).sum(), leaf)
        (tensor([2., 2.]),)
    """
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def attribute_by_gradients(
    method: str, backbone: Backbone, images: Tensor, choose: Choose, weigh: Weigh, stages: Sequence[int] = (1,)
) -> Attributed:
    """Map pairs by their logits' gradients in the feature maps.

    Args:
        method: Name in error messages.
        backbone: Any whose head reads the feature maps; its parameters may be frozen.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.
        weigh: Makes maps of the evidence of the stages, in their order.
        stages: 1 for the last maps, 2 for the last ones of the next larger size, and so on.

    Returns:
        Logits, pairs and (P,h,w) float32 maps. Of the last maps alone: one forward pass, and one backward pass
        through the head for all pairs. Else: one forward pass in full precision, and as many backward passes, down
        to the largest maps, as the image with the most pairs has pairs.

    Raises:
        ValueError: The logits do not depend on the feature maps, the network has no such stages, or a pair names no
            image or no class.
    """
    if tuple(stages) == (1,):
        return _through_the_head(method, backbone, images, choose, weigh)
    return _through_stages(method, backbone, images, choose, weigh, stages)


def _through_the_head(method: str, backbone: Backbone, images: Tensor, choose: Choose, weigh: Weigh) -> Attributed:
    features = backbone.forward_features(images)
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    if len(pairs.classes) == 0:  # not every head takes an empty batch
        none = features.maps[:0].float()
        return Attributed(logits, pairs, weigh([Evidence(none, none, logits[:0, 0].float())]))

    def of_pairs(of_images: Tensor) -> Tensor:
        # A copy of its own for each pair keeps the gradients of an image's classes apart.
        copies = of_images.index_select(0, pairs.image_index)
        return copies.float() if copies.is_floating_point() else copies

    with with_gradients(images.device):
        maps = of_pairs(features.maps).requires_grad_()
        # The clone is what an in-place ReLU at the start of the head may overwrite.
        of_copies = backbone.forward_head(Features(maps.clone(), tuple(of_pairs(other) for other in features.others)))
        scores = of_copies.gather(1, pairs.classes.clone()[:, None])[:, 0]
        (gradients,) = _gradients(method, backbone, scores, [maps])
        cams = weigh([Evidence(maps.detach(), gradients, scores.detach())])
    return Attributed(logits, pairs, cams)


def _through_stages(
    method: str, backbone: Backbone, images: Tensor, choose: Choose, weigh: Weigh, stages: Sequence[int]
) -> Attributed:
    if not isinstance(backbone, Staged):
        raise ValueError(  # noqa: TRY004 - a wrong value of attribution=
            f"attribution={method} beyond the last feature maps needs a network with forward_stages; "
            f"{type(backbone).__name__} has none. Take the last maps alone: attribution.stages=1 of layer_cam, "
            "attribution.stage=1 of bag_cams"
        )
    with with_gradients(images.device):
        # Leaf and clone: parameters may be frozen, and an in-place layer may start the network or the head.
        every = backbone.forward_stages(images.clone().requires_grad_().clone())
        if max(stages) > len(every):
            raise ValueError(
                f"attribution={method} asks for stage {max(stages)}, counted from the last; "
                f"{type(backbone).__name__} has {len(every)}"
            )
        logits = backbone.forward_head(Features(every[-1].clone()))
        pairs = choose(logits.detach())
        check_pairs(pairs, *logits.shape)
        maps = [every[-stage] for stage in stages]
        cams = _weighed(weigh, maps, maps, logits, pairs, torch.arange(0, device=images.device))
        cams = cams.new_empty(len(pairs.classes), *cams.shape[1:])
        for places in rounds(pairs):
            # In evaluation mode a logit depends on its own image alone, so the sum's gradient is each one's own.
            scores = logits[pairs.image_index[places], pairs.classes[places]]
            gradients = _gradients(method, backbone, scores, maps)
            cams[places] = _weighed(weigh, maps, gradients, logits, pairs, places)
    return Attributed(logits.detach(), pairs, cams)


def _weighed(
    weigh: Weigh, maps: Sequence[Tensor], gradients: Sequence[Tensor], logits: Tensor, pairs: Pairs, places: Tensor
) -> Tensor:
    index = pairs.image_index[places]
    scores = logits.detach()[index, pairs.classes[places]].float()
    evidence = zip(maps, gradients, strict=True)
    return weigh([Evidence(m.detach()[index].float(), g.detach()[index].float(), scores) for m, g in evidence])


def _gradients(method: str, backbone: Backbone, scores: Tensor, maps: list[Tensor]) -> list[Tensor]:
    found = (
        torch.autograd.grad(scores.sum(), maps, retain_graph=True, allow_unused=True)
        if scores.requires_grad
        else [None] * len(maps)
    )
    gradients = [one for one in found if one is not None]
    if len(gradients) < len(maps):
        raise ValueError(
            f"attribution={method} needs logits that depend on the feature maps; the head of "
            f"{type(backbone).__name__} does not read them. Use attribution=saliency, or "
            "attention_rollout for a vision transformer"
        )
    return gradients

"""Attention rollout: how much of each patch reaches the classifier through a transformer's attention."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camloc.attribution.contract import Attributed, Choose
from camloc.attribution.gradients import with_gradients
from camloc.attribution.pairs import check_pairs
from camloc.backbones.contract import Backbone, Features


def attention_rollout(backbone: Backbone, images: Tensor, choose: Choose) -> Attributed:
    r"""Map images by multiplying the attention of all blocks, for all pairs alike.

    .. math::
        A_l = \tfrac{1}{2} \bar{W}_l + \tfrac{1}{2} I \qquad R = A_L A_{L-1} \cdots A_1

    (Abnar and Zuidema, ACL 2020, Sec. 3): :math:`\bar{W}_l` is the attention of block l, the mean over its heads. The
    map is the part of the patches in the rows of R that belong to what the head reads: the class token, or all
    patches where they are averaged; of several, the mean.

    Attention is taken where it is computed, in calls of ``scaled_dot_product_attention``; there are no hooks.

    Args:
        backbone: A vision transformer, each of whose blocks attends to all tokens of the image.
        images: (B,3,H,W) normalized.
        choose: From (B,C) logits to P pairs.

    Returns:
        Logits, pairs and (P,h,w) maps, none negative. One forward pass, its attention without a fused kernel, and a
        backward pass through the head of one image.

    Raises:
        ValueError: The network computes no such attention, or a pair names no image or no class.
    """
    with _Recorded() as recorded:
        features = backbone.forward_features(images)
    grid = features.maps.shape[2:]
    prefix = sum(other.shape[1] for other in features.others)
    num_tokens = prefix + grid.numel()
    if not recorded.attention or any(one.shape[1:] != (num_tokens, num_tokens) for one in recorded.attention):
        found = ", ".join(dict.fromkeys(str(tuple(one.shape[1:])) for one in recorded.attention)) or "none"
        raise ValueError(
            f"attribution=attention_rollout needs attention of all {num_tokens} tokens to each other in every block, "
            f"by scaled_dot_product_attention; found {found} in {type(backbone).__name__}. Use attribution=saliency"
        )
    logits = backbone.forward_head(features)
    pairs = choose(logits)
    check_pairs(pairs, *logits.shape)
    # The rows of R that are asked for alone, from the last block backwards: h w times less work than all of R.
    rows = _read(backbone, features).expand(len(images), 1, -1)
    with torch.autocast(images.device.type, enabled=False):
        for attention in reversed(recorded.attention):
            rows = (rows @ attention + rows) / 2
    return Attributed(logits, pairs, rows[:, 0, prefix:].reshape(-1, *grid)[pairs.image_index])


class _Recorded(TorchFunctionMode):
    """Keeps (B,N,N) attention, the mean over heads, of every scaled dot product attention called within."""

    def __init__(self) -> None:
        super().__init__()
        self.attention: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - torch's signature
        given = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **given)
        return self._attend(*args, **given)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        found: Tensor = F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
        if query.ndim == 4 and not is_causal and query.shape[1] == key.shape[1]:  # noqa: PLR2004 - (B,heads,N,D)
            with torch.autocast(query.device.type, enabled=False):
                products = query.float() @ key.float().mT * (scale or 1 / math.sqrt(query.shape[-1]))
                if attn_mask is not None:
                    products = (
                        products.masked_fill(~attn_mask, -torch.inf)
                        if attn_mask.dtype == torch.bool
                        else products + attn_mask
                    )
                self.attention.append(products.softmax(dim=-1).mean(dim=1))
        return found


def _read(backbone: Backbone, features: Features) -> Tensor:
    """(N,) how much the head reads of each token: equal parts of those that move a logit, 0 of the others."""
    with with_gradients(features.maps.device):
        tokens = [one[:1].clone().float().requires_grad_() for one in (*features.others, features.maps)]
        *others, maps = [one.clone() for one in tokens]
        score = backbone.forward_head(Features(maps, tuple(others)))[0, 0]
        gradients = torch.autograd.grad(score, tokens, materialize_grads=True) if score.requires_grad else tokens[:0]
    moved = [(one != 0).flatten(2).any(dim=2) for one in gradients[:-1]]
    moved += [(one != 0).any(dim=1).flatten(1) for one in gradients[-1:]]
    read = torch.cat(moved, dim=1)[0].float() if moved else features.maps.new_zeros(1)
    if not read.any():
        raise ValueError(
            f"attribution=attention_rollout needs a head that reads tokens; the logits of {type(backbone).__name__} "
            "depend on none. Train it first"
        )
    return read / read.sum()

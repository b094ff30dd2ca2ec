"""Weights of classes, as objectives are given them."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Gt, MinLen
from torch import Tensor

ClassWeights = Literal["balanced"] | Annotated[Sequence[Annotated[float, Gt(0)]], MinLen(1)] | None
"""``balanced``, C positive numbers, or null for no weights."""


def class_weights(
    wanted: str | Sequence[float] | None, num_classes: int, balanced: Callable[[], Tensor]
) -> Tensor | None:
    """Return (C,) weights; null where none are wanted.

    Args:
        wanted: See :data:`ClassWeights`.
        num_classes: C.
        balanced: Makes balanced ones.

    Raises:
        ValueError: If they are none of these.

    Example:
        >>> class_weights([1, 2.5], 2, balanced=lambda: torch.ones(2))
        tensor([1.0000, 2.5000])
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        return balanced()
    if isinstance(wanted, str):
        raise ValueError(  # noqa: TRY004 - the type is right for balanced, the value is not
            f"objective.class_weights must be null, balanced or a list of numbers, found {wanted!r}"
        )
    if len(wanted) != num_classes:
        raise ValueError(
            f"objective.class_weights must list one number for each of the {num_classes} classes, found {len(wanted)}"
        )
    wrong = [w for w in wanted if not (isinstance(w, int | float) and math.isfinite(w) and w > 0)]
    if wrong:
        raise ValueError(f"objective.class_weights must be positive and finite, found {', '.join(map(repr, wrong))}")
    return torch.tensor([float(weight) for weight in wanted])

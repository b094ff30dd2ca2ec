"""Parameter groups and learning-rate schedules by optimizer step; the optimizers are torch's."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(
    model: nn.Module, new_layers: Iterable[nn.Parameter], head_lr_multiplier: float
) -> list[dict[str, Any]]:
    """Split parameters by learning rate and weight decay.

    New layers learn ``head_lr_multiplier`` times faster than the pretrained trunk. Parameters with one dimension, which
    are biases and the scales of norms, get no weight decay.

    Args:
        model: All its parameters that require gradients are grouped.
        new_layers: Those of them that were not pretrained.
        head_lr_multiplier: Factor on the learning rate of the new layers.

    Returns:
        At most four optimizer groups. Each has its ``lr_multiplier``, which :func:`scale_learning_rates` applies; those
        of undecayed parameters have ``weight_decay`` 0.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
        >>> groups = parameter_groups(model, model[1].parameters(), head_lr_multiplier=10.0)
        >>> [(group["lr_multiplier"], group.get("weight_decay"), len(group["params"])) for group in groups]
        [(1.0, None, 1), (1.0, 0.0, 1), (10.0, None, 1), (10.0, 0.0, 1)]
    """
    new = {id(parameter) for parameter in new_layers}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in new, parameter.ndim <= 1), []).append(parameter)
    return [
        {
            "params": groups[is_new, undecayed],
            "lr_multiplier": head_lr_multiplier if is_new else 1.0,
            **({"weight_decay": 0.0} if undecayed else {}),
        }
        for is_new, undecayed in sorted(groups)
    ]


def scale_learning_rates(optimizer: Optimizer) -> None:
    """Multiply each group's learning rate by its ``lr_multiplier``, in place; call it once, before any schedule."""
    for group in optimizer.param_groups:
        group["lr"] *= group["lr_multiplier"]


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: Annotated[float, Ge(0), Lt(1)] = 0.1) -> LambdaLR:
    """Rise linearly to the configured learning rate, then fall to zero along half a cosine.

    Args:
        optimizer: Its learning rates are the peak.
        total_steps: Optimizer steps of the whole training.
        warmup: Share of the steps spent rising, in [0, 1).

    Raises:
        ValueError: ``warmup`` is out of range.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule = warmup_cosine(optimizer, total_steps=10, warmup=0.2)
        >>> [round(schedule.lr_lambdas[0](step), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"scheduler.warmup is a share of the optimizer steps and must lie in [0, 1), found {warmup}")
    rise = math.ceil(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total_steps - rise)))

    return LambdaLR(optimizer, factor)


def step_decay(
    optimizer: Optimizer, total_steps: int, drops: Annotated[int, Ge(0)] = 3, gamma: Annotated[float, Gt(0)] = 0.1
) -> LambdaLR:
    """Multiply the learning rate by ``gamma`` at ``drops`` evenly spaced steps.

    The solver of the paper's release divides it by ten every 40k of 160k iterations: three drops.

    Args:
        optimizer: Its learning rates are those of the first step.
        total_steps: Optimizer steps of the whole training.
        drops: How often the rate falls, at least 0.
        gamma: Factor of each drop.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule = step_decay(optimizer, total_steps=160)
        >>> [round(schedule.lr_lambdas[0](step), 4) for step in (0, 39, 40, 159)]
        [1.0, 1.0, 0.1, 0.001]
    """
    return LambdaLR(optimizer, lambda step: gamma ** min(drops, step * (drops + 1) // max(1, total_steps)))

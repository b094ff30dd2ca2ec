"""The rank of the true class, which decides every top-k number."""

import torch
from torch import Tensor

from camloc.metrics.checks import check_tensor
from camloc.records import NUM_PREDICTIONS

TOP_K = (1, NUM_PREDICTIONS)
"""The k of every top-k number."""


def class_rank(logits: Tensor, target: Tensor) -> Tensor:
    """Count the classes that rank above the true one; a prediction is top-k when its rank is below k.

    Equal logits rank in the order of their class index, as in a stable sort, so a network with the same answer for
    every class is not counted as right everywhere. A row with a NaN has the worst rank, C.

    Args:
        logits: (P,C).
        target: (P,) true classes, 0-based.

    Returns:
        (P,) int64 in [0, C].

    Raises:
        ValueError: If a shape or type does not fit, or a target is not a class.

    Example:
        >>> class_rank(torch.tensor([[0.1, 0.7, 0.2], [1.0, 1.0, 1.0]]), torch.tensor([2, 1]))
        tensor([1, 1])
    """
    check_tensor("logits", logits, "real numbers", "P", "C")
    check_tensor("target", target, "integers", len(logits))
    target = target.to(torch.int64)
    num_classes = logits.shape[1]
    if target.numel() and not (int(target.min()) >= 0 and int(target.max()) < num_classes):
        raise ValueError(f"target must lie in [0, {num_classes}), got {int(target.min())} to {int(target.max())}")
    true_logit = logits.gather(1, target[:, None])
    classes = torch.arange(num_classes, device=logits.device)
    above = (logits > true_logit) | ((logits == true_logit) & (classes < target[:, None]))
    return above.sum(dim=1).masked_fill(logits.isnan().any(dim=1), num_classes)

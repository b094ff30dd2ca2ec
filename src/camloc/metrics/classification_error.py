"""Top-k classification error as a torchmetrics Metric."""

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.metrics.functional.classification import class_rank

TOP_K = (1, 5)


class ClassificationError(Metric):
    r"""Top-1 and top-5 classification error.

    .. math:: error_k = 1 - \frac{1}{N} \sum_i [rank_i < k]

    With fewer than five classes the top-5 error is 0. Counts are int64 and reduced by sum, so they are exact for any
    number of processes as long as the sampler's repeats are passed as ``is_padding``.

    Example:
        >>> metric = ClassificationError()
        >>> metric.update(torch.eye(6), torch.tensor([0, 1, 2, 3, 4, 0]))
        >>> metric.compute()["top1_error"]
        tensor(0.1667, dtype=torch.float64)
    """

    full_state_update = False
    higher_is_better = False
    hits: Tensor
    num_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.zeros(len(TOP_K), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor, is_padding: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            logits: (B,C).
            target: (B,) true classes, 0-based.
            is_padding: (B,) bool, images that must not count; null when all count.
        """
        rank = class_rank(logits, target)
        if is_padding is not None:
            rank = rank[~is_padding]
        self.hits += torch.stack([(rank < k).sum() for k in TOP_K])
        self.num_images += len(rank)

    def compute(self) -> dict[str, Tensor]:
        """Return ``top1_error`` and ``top5_error``, float64 fractions; NaN when nothing was counted."""
        errors = 1 - self.hits.to(torch.float64) / self.num_images
        return {f"top{k}_error": error for k, error in zip(TOP_K, errors, strict=True)}

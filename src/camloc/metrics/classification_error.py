"""Top-k classification error."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from camloc.metrics.checks import checked_keep
from camloc.metrics.contract import Interval, Protocol
from camloc.metrics.functional import bootstrap
from camloc.metrics.functional.classification import TOP_K, class_rank
from camloc.records import Outcome, Row, SplitOutcome


class ClassificationError(Protocol):
    r"""Top-1 and top-5 classification error.

    .. math:: error_k = 1 - \frac{1}{N} \sum_i [rank_i < k]

    With fewer than five classes the top-5 error is 0.

    Args:
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.

    Example:
        >>> metric = ClassificationError()
        >>> metric.update(torch.eye(6), torch.tensor([0, 1, 2, 3, 4, 0])).values["rank"]
        tensor([0, 0, 0, 0, 0, 1])
        >>> metric.compute()["top1_error"]
        tensor(0.1667, dtype=torch.float64)
    """

    section: ClassVar[Literal["classification", "localization"]] = "classification"
    higher_is_better = False
    hits: Tensor
    num_images: Tensor

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(**kwargs)
        self.add_state("hits", torch.zeros(len(TOP_K), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def rows(self) -> Sequence[Row]:
        """Both errors."""
        return [Row(f"top{k}_error", f"top-{k} classification error", "min") for k in TOP_K]

    def update(self, logits: Tensor, target: Tensor, is_padding: Tensor | None = None) -> Outcome:  # type: ignore[override] # torchmetrics returns nothing
        """Count a batch.

        Args:
            logits: (P,C).
            target: (P,) true classes, 0-based.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            ``rank``: (P,) int64, classes that rank above the true one.

        Raises:
            ValueError: If a shape or type does not fit, or a target is not a class.
        """
        rank = class_rank(logits, target)
        keep = checked_keep(is_padding, len(rank))
        if keep is not None:
            rank = rank[keep]
        self.hits += torch.stack([(rank < k).sum() for k in TOP_K]).to(self.hits.device)
        self.num_images += len(rank)
        return Outcome({"rank": rank.cpu()})

    def compute(self) -> dict[str, Tensor]:
        """Return ``top1_error`` and ``top5_error``, float64 fractions; NaN when nothing was counted."""
        errors = 1 - self.hits.to(torch.float64) / self.num_images
        return {f"top{k}_error": error for k, error in zip(TOP_K, errors, strict=True)}

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:  # noqa: ARG002 - no threshold is chosen
        """Return 95% bootstrap intervals of both errors; none without pairs."""
        if not len(outcome.image_ids):
            return {}
        image_ids, rank = np.array(outcome.image_ids, dtype=np.str_), outcome.values["rank"].numpy()
        errors = {f"top{k}_error": bootstrap.interval(bootstrap.Outcome(image_ids, rank < k)) for k in TOP_K}
        return {key: (error.low, error.high) for key, error in errors.items()}

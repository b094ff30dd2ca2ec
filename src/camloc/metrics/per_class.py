"""What protocols share that count each class by itself and report the mean over classes."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from camloc.metrics.contract import Interval, Protocol
from camloc.metrics.functional.resampling import percentiles, resampled_class_means
from camloc.records import Row, SplitOutcome

BY_CLASS = "_by_class"
"""Ends the key of the (C,) numbers of all classes, NaN for a class that was not measured."""

MEAN_OVER_CLASSES = ", mean over classes"
"""Ends the title of a mean over classes."""


class PerClass(Protocol):
    """A protocol with a number for each class, of which the report has a table.

    Beside the numbers of ``rows``, its ``compute`` returns (C,) numbers by class as ``<key>_by_class``, for the keys of
    ``class_rows``. It learns the classes before it counts anything, by :meth:`use_classes`.

    Args:
        class_names: (C,); null where they are given later.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`.
    """

    higher_is_better = True
    class_names: Sequence[str] = ()

    def __init__(self, class_names: Sequence[str] | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(**kwargs)
        if class_names is not None:
            self.use_classes(class_names)

    @property
    def class_rows(self) -> Sequence[Row]:
        """The numbers of each class, in the order of the report's columns."""
        return [row for row in self.rows if row.direction == "max"]

    def use_classes(self, class_names: Sequence[str]) -> None:
        """Learn the (C,) names of the classes."""
        self.class_names = tuple(class_names)

    def num_classes(self) -> int:
        """Return C.

        Raises:
            ValueError: If the classes are not known.
        """
        if not self.class_names:
            raise ValueError(f"{type(self).__name__} needs the names of the classes; give class_names=")
        return len(self.class_names)


class PerClassHits(PerClass):
    """Counts hits and pairs of each class, int64 states reduced by sum; kind k of hits is reported by row k.

    Args:
        num_kinds: K kinds of hits.
        class_names: See :class:`PerClass`.
        kwargs: The same.
    """

    hits: Tensor
    pairs: Tensor

    def __init__(self, num_kinds: int, class_names: Sequence[str] | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        self._num_kinds = num_kinds
        super().__init__(class_names, **kwargs)

    def use_classes(self, class_names: Sequence[str]) -> None:
        """Learn the (C,) names of the classes, and count from zero."""
        super().use_classes(class_names)
        shape = (self._num_kinds, len(self.class_names))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.zeros(shape[1:], dtype=torch.int64), dist_reduce_fx="sum")

    def count(self, hits: Tensor, target: Tensor) -> None:
        """Add (P,K) bool hits of pairs of (P,) classes.

        Raises:
            ValueError: If a class is none.
        """
        num_classes, target = self.num_classes(), target.cpu().to(torch.int64)
        if target.numel() and not (int(target.min()) >= 0 and int(target.max()) < num_classes):
            raise ValueError(f"target must lie in [0, {num_classes}), got {int(target.min())} to {int(target.max())}")
        found = torch.zeros(self._num_kinds, num_classes, dtype=torch.int64)
        found.index_add_(1, target, hits.cpu().to(torch.int64).T)
        self.hits += found.to(self.hits.device)
        self.pairs += torch.bincount(target, minlength=num_classes).to(self.pairs.device)

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:  # noqa: ARG002 - the threshold is taken as fixed
        """Return 95% bootstrap intervals of the means over classes, at the CAM threshold as it is; none without pairs.

        A class of which a resample has no pair is left out of that resample's mean.
        """
        if not len(outcome.image_ids):
            return {}
        hits, classes = outcome.values["hits"].numpy(), outcome.classes.numpy()
        means = resampled_class_means(hits, outcome.image_ids, classes)
        return {row.key: percentiles(column) for row, column in zip(self.rows, means.T, strict=True)}

    def shares(self) -> Tensor:
        """Return the (K,C) float64 shares of hits, NaN for a class without pairs."""
        self.num_classes()
        return self.hits.to(torch.float64) / self.pairs


def mean_of_measured(by_class: Tensor) -> Tensor:
    """Return the mean over the classes that were measured; NaN where none was.

    Example:
        >>> mean_of_measured(torch.tensor([0.5, torch.nan, 1.0]))
        tensor(0.7500)
    """
    return by_class.nanmean()


def safe_keys(class_names: Sequence[str]) -> list[str]:
    """Return names for keys: of letters, digits, dots, dashes and underscores, no two alike.

    Example:
        >>> safe_keys(["red blood cell", "a/b", "a_b", ""])
        ['red_blood_cell', 'a_b', 'a_b_2', 'class_3']
    """
    keys: list[str] = []
    for index, name in enumerate(class_names):
        key = re.sub(r"[^\w.-]+", "_", name) or f"class_{index}"
        while key in keys:
            key += f"_{index}"
        keys.append(key)
    return keys

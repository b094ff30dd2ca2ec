"""Any torchmetrics Metric over logits and true classes, measured like a protocol."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.metrics.checks import check_tensor, checked_keep
from camloc.metrics.contract import Protocol
from camloc.records import Outcome, Row

_DIRECTIONS: dict[bool | None, Literal["min", "max"]] = {True: "max", False: "min"}


class Count(Metric):
    """How many were counted; an exact int64."""

    full_state_update = False
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own
        super().__init__(**kwargs)
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, count: int) -> None:
        """Add a number."""
        self.count += count

    def compute(self) -> Tensor:
        """Return the sum."""
        return self.count


class StockMetric(Protocol):
    """A number of a torchmetrics Metric whose ``update`` takes (N,C) logits and (N,) true classes.

    The metric synchronizes its own states. It has no interval. It has no states of its own either, so that torchmetrics
    never takes the counts of one metric for those of another.

    Args:
        name: Key of the number.
        metric: Computes one number.
        direction: ``min`` for errors, ``max`` for accuracies; null takes it from the metric's ``higher_is_better``.
        kwargs: Those of every :class:`~camloc.metrics.contract.Protocol`, for the count of pairs; ``metric`` has its
            own.

    Raises:
        ValueError: If neither says which direction is better, or an argument is of another type.

    Example:
        >>> from torchmetrics.classification import MulticlassCalibrationError
        >>> metric = StockMetric("calibration_error", MulticlassCalibrationError(num_classes=2))
        >>> _ = metric.update(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))
        >>> round(float(metric.compute()["calibration_error"]), 3), metric.rows[0].direction
        (0.5, 'min')
    """

    section: ClassVar[Literal["classification", "localization"]] = "classification"

    def __init__(
        self,
        name: str,
        metric: Metric,
        direction: Literal["min", "max"] | None = None,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(name, str) or not name:
            raise ValueError(f"name must be the key of the number, got {name!r}")
        if not isinstance(metric, Metric):
            raise ValueError(f"localization.protocols.{name}.metric must be a torchmetrics Metric, got {metric!r}")  # noqa: TRY004 - every wrong argument is a ValueError
        direction = direction or _DIRECTIONS.get(metric.higher_is_better)
        if direction is None:
            raise ValueError(
                f"localization.protocols.{name}: {type(metric).__name__} does not say whether higher is better; write "
                "{_target_: camloc.metrics.stock.StockMetric, name: ..., metric: ..., direction: min or max}"
            )
        if direction not in _DIRECTIONS.values():
            raise ValueError(f"localization.protocols.{name}.direction must be min or max, got {direction!r}")
        self.name, self.metric, self.direction = name, metric, direction
        self.num_images = Count(**kwargs)

    @property
    def rows(self) -> Sequence[Row]:
        """The number, titled by its name."""
        return [Row(self.name, self.name.replace("_", " "), self.direction)]

    def update(self, logits: Tensor, target: Tensor, is_padding: Tensor | None = None) -> Outcome:  # type: ignore[override] # torchmetrics returns nothing
        """Count a batch.

        Args:
            logits: (P,C).
            target: (P,) true classes, 0-based.
            is_padding: (P,) bool, True for repeats that must not count; null when all count.

        Returns:
            No values.

        Raises:
            ValueError: If a shape or type does not fit, or the metric refuses what it is given.
        """
        check_tensor("logits", logits, "real numbers", "P", "C")
        check_tensor("target", target, "integers", len(logits))
        keep = checked_keep(is_padding, len(target))
        if keep is not None:
            logits, target = logits[keep], target[keep]
        if len(target):
            try:
                self.metric.update(logits, target)
            except (ValueError, RuntimeError) as error:
                raise ValueError(
                    f"localization.protocols.{self.name}: {type(self.metric).__name__} refuses (N,{logits.shape[1]}) "
                    f"logits and (N,) targets: {error}"
                ) from error
        self.num_images.update(len(target))
        return Outcome({})

    def forward(self, logits: Tensor, target: Tensor, is_padding: Tensor | None = None) -> dict[str, Tensor]:
        """Count a batch and return the numbers of this batch alone."""
        alone = self.clone()
        alone.reset()
        for metric in alone.modules():
            metric._to_sync = self.dist_sync_on_step  # noqa: SLF001 - as Metric.forward
        alone.update(logits, target, is_padding)
        self.update(logits, target, is_padding)
        numbers: dict[str, Tensor] = alone.compute()
        return numbers

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add what another metric of the same kind has counted.

        Raises:
            ValueError: If it is another metric.
        """
        if not isinstance(incoming_state, StockMetric) or type(incoming_state.metric) is not type(self.metric):
            raise ValueError(f"{self.name} can only be merged with a StockMetric of a {type(self.metric).__name__}")
        self.metric.merge_state(incoming_state.metric)
        self.num_images.merge_state(incoming_state.num_images)
        for metric in (self, self.metric, self.num_images):
            metric._computed = None  # noqa: SLF001 - torchmetrics would go on returning the numbers before

    def compute(self) -> dict[str, Tensor]:
        """Return the number under the metric's name, NaN when nothing was counted, and ``<name>_num_images``.

        Raises:
            ValueError: If the metric computes anything but one number.
        """
        num_images = self.num_images.compute()
        value = torch.tensor(torch.nan, device=num_images.device)
        if num_images > 0:
            value = self.metric.compute()
            if not isinstance(value, Tensor) or value.numel() != 1:
                found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"localization.protocols.{self.name}: {type(self.metric).__name__} computes {found}, not one "
                    "number; give it options that average, such as average=macro"
                )
        return {self.name: value.reshape(()), f"{self.name}_num_images": num_images.clone()}

    def reset(self) -> None:
        """Forget all counts."""
        super().reset()
        self.metric.reset()
        self.num_images.reset()

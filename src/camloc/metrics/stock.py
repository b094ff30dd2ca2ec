"""Any torchmetrics Metric over logits and true classes, measured like a protocol."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.metrics.contract import Protocol
from camloc.records import Outcome, Row

_DIRECTIONS: dict[bool | None, Literal["min", "max"]] = {True: "max", False: "min"}


class StockMetric(Protocol):
    """A number of a torchmetrics Metric whose ``update`` takes (N,C) logits and (N,) true classes.

    The metric synchronizes its own states. It has no interval.

    Args:
        name: Key of the number.
        metric: Computes one number.
        direction: ``min`` for errors, ``max`` for accuracies; null takes it from the metric's ``higher_is_better``.

    Raises:
        ValueError: If neither says which direction is better.

    Example:
        >>> from torchmetrics.classification import MulticlassCalibrationError
        >>> metric = StockMetric("calibration_error", MulticlassCalibrationError(num_classes=2))
        >>> _ = metric.update(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))
        >>> round(float(metric.compute()["calibration_error"]), 3), metric.rows[0].direction
        (0.5, 'min')
    """

    section: ClassVar[Literal["classification", "localization"]] = "classification"
    num_images: Tensor

    def __init__(self, name: str, metric: Metric, direction: Literal["min", "max"] | None = None) -> None:
        super().__init__()
        direction = direction or _DIRECTIONS.get(metric.higher_is_better)
        if direction is None:
            raise ValueError(
                f"localization.protocols.{name}: {type(metric).__name__} does not say whether higher is better; write "
                "{_target_: camloc.metrics.stock.StockMetric, name: ..., metric: ..., direction: min or max}"
            )
        if direction not in _DIRECTIONS.values():
            raise ValueError(f"localization.protocols.{name}.direction must be min or max, got {direction!r}")
        self.name, self.metric, self.direction = name, metric, direction
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

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
        """
        if is_padding is not None:
            logits, target = logits[~is_padding], target[~is_padding]
        if len(target):
            try:
                self.metric.update(logits, target)
            except (ValueError, RuntimeError) as error:
                raise ValueError(
                    f"localization.protocols.{self.name}: {type(self.metric).__name__} refuses (N,{logits.shape[1]}) "
                    f"logits and (N,) targets: {error}"
                ) from error
            self.num_images += len(target)
        return Outcome({})

    def compute(self) -> dict[str, Tensor]:
        """Return the number under the metric's name, NaN when nothing was counted, and ``<name>_num_images``.

        Raises:
            ValueError: If the metric computes anything but one number.
        """
        value = torch.tensor(torch.nan, device=self.num_images.device)
        if self.num_images > 0:
            value = self.metric.compute()
            if not isinstance(value, Tensor) or value.numel() != 1:
                found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"localization.protocols.{self.name}: {type(self.metric).__name__} computes {found}, not one "
                    "number; give it options that average, such as average=macro"
                )
        return {self.name: value.reshape(()), f"{self.name}_num_images": self.num_images.clone()}

    def reset(self) -> None:
        """Forget all counts."""
        super().reset()
        self.metric.reset()

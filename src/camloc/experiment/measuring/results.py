"""What an evaluation hands on: numbers with their sources and intervals, and what became of every pair."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camloc.experiment.measuring.split_protocols import SplitProtocols, SplitResult
from camloc.experiment.measuring.store import Stored
from camloc.metrics.contract import Protocol
from camloc.metrics.per_class import BY_CLASS, MEAN_OVER_CLASSES, PerClass, safe_keys
from camloc.records import PairRecords, SplitOutcome
from camloc.report.class_table import ClassRow, ClassTable
from camloc.report.table import ReportedNumber

Numbers = dict[str, float | int | str]


class Threshold(NamedTuple):
    """A CAM threshold and where it came from."""

    value: float
    source: str
    """``fixed``, ``val``, ``pseudo`` or ``oracle``."""


class MeasuredSplit(NamedTuple):
    """One evaluated split, with names and sources."""

    name: str
    """``val`` or ``test``."""
    protocols: SplitProtocols
    result: SplitResult
    image_ids: Sequence[str]
    """P names, in the split's order."""
    thresholds: Mapping[str, Threshold]
    """By protocol, of those that report at one."""
    has_pseudo_boxes: bool = False
    """Whether its boxes were made without people, which every number of its localization then says."""

    def is_counted(self, protocol: str) -> bool:
        """Tell whether a protocol measured anything."""
        return any(
            self.protocols.key(protocol, row.key) in self.result.numbers
            for row in self.protocols.protocols[protocol].rows
        )

    def numbers(self) -> Numbers:
        """Return the flat keys of ``metrics.json``, every threshold with its source."""
        found: Numbers = {
            f"{self.name}/{key}": value.item() for key, value in self.result.numbers.items() if value.ndim == 0
        }
        for name, protocol in self.protocols.protocols.items():
            if not self.is_counted(name):
                continue
            found |= self._numbers_by_class(name, protocol)
            if protocol.chooses_threshold:
                found[self._key(name, "threshold_source")] = self.named_source(self.thresholds[name].source)
            elif len(protocol.cam_thresholds):
                oracles = (row.key for row in protocol.rows if row.threshold == "oracle")
                found |= {self._key(name, f"{key}_threshold_source"): self.named_source("oracle") for key in oracles}
        return found

    def _numbers_by_class(self, name: str, protocol: Protocol) -> Numbers:
        """Return ``<key>/<class>`` of every class that was measured by itself."""
        found: Numbers = {}
        if not isinstance(protocol, PerClass) or not protocol.class_names:
            return found
        for row in protocol.class_rows:
            by_class = self.result.numbers[self.protocols.key(name, f"{row.key}{BY_CLASS}")].tolist()
            for safe_name, value in zip(safe_keys(protocol.class_names), by_class, strict=True):
                if not math.isnan(value):
                    found[f"{self._key(name, row.key)}/{safe_name}"] = value
        return found

    def class_table(self) -> ClassTable | None:
        """Return the numbers of each class for people; None where no protocol counts classes by themselves."""
        titles: list[str] = []
        columns: list[list[float]] = []
        names: Sequence[str] = ()
        for name, protocol in self.protocols.protocols.items():
            if isinstance(protocol, PerClass) and protocol.class_names and self.is_counted(name):
                names = protocol.class_names
                for row in protocol.class_rows:
                    titles.append(row.title.removesuffix(MEAN_OVER_CLASSES))
                    columns.append(self.result.numbers[self.protocols.key(name, f"{row.key}{BY_CLASS}")].tolist())
        if not columns:
            return None
        pairs = self.result.pairs
        shares = pairs.values.get("object_shares", np.full(len(pairs.classes), np.nan))
        of_all = np.bincount(pairs.classes, minlength=len(names)).tolist()
        with_boxes = np.bincount(pairs.classes[np.isfinite(shares)], minlength=len(names)).tolist()
        values = list(zip(*columns, strict=True))
        return ClassTable(titles, [ClassRow(*row) for row in zip(names, of_all, with_boxes, values, strict=True)])

    def outcome(self, protocol: str) -> SplitOutcome | None:
        """Return what a protocol found of every pair; None where it keeps nothing."""
        stored = self.result.outcomes.get(protocol)
        if stored is None or not stored.values:
            return None
        values = {name: torch.from_numpy(array) for name, array in stored.values.items()}
        of_position = dict(zip(self.result.pairs.positions.tolist(), self.image_ids, strict=True))
        image_ids = [of_position[position] for position in stored.positions.tolist()]
        return SplitOutcome(image_ids, torch.from_numpy(stored.classes), values)

    def intervals(self, val: "MeasuredSplit | None") -> dict[str, tuple[float, float]]:
        """Return 95% intervals by key of ``metrics.json``.

        Args:
            val: Where thresholds were chosen, for those that were.
        """
        found = {}
        for name, protocol in self.protocols.protocols.items():
            outcome = self.outcome(name)
            if outcome is None or not self.is_counted(name):
                continue
            threshold = self.thresholds.get(name)
            is_chosen = threshold is not None and threshold.source in ("val", "pseudo")
            chosen_on = val if is_chosen else None
            on_val = None if chosen_on is None else chosen_on.outcome(name)
            for key, interval in protocol.intervals(outcome, on_val).items():
                found[self._key(name, key)] = interval
        return found

    def rows(self, intervals: Mapping[str, tuple[float, float]]) -> list[ReportedNumber]:
        """Return the numbers that people are shown."""
        shown = []
        for key, (name, row) in self.protocols.rows().items():
            value = self.result.numbers.get(key)
            if value is None or not bool(value.isfinite()):
                continue
            cam_threshold, source = self._threshold(name, row.threshold, row.threshold_key)
            if self.protocols.protocols[name].section == "localization":
                source = self.named_source(source)
            full_key = f"{self.name}/{key}"
            shown.append(
                ReportedNumber(
                    split=self.name,
                    key=full_key,
                    title=row.title,
                    direction=row.direction,
                    value=value.item(),
                    interval=intervals.get(full_key),
                    cam_threshold=cam_threshold,
                    threshold_source=source,
                    protocol=name,
                )
            )
        return shown

    def pairs(self) -> PairRecords:
        """Return what is known of every pair."""
        values: dict[str, Tensor] = {name: torch.from_numpy(array) for name, array in self.result.pairs.values.items()}
        shown = self.protocols.shown
        causes, shares = values.get("causes"), values.get("object_shares")
        has_true_boxes = shares is not None and bool(shares.isfinite().any())
        return PairRecords(
            image_ids=self.image_ids,
            classes=torch.from_numpy(self.result.pairs.classes),
            predicted=values.get("predicted"),
            rank=values.get("rank"),
            boxes=values.get("boxes"),
            iou=None if shown is None else self._iou(shown),
            cam_thresholds=self.protocols.shown_thresholds,
            cam_threshold=self.protocols.shown_threshold,
            causes=causes if has_true_boxes else None,
            object_shares=shares if has_true_boxes else None,
        )

    def _iou(self, protocol: str) -> Tensor | None:
        """Return the (P,T) IoUs of all pairs, NaN for those that a protocol did not count; None where it keeps none."""
        counted, pairs = self.result.outcomes.get(protocol), self.result.pairs
        if counted is None or "iou" not in counted.values:
            return None
        iou = torch.from_numpy(counted.values["iou"]).reshape(len(counted.positions), -1)
        # Both are in the split's order, and so are the counted ones among all.
        is_counted = np.isin(_keys(pairs), _keys(counted))
        of_all = torch.full((len(is_counted), iou.shape[1]), torch.nan, dtype=iou.dtype)
        of_all[torch.from_numpy(is_counted)] = iou
        return of_all

    def _key(self, protocol: str, key: str) -> str:
        return f"{self.name}/{self.protocols.key(protocol, key)}"

    def named_source(self, source: str) -> str:
        """Name a threshold's source; of a split with pseudo boxes it is always these."""
        return "pseudo" if self.has_pseudo_boxes else source

    def _threshold(self, protocol: str, kind: str, threshold_key: str | None) -> tuple[float | None, str]:
        if kind == "reported" and protocol in self.thresholds:
            return self.thresholds[protocol]
        if kind == "oracle":
            value = (
                None if threshold_key is None else self.result.numbers.get(self.protocols.key(protocol, threshold_key))
            )
            return None if value is None else value.item(), "oracle"
        return None, ""


def _keys(stored: Stored) -> NDArray[np.int64]:
    """Return a number of its own for every pair of a split."""
    num_classes = 1 << 32
    return stored.positions * num_classes + stored.classes


def image_ids_of(stored: Stored, image_id: Callable[[int], str]) -> list[str]:
    """Return the name of every stored pair's image."""
    return [image_id(position) for position in stored.positions.tolist()]

"""Why test images were missed, counted from a run's ``predictions.csv``."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch

from camloc.metrics.functional.breakdown import CAUSES, OBJECT_SIZES, by_class, by_object_size
from camloc.report.misses import MissRow, miss_rows


def misses_by_size(predictions: Path) -> list[MissRow]:
    """Count causes per bin of the object's share of its image."""
    rows = _rows(predictions)
    shares = torch.tensor([float(row["object_share"]) for row in rows], dtype=torch.float64)
    return miss_rows(OBJECT_SIZES, CAUSES, by_object_size(_causes(rows), shares).tolist())


def misses_by_class(predictions: Path, class_names: Sequence[str]) -> list[MissRow]:
    """Count causes per true class; classes that share a name are counted together."""
    rows = _rows(predictions)
    names = list(dict.fromkeys(class_names))
    target = torch.tensor([names.index(row["true_class"]) for row in rows])
    return miss_rows(names, CAUSES, by_class(_causes(rows), target, len(names)).tolist())


def _rows(predictions: Path) -> list[dict[str, str]]:
    with predictions.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _causes(rows: Sequence[dict[str, str]]) -> torch.Tensor:
    return torch.tensor([CAUSES.index(row["cause"]) for row in rows])

"""What is measured and how: protocols by name, each under its normalization."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from torchmetrics import Metric

from camloc.localization.contract import BoxRule, UncutBoxRule
from camloc.metrics.contract import Protocol
from camloc.metrics.stock import StockMetric
from camloc.predictors.contract import ScoreMapFunction


class Measures(NamedTuple):
    """What is measured and how, the same on ``val`` and ``test``."""

    protocols: Mapping[str, Metric]
    """By name; a Metric that is no Protocol is one over logits and targets."""
    score_map: ScoreMapFunction
    """Raw CAMs to score maps, where a protocol has none of its own."""
    own_score_maps: Mapping[str, ScoreMapFunction]
    """Of protocols with a normalization of their own, by name."""
    box_rule: BoxRule | UncutBoxRule
    """Score maps to the boxes that localization is measured on."""
    iou_threshold: float
    """Fraction; from it on a box is a hit."""
    from_maps: bool = True
    """Whether boxes are read off maps; else a network predicts them itself, or a file names them."""
    objectless: frozenset[int] = frozenset()
    """Classes without objects, 0-based: they get no box."""


def as_protocol(name: str, metric: Metric) -> Protocol:
    """Return a Protocol as it is, and a stock Metric over logits and targets as one.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(metric, Protocol):
        return metric
    if isinstance(metric, Metric):
        return StockMetric(name, metric)
    raise TypeError(f"localization.protocols.{name} is a {type(metric).__name__}; name a torchmetrics Metric")


def group_by_score_map(
    protocols: Mapping[str, Protocol], measures: Measures
) -> list[tuple[list[str | None], ScoreMapFunction]]:
    """Put protocols of one normalization together; None is what people are shown where no protocol has boxes."""
    groups: dict[Any, tuple[list[str | None], ScoreMapFunction]] = {}
    for name in (*protocols, None):
        score_map = measures.own_score_maps.get(name, measures.score_map) if name is not None else measures.score_map
        groups.setdefault(_identity(score_map), ([], score_map))[0].append(name)
    return list(groups.values())


def _identity(score_map: ScoreMapFunction) -> Any:  # noqa: ANN401 - hashable
    if isinstance(score_map, partial):
        return score_map.func, score_map.args, tuple(sorted(score_map.keywords.items()))
    return score_map

"""Numbers that others have published, with where their CAM thresholds came from: ``published.csv`` beside this file."""

import csv
import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

METRICS: Mapping[str, tuple[str, str]] = {
    "top1_localization": ("test/localization/top1_error", "top-1 localization accuracy"),
    "gt_known": ("test/localization/gt_known_error", "GT-known localization accuracy"),
    "max_box_acc": ("test/localization/max_box_acc", "MaxBoxAcc"),
    "max_box_acc_v2": ("test/localization/max_box_acc_v2", "MaxBoxAccV2"),
    "pxap": ("test/localization/pxap", "PxAP"),
    "corloc": ("test/localization/corloc", "CorLoc"),
}
"""By name in the file: the key of ``metrics.json`` that measures the same, and what people call it."""
NOT_STATED = "not stated"


class Published(NamedTuple):
    """A published number.

    Example:
        >>> number = published_numbers()[0]
        >>> number.data, number.network, number.method, number.metric, number.value
        ('imagenet', 'vgg_gap', 'CAM', 'top1_localization', 42.8)
        >>> number.key, round(number.fraction, 3)
        ('test/localization/top1_error', 0.572)
    """

    data: str
    """As camloc's data sets are named, where it has one."""
    num_images: int | None
    """Of the test split; null where camloc does not read it."""
    network: str
    """As camloc or timm name it; empty where several were used or none is told."""
    method: str
    metric: str
    """One of :data:`METRICS`."""
    value: float
    """As printed: an accuracy, %."""
    threshold_source: str
    """``oracle``; ``not stated``; empty where there is no CAM threshold."""
    source: str

    @property
    def key(self) -> str:
        """Key of ``metrics.json``."""
        return METRICS[self.metric][0]

    @property
    def fraction(self) -> float:
        """The value as ``metrics.json`` has it: of an error what the accuracy leaves."""
        return 1 - self.value / 100 if self.key.endswith("_error") else self.value / 100


@functools.cache
def published_numbers() -> tuple[Published, ...]:
    """Return all of them, in the file's order."""
    text = (files("camloc.report") / "published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            row["data"],
            int(row["num_images"]) if row["num_images"] else None,
            row["network"],
            row["method"],
            row["metric"],
            float(row["value"]),
            row["threshold_source"],
            row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )


HEADINGS = ("data", "network", "method", "metric", "%", "threshold", "source")


def published_cells(number: Published) -> tuple[str, ...]:
    """Return a row of the whole list, as printed by its authors."""
    threshold = number.threshold_source or "none"
    metric = METRICS[number.metric][1]
    return (number.data, number.network, number.method, metric, f"{number.value:g}", threshold, number.source)

"""The results table: flat metrics in fractions become one list of rows, which terminal and page both show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

Metrics = Mapping[str, float | str | None]

# Key below the split, name, and which threshold the number belongs to (see result_rows).
_ROWS = (
    ("classification/top1_error", "top-1 classification error", "none"),
    ("classification/top5_error", "top-5 classification error", "none"),
    ("localization/top1_error", "top-1 localization error", "reported"),
    ("localization/top5_error", "top-5 localization error", "reported"),
    ("localization/gt_known_error", "GT-known localization error", "reported"),
    ("localization/gt_known_error_at_best", "GT-known, best threshold", "best"),
    ("localization/centred_box_gt_known_error", "GT-known, best centred box", "oracle"),
    ("localization/max_box_acc", "MaxBoxAcc (accuracy)", "oracle"),
    ("localization/max_box_acc_v2", "MaxBoxAccV2 (accuracy)", "oracle"),
    ("localization/pxap", "PxAP (accuracy)", "none"),
    ("localization/ilsvrc_top1_classification_error", "ILSVRC top-1 classification error", "none"),
    ("localization/ilsvrc_top5_classification_error", "ILSVRC top-5 classification error", "none"),
    ("localization/ilsvrc_top1_error", "ILSVRC top-1 localization error", "reported"),
    ("localization/ilsvrc_top5_error", "ILSVRC top-5 localization error", "reported"),
)


@dataclass(frozen=True)
class ResultRow:
    """One number of the results, with where its threshold came from.

    Example:
        >>> row = ResultRow("test", "GT-known localization error", 56.4, 0.2, "fixed")
        >>> row.percent_text, row.threshold_text
        ('56.40', '0.2')
    """

    split: str
    """``val`` or ``test``, with the number of images where it is known."""
    name: str
    percent: float
    cam_threshold: float | None
    """Fraction of the score map's maximum; None where no single threshold belongs to the number."""
    threshold_source: str
    """``fixed``, ``val`` or ``oracle`` (best on the split it is reported on); empty without a threshold."""
    interval: tuple[float, float] | None = None
    """95% bootstrap interval of ``percent``; None where none was made."""

    @property
    def percent_text(self) -> str:
        """``percent`` with two decimals."""
        return f"{self.percent:.2f}"

    @property
    def interval_text(self) -> str:
        """``interval`` with one decimal, empty for None."""
        return "" if self.interval is None else f"{self.interval[0]:.1f} to {self.interval[1]:.1f}"

    @property
    def threshold_text(self) -> str:
        """``cam_threshold`` with three digits, empty for None."""
        return "" if self.cam_threshold is None else f"{self.cam_threshold:.3g}"


def result_rows(metrics: Metrics, splits: Sequence[str]) -> list[ResultRow]:
    """Pick the numbers worth reading out of the flat metrics of a run.

    Args:
        metrics: Contents of ``metrics.json``: fractions under ``<split>/localization/gt_known_error`` etc.
        splits: Which splits to show, in this order.

    Returns:
        A row per number that is there; one that is missing or null has no row, it is never shown as zero.

    Raises:
        TypeError: If a number is text.

    Example:
        >>> metrics = {"test/localization/gt_known_error": 0.5, "test/localization/cam_threshold": 0.2}
        >>> metrics |= {"test/localization/threshold_source": "val", "test/localization/num_images": 5794}
        >>> row, = result_rows(metrics, ["val", "test"])
        >>> row.split, row.name, row.percent, row.cam_threshold, row.threshold_source
        ('test, 5,794 images', 'GT-known localization error', 50.0, 0.2, 'val')
    """
    rows = []
    for split in splits:
        num_images = _number(metrics, f"{split}/localization/num_images")
        label = split if num_images is None else f"{split}, {num_images:,.0f} images"
        reported_source = str(metrics.get(f"{split}/localization/threshold_source") or "")
        thresholds = {
            "none": (None, ""),
            "reported": (_number(metrics, f"{split}/localization/cam_threshold"), reported_source),
            "best": (_number(metrics, f"{split}/localization/best_cam_threshold"), "oracle"),
            "oracle": (None, "oracle"),
        }
        for key, name, threshold in _ROWS:
            value = _number(metrics, f"{split}/{key}")
            if value is not None:
                low, high = _number(metrics, f"{split}/{key}_low"), _number(metrics, f"{split}/{key}_high")
                interval = None if low is None or high is None else (100 * low, 100 * high)
                rows.append(ResultRow(label, name, 100 * value, *thresholds[threshold], interval))
    return rows


def results_table(metrics: Metrics, splits: Sequence[str]) -> Table:
    """Lay out :func:`result_rows`, which has the same arguments, for a terminal.

    Returns:
        A table to print with ``rich.console.Console``; each split's rows stand under its name.

    Example:
        >>> results_table({"val/classification/top1_error": 0.35, "val/loss": 2.1}, ["val"]).row_count
        2
    """
    table = Table(box=SIMPLE_HEAD)
    table.add_column("metric")
    table.add_column("%", justify="right")
    table.add_column("95% interval", justify="right")
    table.add_column("CAM threshold", justify="right")
    table.add_column("source")
    for split, rows in groupby(result_rows(metrics, splits), key=lambda row: row.split):
        table.add_section()
        table.add_row(Text(split, style="bold"))
        for row in rows:
            source = Text(row.threshold_source)
            table.add_row(row.name, row.percent_text, row.interval_text, row.threshold_text, source)
    return table


def _number(metrics: Metrics, key: str) -> float | None:
    value = metrics.get(key)
    if isinstance(value, str):
        raise TypeError(f"{key} must be a number (a fraction), got {value!r}")
    return value

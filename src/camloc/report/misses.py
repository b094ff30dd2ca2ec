"""Why images were missed: counts of the causes as one list of rows, which terminal and page both show."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from torch import Tensor

from camloc.metrics.functional.breakdown import CAUSES, OBJECT_SIZES, by_class, by_object_size


@dataclass(frozen=True)
class MissRow:
    """The causes of misses in a group of images; the first cause is a hit.

    Example:
        >>> row = MissRow("under 10%", ("hit", "no box"), (1, 3))
        >>> row.num_images, row.percent_texts
        (4, ('25.0', '75.0'))
    """

    group: str
    """A class, or a bin of object sizes."""
    causes: tuple[str, ...]
    counts: tuple[int, ...]
    """Number of images with each cause."""

    @property
    def num_images(self) -> int:
        """Number of images in the group."""
        return sum(self.counts)

    @property
    def percents(self) -> tuple[float, ...]:
        """Share of each cause in the group; zeros for a group without images."""
        return tuple(100 * count / max(self.num_images, 1) for count in self.counts)

    @property
    def percent_texts(self) -> tuple[str, ...]:
        """``percents`` with one decimal; empty for a cause that no image has."""
        return tuple(f"{percent:.1f}" if percent else "" for percent in self.percents)


def misses_by_size(causes: Tensor, object_shares: Tensor) -> list[MissRow]:
    """Count causes per bin of the object's share of its image.

    Args:
        causes: (N,) from :func:`camloc.metrics.functional.breakdown.miss_causes`.
        object_shares: (N,) from :func:`camloc.metrics.functional.breakdown.object_share`.

    Returns:
        One row per bin, the smallest objects first.

    Example:
        >>> import torch
        >>> row = misses_by_size(torch.tensor([0, 2, 2]), torch.tensor([0.05, 0.05, 0.6]))[0]
        >>> row.group, dict(zip(row.causes, row.counts))["no box"]
        ('under 10%', 1)
    """
    return _rows(OBJECT_SIZES, by_object_size(causes, object_shares))


def misses_by_class(causes: Tensor, target: Tensor, class_names: Sequence[str]) -> list[MissRow]:
    """Count causes per true class; classes with the same name are counted together.

    Args:
        causes: (N,) from :func:`camloc.metrics.functional.breakdown.miss_causes`.
        target: (N,) int64 true classes, 0-based.
        class_names: C names.

    Returns:
        One row per name, in the order of the classes.

    Raises:
        ValueError: If a target is not in [0, C).

    Example:
        >>> import torch
        >>> rows = misses_by_class(torch.tensor([0, 0, 2]), torch.tensor([0, 2, 1]), ["crane", "dog", "crane"])
        >>> [(row.group, row.num_images) for row in rows]
        [('crane', 2), ('dog', 1)]
    """
    counts: dict[str, Tensor] = {}
    for name, of_class in zip(class_names, by_class(causes, target, len(class_names)), strict=True):
        counts[name] = counts.get(name, 0) + of_class
    return _rows(list(counts), list(counts.values()))


def worst_first(rows: Sequence[MissRow], limit: int = 20) -> list[MissRow]:
    """Select the groups with the largest share of misses, as data sets may have hundreds of classes.

    Args:
        rows: Any; those without images are left out.
        limit: The maximum number of groups.

    Returns:
        Rows by ascending share of hits; equal ones keep their order.

    Example:
        >>> rows = [MissRow(name, ("hit", "no box"), counts) for name, counts in [("cat", (3, 0)), ("dog", (1, 1))]]
        >>> [row.group for row in worst_first(rows)]
        ['dog', 'cat']
    """
    return sorted((row for row in rows if row.num_images), key=lambda row: row.percents[0])[:limit]


def misses_table(title: str, rows: Sequence[MissRow]) -> Table:
    """Lay out rows for a terminal, in percent of each row's images.

    Args:
        title: What the groups are, such as ``object size``.
        rows: With the same causes.

    Returns:
        A table to print with ``rich.console.Console``.

    Example:
        >>> misses_table("class", [MissRow("cat", ("hit", "no box"), (3, 0))]).row_count
        1
    """
    # Narrow columns, with a line per word in the header, so that seven causes fit a terminal of 80 columns.
    table = Table(title=Text(f"misses by {title}, % of its images"), box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    for cause in rows[0].causes if rows else ():
        table.add_column(Text(cause), justify="right", width=max(map(len, ["100.0", *cause.split()])))
    for row in rows:
        table.add_row(Text(row.group), f"{row.num_images:,}", *row.percent_texts)
    return table


def _rows(groups: Sequence[str], counts: Sequence[Tensor] | Tensor) -> list[MissRow]:
    return [MissRow(group, CAUSES, tuple(row.tolist())) for group, row in zip(groups, counts, strict=True)]

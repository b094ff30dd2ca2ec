"""Causes of misses as one list of rows, which terminal and page both show."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class MissRow:
    """What became of a group of images; the first cause is the hit.

    Example:
        >>> row = MissRow("under 10%", ("hit", "no box"), (1, 3))
        >>> row.num_images, row.percent_texts
        (4, ('25.0', '75.0'))
    """

    group: str
    """A class, or a bin of object sizes."""
    causes: tuple[str, ...]
    counts: tuple[int, ...]
    """Images, by cause."""

    @property
    def num_images(self) -> int:
        """Images in the group."""
        return sum(self.counts)

    @property
    def percents(self) -> tuple[float, ...]:
        """Share of each cause in the group; zeros for a group without images."""
        return tuple(100 * count / max(self.num_images, 1) for count in self.counts)

    @property
    def percent_texts(self) -> tuple[str, ...]:
        """``percents`` with one decimal, empty where no image has the cause."""
        return tuple(f"{percent:.1f}" if percent else "" for percent in self.percents)


def miss_rows(groups: Sequence[str], causes: Sequence[str], counts: Sequence[Sequence[int]]) -> list[MissRow]:
    """Name the rows and columns of a table of counts.

    Args:
        groups: G names, such as classes or bins of object sizes.
        causes: K names, the first that of the hit.
        counts: (G,K) images.

    Returns:
        G rows in the same order.

    Raises:
        ValueError: If the lengths do not fit.

    Example:
        >>> [row.group for row in miss_rows(["cat", "dog"], ["hit", "no box"], [[3, 0], [1, 1]])]
        ['cat', 'dog']
    """
    if len(groups) != len(counts) or any(len(row) != len(causes) for row in counts):
        raise ValueError(
            f"{len(groups)} groups and {len(causes)} causes want as many rows and columns of counts, "
            f"got rows of {[len(row) for row in counts]}"
        )
    return [MissRow(group, tuple(causes), tuple(row)) for group, row in zip(groups, counts, strict=True)]


def worst_first(rows: Sequence[MissRow], limit: int = 20) -> list[MissRow]:
    """Pick the groups with the largest share of misses, for tables of hundreds of classes.

    Args:
        rows: Any; those without images are left out.
        limit: How many to keep at most.

    Returns:
        Rows, those with fewer hits first; equal ones in their former order.

    Example:
        >>> rows = miss_rows(["cat", "dog", "cow"], ["hit", "no box"], [[3, 0], [1, 1], [0, 0]])
        >>> [row.group for row in worst_first(rows)]
        ['dog', 'cat']
    """
    return sorted((row for row in rows if row.num_images), key=lambda row: row.percents[0])[:limit]


def misses_table(title: str, rows: Sequence[MissRow]) -> Table:
    """Lay out rows for a terminal, percent of each row's images.

    Args:
        title: What the groups are, such as ``object size``.
        rows: With the same causes.

    Returns:
        A table to print with ``rich.console.Console``.

    Example:
        >>> misses_table("class", miss_rows(["cat"], ["hit", "no box"], [[3, 0]])).row_count
        1
    """
    # Close columns, and headings broken between words, so that seven causes fit a terminal of 80.
    table = Table(title=Text(f"misses by {title}, % of its images"), box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    for cause in rows[0].causes if rows else ():
        table.add_column(Text(cause), justify="right", width=max(map(len, ["100.0", *cause.split()])))
    for row in rows:
        table.add_row(Text(row.group), f"{row.num_images:,}", *row.percent_texts)
    return table

"""Numbers of each class by itself."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class ClassRow(NamedTuple):
    """A class.

    Example:
        >>> ClassRow("cat", 12, 0, (0.5, math.nan)).texts
        ['12', '0', '50.0', '']
    """

    name: str
    num_images: int
    """That show it."""
    num_localized: int
    """Of these, with true boxes."""
    values: Sequence[float]
    """Fractions, NaN for what was not measured."""

    @property
    def texts(self) -> list[str]:
        """Counts, then percent with one decimal; empty for NaN."""
        percents = ["" if math.isnan(value) else f"{100 * value:.1f}" for value in self.values]
        return [f"{self.num_images:,}", f"{self.num_localized:,}", *percents]


class ClassTable(NamedTuple):
    """A row for each class."""

    titles: Sequence[str]
    """Of the values; higher is better."""
    rows: Sequence[ClassRow]

"""The results table: what protocols report becomes one list of records, which terminal and page both show."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

THRESHOLD_SOURCES = ("fixed", "val", "pseudo", "oracle", "")
"""Given beforehand; chosen on val; chosen without true boxes; best on the reported split itself; no threshold."""


TRAINED_WITH_BOXES = "trained with boxes"
"""What every table says of a network whose training saw true boxes."""


@dataclass(frozen=True)
class ReportedNumber:
    """A number that a protocol reports on a split, and where its CAM threshold came from.

    Raises:
        ValueError: If the threshold source is unknown.

    Example:
        >>> number = ReportedNumber(
        ...     split="test",
        ...     key="test/localization/gt_known_error",
        ...     title="GT-known localization error",
        ...     direction="min",
        ...     value=0.564,
        ...     interval=(0.559, 0.571),
        ...     cam_threshold=0.2,
        ...     threshold_source="fixed",
        ...     protocol="paper",
        ... )
        >>> number.percent_text, number.interval_text, number.threshold_text
        ('56.40', '55.9 to 57.1', '0.2')
    """

    split: str
    """``val`` or ``test``."""
    key: str
    """Its key in ``metrics.json``."""
    title: str
    """Its name for people, such as ``GT-known localization error``."""
    direction: Literal["min", "max"]
    """``min`` for errors, ``max`` where higher is better."""
    value: float
    """Fraction."""
    interval: tuple[float, float] | None
    """95% bootstrap interval of ``value``, fractions; None if there is none."""
    cam_threshold: float | None
    """Fraction of the score map's maximum; None if the number has no single threshold."""
    threshold_source: str
    """One of ``THRESHOLD_SOURCES``."""
    protocol: str
    """Name of the protocol, shown where several protocols report numbers of the same title."""
    has_note: bool = False
    """Whether a note says what to make of it, to which its line refers."""
    supervision: str = ""
    """``trained with boxes`` where the network's training saw true boxes; empty where it saw image labels alone."""

    def __post_init__(self) -> None:
        if self.threshold_source not in THRESHOLD_SOURCES:
            raise ValueError(
                f"{self.key}: the threshold source must be one of {THRESHOLD_SOURCES}, got {self.threshold_source!r}"
            )

    @property
    def percent_text(self) -> str:
        """``value`` in percent with two decimals."""
        return f"{100 * self.value:.2f}"

    @property
    def interval_text(self) -> str:
        """``interval`` in percent with one decimal; empty for None."""
        return "" if self.interval is None else f"{100 * self.interval[0]:.1f} to {100 * self.interval[1]:.1f}"

    @property
    def threshold_text(self) -> str:
        """``cam_threshold`` with three digits; empty for None."""
        return "" if self.cam_threshold is None else f"{self.cam_threshold:.3g}"


class SplitSize(NamedTuple):
    """How much of a split was measured.

    Example:
        >>> SplitSize(5794, 5794).text, SplitSize(64, 5794).text
        ('5,794 images', '64 of 5,794 images')
        >>> SplitSize(64, 64, num_pairs=90, num_localized=50).text
        '64 images, 90 pairs of an image and a class, 50 of them with true boxes'
    """

    num_images: int
    """That were measured."""
    in_split: int
    """That there are."""
    num_pairs: int | None = None
    """Pairs of an image and a class it shows; None where each image is one."""
    num_localized: int | None = None
    """Pairs or images with a true box, on which localization is measured; None where all have one, or none has."""

    @property
    def is_part(self) -> bool:
        """Whether some were not measured."""
        return self.num_images < self.in_split

    @property
    def text(self) -> str:
        """The numbers where they differ."""
        part = f"{self.num_images:,} of " if self.is_part else ""
        pairs = "" if self.num_pairs is None else f", {self.num_pairs:,} pairs of an image and a class"
        boxed = "" if self.num_localized is None else f", {self.num_localized:,} of them with true boxes"
        return f"{part}{self.in_split:,} images{pairs}{boxed}"


class NamedNumber(NamedTuple):
    """A line of the table."""

    name: str
    """Unique within its split: the title, the protocol where titles repeat, the direction where higher is better."""
    number: ReportedNumber


class SplitResults(NamedTuple):
    """The lines of a split."""

    heading: str
    """The split with its number of images, and whether the network was trained with boxes."""
    lines: list[NamedNumber]


def split_results(numbers: Sequence[ReportedNumber], num_images: Mapping[str, SplitSize]) -> list[SplitResults]:
    """Group reported numbers by split and name each of them.

    Args:
        numbers: In the order in which they are shown.
        num_images: Number of images of each split; a split that is missing here has no number in its heading.

    Returns:
        One group per run of numbers of the same split, in the same order.

    Example:
        >>> number = ReportedNumber("test", "test/localization/pxap", "PxAP", "max", 0.6, None, None, "", "pxap")
        >>> (heading, ((name, _),)), = split_results([number], {"test": SplitSize(5794, 5794)})
        >>> heading, name
        ('test, 5,794 images', 'PxAP, higher is better')
    """
    protocols = defaultdict(set)
    for number in numbers:
        protocols[number.title].add(number.protocol)
    groups = []
    for split, group in groupby(numbers, key=lambda number: number.split):
        heading = f"{split}, {num_images[split].text}" if split in num_images else split
        shown = list(group)
        heading += "".join(f", {words}" for words in dict.fromkeys(number.supervision for number in shown) if words)
        lines = []
        for number in shown:
            name = number.title if len(protocols[number.title]) == 1 else f"{number.title} ({number.protocol})"
            name += "" if number.direction == "min" else ", higher is better"
            lines.append(NamedNumber(f"{name} (see notes)" if number.has_note else name, number))
        groups.append(SplitResults(heading, lines))
    return groups


def results_table(numbers: Sequence[ReportedNumber], num_images: Mapping[str, SplitSize]) -> Table:
    """Lay out reported numbers for a terminal, each split under its heading.

    Args:
        numbers: As in :func:`split_results`.
        num_images: Likewise.

    Returns:
        A table to print with ``rich.console.Console``; at 80 columns only names are broken.

    Example:
        >>> number = ReportedNumber("test", "test/localization/pxap", "PxAP", "max", 0.6, None, None, "", "pxap")
        >>> results_table([number], {"test": SplitSize(64, 5794)}).row_count
        2
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric")
    for name in ("%", "95% interval", "CAM threshold"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True)
    for heading, lines in split_results(numbers, num_images):
        table.add_section()
        table.add_row(Text(heading, style="bold"))
        for name, number in lines:
            texts = (number.percent_text, number.interval_text, number.threshold_text, number.threshold_source)
            # Not markup: brackets in a name would be read as styles.
            table.add_row(Text(name), *texts)
    return table

"""Tables 1 to 3 of Zhou et al., CVPR 2016, with a run's numbers next to the paper's: for a terminal and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from camloc.report.markdown import plain
from camloc.report.markdown import table as markdown_table
from camloc.report.table import TRAINED_WITH_BOXES

Measure = Literal["top1", "top5"]
Verdict = Literal["reproduced", "differs", "other protocol", "not measured", "not run"]

TITLES = {
    1: "Table 1: classification error on the ILSVRC validation images",
    2: "Table 2: localization error on the ILSVRC validation images",
    3: "Table 3: top-5 localization error on the ILSVRC test images",
}
EXPLANATION = (
    "Errors in %, lower is better; 95% intervals are bootstrapped over the images. reproduced: measured as the paper's "
    "and within the recipe's tolerance of its number. differs: measured as the paper's, and farther away. other "
    "protocol: measured otherwise, as is said of the run; the two numbers cannot be compared. not measured: the run "
    "has no such number."
)
_SHOWN_DEVIATIONS = 4
"""On a line of the terminal; the page has them all."""


@dataclass(frozen=True)
class PaperLine:
    """A number of the paper, and a run's.

    Example:
        >>> line = PaperLine(2, "GoogLeNet-GAP", False, "top1", 56.4, 1, 57.0, (56.6, 57.4), "reproduced")
        >>> line.cells
        ('GoogLeNet-GAP', 'top-1', '56.40', '57.00', '56.6 to 57.4', 'reproduced', '1')
    """

    table: int
    name: str
    """Of the row, as the table has it."""
    boxes: bool
    """Whether the paper's network or ours was trained with boxes."""
    measure: Measure
    paper: float
    """Error, %."""
    run: int | None = None
    """Number of the run in the list of runs, from 1 on; None where there is none."""
    ours: float | None = None
    """Error, %."""
    interval: tuple[float, float] | None = None
    """95% interval of ``ours``, %."""
    verdict: Verdict = "not run"

    @property
    def cells(self) -> tuple[str, ...]:
        """Row, measure, the paper's number, ours, its interval, what to make of it, and which run it is."""
        return (
            f"{self.name}, {TRAINED_WITH_BOXES}" if self.boxes else self.name,
            {"top1": "top-1", "top5": "top-5"}[self.measure],
            f"{self.paper:.2f}" if self.table == 2 else f"{self.paper:.1f}",  # noqa: PLR2004 - as the paper prints them
            "" if self.ours is None else f"{self.ours:.2f}",
            "" if self.interval is None else f"{self.interval[0]:.1f} to {self.interval[1]:.1f}",
            self.verdict,
            "" if self.run is None else str(self.run),
        )


@dataclass(frozen=True)
class ListedRun:
    """A run that is in the tables, with what must be known of its numbers."""

    path: Path
    recipe: str
    tolerance: float
    """Percentage points."""
    deviations: Sequence[str]
    """In what it was measured otherwise than the paper."""
    changes: Sequence[str]
    """In what it was trained otherwise than its recipe."""
    baseline: str = ""
    """What the best box without a network scores on its images."""
    tiles: Sequence[Path] = field(default=())
    """Gallery tiles of its report."""

    def remarks(self, at_most: int | None = None) -> list[str]:
        """Return sentences on the run.

        Args:
            at_most: How many deviations and changes are named; null for all.
        """
        found = [f"compared with experiment=paper/{self.recipe}, tolerance {self.tolerance:.1f} points"]
        if self.deviations:
            found.append(f"other protocol: {_listed(self.deviations, at_most)}")
        if self.changes:
            found.append(f"trained otherwise: {_listed(self.changes, at_most)}")
        return [*found, self.baseline] if self.baseline else found


HEADINGS = ("row", "error", "paper", "ours", "95% interval", "", "run")
NUMBERS = ("paper", "ours", "95% interval", "run")
"""Those of columns that are aligned to the right."""


def terminal_table(table: int, lines: Sequence[PaperLine]) -> Table:
    """Lay out one of the tables for a terminal; at 80 columns only names are broken.

    Example:
        >>> terminal_table(3, [PaperLine(3, "GoogLeNet", True, "top5", 26.7)]).row_count
        1
    """
    shown = Table(title=TITLES[table], box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    shown.add_column(HEADINGS[0])
    for heading in HEADINGS[1:]:
        shown.add_column(heading, justify="right" if heading in NUMBERS else "left", no_wrap=True)
    for line in lines:
        # Not markup: brackets in a name would be read as styles.
        shown.add_row(*map(Text, line.cells), style="bold" if line.verdict == "reproduced" else None)
    return shown


def run_list(runs: Sequence[ListedRun]) -> list[str]:
    """Return a line for each run, with its number in the tables."""
    return [
        f"{number}: {run.path}; {'; '.join(run.remarks(_SHOWN_DEVIATIONS))}" for number, run in enumerate(runs, start=1)
    ]


def markdown(lines: Sequence[PaperLine], runs: Sequence[ListedRun], left_out: Sequence[str]) -> str:
    r"""Return the tables, the runs and what was left out as Markdown; names are shown as they are.

    Example:
        >>> print(markdown([PaperLine(3, "a|b", False, "top5", 26.7)], [], []).splitlines()[4])
        | a\|b | top-5 | 26.7 |  |  | not run |  |
    """
    parts = []
    for table, title in TITLES.items():
        of_table = [line for line in lines if line.table == table]
        if of_table:
            parts.append(f"## {title}\n\n{markdown_table(HEADINGS, [line.cells for line in of_table], NUMBERS)}")
    if runs:
        parts.append("\n".join(["## Runs\n", *(f"{n}. {plain(text)}" for n, text in _numbered(runs))]))
    if left_out:
        parts.append("\n".join(["## Left out\n", *(f"- {plain(text)}" for text in left_out)]))
    return "\n\n".join([*parts, EXPLANATION]) + "\n"


def _numbered(runs: Sequence[ListedRun]) -> list[tuple[int, str]]:
    return [(number, f"{run.path}; {'; '.join(run.remarks())}") for number, run in enumerate(runs, start=1)]


def _listed(texts: Sequence[str], at_most: int | None) -> str:
    shown = texts[:at_most]
    more = len(texts) - len(shown)
    return f"{', '.join(shown)}{f' and {more} more' if more else ''}"

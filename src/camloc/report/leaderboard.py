"""Methods and networks side by side, with where each CAM threshold came from: for a terminal and as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from camloc.metrics.functional.bootstrap import Interval
from camloc.report.markdown import plain
from camloc.report.markdown import table as markdown_table
from camloc.report.published import NOT_STATED, Published, published_numbers

SOURCES = ("", "val", "pseudo", "fixed", "oracle", NOT_STATED)
"""Of a number's CAM threshold, in the order of columns; empty where it has none."""
MAIN_SOURCES = ("val", "pseudo", "fixed", "", "oracle", NOT_STATED)
"""The same, from the one that a number is best quoted at."""
MIN_TEXT_WIDTH = 14
"""Characters that names keep where a terminal is narrow."""
EXPLANATION = (
    "Numbers in %, each with its 95% interval. Columns say where the CAM threshold came from: val, chosen on true "
    "boxes of val; pseudo, on boxes made without people; fixed beforehand; oracle, the best on the reported images "
    "themselves; no threshold, for what has none. vs cam: difference to plain CAM on the same network in percentage "
    "points, paired over the images, * where its 95% interval excludes zero; intervals do not include the variation "
    "between trainings. Published numbers were measured by others, partly otherwise."
)


class Score(NamedTuple):
    """A number with its 95% interval, fractions."""

    value: float
    interval: tuple[float, float] | None = None


class Metric(NamedTuple):
    """What is compared."""

    key: str
    """Of ``metrics.json``."""
    title: str
    direction: Literal["min", "max"]

    @property
    def heading(self) -> str:
        """The title, with the direction where higher is better."""
        return self.title if self.direction == "min" else f"{self.title}, higher is better"


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Example:
        >>> Cost(trained_parameters=2_000_000, images=6000, seconds=120, training_seconds=100).cells
        ('60', '2.00 M', '2.0')
    """

    trained_parameters: int
    images: int
    """That were trained on, each as often as it was."""
    seconds: float
    """With ``val``."""
    training_seconds: float
    """Without it."""

    @property
    def images_per_second(self) -> float:
        """Of training."""
        return self.images / self.training_seconds if self.training_seconds > 0 else 0.0

    @property
    def cells(self) -> tuple[str, str, str]:
        """Images per second, trained parameters, minutes."""
        return f"{self.images_per_second:.0f}", f"{self.trained_parameters / 1e6:.2f} M", f"{self.seconds / 60:.1f}"


NO_COST = ("", "", "")


@dataclass(frozen=True)
class BoardRow:
    """A method on a network.

    Example:
        >>> row = BoardRow("alexnet_gap", "cam", {"test/x": {"val": Score(0.25, (0.2, 0.3))}}, runs=[1])
        >>> row.main("test/x")
        ('val', Score(value=0.25, interval=(0.2, 0.3)))
    """

    network: str
    """Empty for a baseline without one."""
    method: str
    scores: Mapping[str, Mapping[str, Score]]
    """By key of ``metrics.json``, by source of the threshold."""
    runs: Sequence[int] = ()
    """Their numbers in the list of runs; none for a published row."""
    differences: Mapping[str, Interval] = field(default_factory=dict)
    """To plain CAM on the same network by key, fractions."""
    compared_at: str = ""
    """Source of the thresholds of both."""
    cost: Cost | None = None

    def main(self, key: str) -> tuple[str, Score] | None:
        """Return the number that is best quoted, with its source; null where there is none."""
        scores = self.scores.get(key, {})
        return next(((source, scores[source]) for source in MAIN_SOURCES if source in scores), None)

    @property
    def runs_text(self) -> str:
        """Which runs it is of."""
        return ", ".join(map(str, self.runs)) if self.runs else ""


@dataclass(frozen=True)
class Board:
    """All rows on the same test images."""

    data: str
    num_images: int
    metrics: Sequence[Metric]
    rows: Sequence[BoardRow]
    """Baselines without a network first; those of a network together, and published ones last among them."""

    @property
    def title(self) -> str:
        """The data set and how many images were measured."""
        return f"{self.data}, {self.num_images:,} test images"

    def of(self, metric: Metric) -> list[BoardRow]:
        """Return the rows that have a number."""
        return [row for row in self.rows if row.scores.get(metric.key)]

    def sources(self, metric: Metric) -> list[str]:
        """Return the sources that any row has."""
        return [source for source in SOURCES if any(source in row.scores.get(metric.key, {}) for row in self.rows)]

    @property
    def matrix_title(self) -> str:
        """What the table of methods x networks shows."""
        return f"{self.metrics[0].heading}, %, methods x networks; CAM thresholds from val unless another is named"

    def matrix(self) -> tuple[list[str], list[list[str]]] | None:
        """Return headings and rows of methods x networks by the first metric; null of fewer than two networks."""
        own = [row for row in self.rows if row.runs and row.network]
        networks = list(dict.fromkeys(row.network for row in own))
        if len(networks) < 2 or not self.metrics:  # noqa: PLR2004 - a column is no matrix
            return None
        key = self.metrics[0].key
        cells: dict[tuple[str, str], str] = {}
        for row in own:
            found = row.main(key)
            if found is not None:  # of several trainings the first
                source = "" if found[0] in ("", "val") else f" ({found[0]})"
                cells.setdefault((row.method, row.network), f"{percent(found[1])}{source}")
        methods = list(dict.fromkeys(row.method for row in own))
        return ["method", *networks], [
            [method, *(cells.get((method, network), "") for network in networks)] for method in methods
        ]


@dataclass(frozen=True)
class ListedRun:
    """A run that is in a board, with what must be known of it."""

    path: Path
    remarks: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The run and its remarks."""
        return "; ".join([str(self.path), *self.remarks])


def with_published(board: Board, networks: Mapping[str, str]) -> Board:
    """Add the published numbers of the same data set on the same networks, each after our rows of its network.

    Args:
        board: Without them.
        networks: What the rows call a network, to what it is called without its options.
    """
    known = {metric.key for metric in board.metrics}
    rows, shown = [], set[str]()
    for place, row in enumerate(board.rows):
        rows.append(row)
        is_last = all(other.network != row.network for other in board.rows[place + 1 :])
        network = networks.get(row.network, row.network)
        if is_last and network and network not in shown:
            shown.add(network)
            rows += _published_rows([n for n in published_numbers() if n.key in known], board, network)
    return Board(board.data, board.num_images, board.metrics, rows)


def _published_rows(numbers: Sequence[Published], board: Board, network: str) -> list[BoardRow]:
    of_row: dict[str, dict[str, dict[str, Score]]] = {}
    for number in numbers:
        if (number.data, number.num_images, number.network) == (board.data, board.num_images, network):
            scores = of_row.setdefault(f"{number.method}, published ({number.source})", {})
            scores.setdefault(number.key, {})[number.threshold_source] = Score(number.fraction)
    return [BoardRow(network, method, scores) for method, scores in of_row.items()]


def percent(score: Score) -> str:
    """Return a value in percent."""
    return f"{100 * score.value:.2f}"


def interval_text(score: Score) -> str:
    """Return an interval in percent; empty without one."""
    return "" if score.interval is None else f"{100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f}"


def difference_text(difference: Interval | None) -> str:
    """Return a difference in percentage points, with a star where it is significant.

    Example:
        >>> difference_text(Interval(-0.04, -0.06, -0.01))
        '-4.00*'
    """
    return "" if difference is None else f"{100 * difference.value:+.2f}{'*' if difference.excludes_zero else ''}"


def difference_interval_text(difference: Interval | None) -> str:
    """Return its interval."""
    return "" if difference is None else f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"


class Cell(NamedTuple):
    """What stands in a table, and smaller what belongs to it."""

    text: str
    below: str = ""

    def joined(self, between: str) -> str:
        """Return both as one text."""
        return between.join(filter(None, self))


def headings_of(board: Board, metric: Metric) -> list[str]:
    """Return the headings of a metric's table."""
    sources = [source or "no threshold" for source in board.sources(metric)]
    return ["network", "method", *sources, "vs cam", "run"]


def cells_of(board: Board, metric: Metric, row: BoardRow) -> list[Cell]:
    """Return a row of a metric's table."""
    scores = row.scores.get(metric.key, {})
    shown = [
        Cell(percent(scores[source]), interval_text(scores[source])) if source in scores else Cell("")
        for source in board.sources(metric)
    ]
    difference = row.differences.get(metric.key)
    compared = Cell(difference_text(difference), difference_interval_text(difference))
    return [Cell(row.network), Cell(row.method), *shown, compared, Cell(row.runs_text)]


COST_HEADINGS = ["network", "method", "images/s", "trained", "minutes", "run"]


def cost_rows(board: Board) -> list[list[str]]:
    """Return what the trainings took, of rows where that is known."""
    return [[row.network, row.method, *row.cost.cells, row.runs_text] for row in board.rows if row.cost is not None]


def terminal_tables(board: Board) -> list[tuple[str, Table]]:
    """Lay out a board for a terminal: a table for each metric, methods x networks before them and costs after.

    Returns:
        Titles, which may be wider than their tables, and tables.
    """
    tables = []
    matrix = board.matrix()
    if matrix is not None:
        tables.append((f"{board.title}: {board.matrix_title}", _table(*matrix, texts=1)))
    for metric in board.metrics:
        rows = [[cell.joined("\n") for cell in cells_of(board, metric, row)] for row in board.of(metric)]
        tables.append((f"{board.title}: {metric.heading}, %", _table(headings_of(board, metric), rows)))
    if costs := cost_rows(board):
        tables.append((f"{board.title}: what the trainings took", _table(COST_HEADINGS, costs)))
    return tables


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 2) -> Table:
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, heading in enumerate(headings):
        is_text = place < texts
        longest = max((len(line) for row in rows for line in row[place].split("\n")), default=0)
        shown.add_column(
            Text(heading),
            justify="left" if is_text else "right",
            overflow="fold",
            min_width=min(longest, MIN_TEXT_WIDTH) if is_text else longest,  # headings give way before what is below
        )
    for row in rows:
        # Not markup: brackets in a name would be read as styles.
        shown.add_row(*map(Text, row), style=None if row[-1] or texts == 1 else "dim")
    return shown


def markdown(boards: Sequence[Board], runs: Sequence[ListedRun], left_out: Sequence[str]) -> str:
    """Return boards, runs and what was left out as Markdown; names are shown as they are."""
    parts = []
    for board in boards:
        parts.append(f"## {plain(board.title)}")
        matrix = board.matrix()
        if matrix is not None:
            headings, rows = matrix
            parts += [f"### {board.matrix_title}", markdown_table(headings, rows, headings[1:])]
        for metric in board.metrics:
            headings = headings_of(board, metric)
            lines = [[_bracketed(cell) for cell in cells_of(board, metric, row)] for row in board.of(metric)]
            parts += [f"### {metric.heading}, %", markdown_table(headings, lines, headings[2:])]
        if costs := cost_rows(board):
            parts += ["### What the trainings took", markdown_table(COST_HEADINGS, costs, COST_HEADINGS[2:])]
    if runs:
        parts += ["## Runs", "\n".join(f"{n}. {plain(run.text)}" for n, run in enumerate(runs, start=1))]
    if left_out:
        parts += ["## Left out", "\n".join(f"- {plain(text)}" for text in left_out)]
    return "\n\n".join([*parts, plain(EXPLANATION)]) + "\n"


def _bracketed(cell: Cell) -> str:
    return f"{cell.text} ({cell.below})" if cell.below else cell.text

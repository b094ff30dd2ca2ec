"""The tables of a leaderboard: for a terminal and as Markdown."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from camloc.metrics.functional.bootstrap import Interval
from camloc.report.leaderboard import Board, BoardRow, ListedRun, Metric, Score, percent
from camloc.report.markdown import plain
from camloc.report.markdown import table as markdown_table

MIN_TEXT_WIDTH = 14
"""Characters that names keep where a terminal is narrow."""
EXPLANATION = (
    "Numbers in %, each with its 95% interval. Columns say where the CAM threshold came from: val, chosen on true "
    "boxes of val; pseudo, on boxes made without people; fixed beforehand; oracle, the best on the reported images "
    "themselves; no threshold, for what has none. vs cam: difference to plain CAM on the same network in percentage "
    "points, paired over the images, * where its 95% interval excludes zero; intervals do not include the variation "
    "between trainings. Published numbers were measured by others, partly otherwise."
)


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

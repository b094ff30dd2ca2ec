"""The page of a leaderboard."""

from collections.abc import Sequence
from pathlib import Path

from camloc.export.replaced import replaced
from camloc.report.charts import reference_chart
from camloc.report.leaderboard import Board, ListedRun, Metric
from camloc.report.leaderboard_tables import COST_HEADINGS, EXPLANATION, cells_of, cost_rows, headings_of
from camloc.report.page import link, template

IMAGES = "images"
"""Folder of the page's charts."""


def write_leaderboard_page(
    directory: Path, boards: Sequence[Board], runs: Sequence[ListedRun], left_out: Sequence[str]
) -> Path:
    """Write ``index.html`` with its charts; the directory can be moved or zipped.

    Args:
        directory: Where the page goes; it is made.
        boards: One for each set of test images.
        runs: That rows refer to by number.
        left_out: What is in no table, a sentence each.

    Returns:
        Path of the page.
    """
    directory = directory.absolute()
    (directory / IMAGES).mkdir(parents=True, exist_ok=True)
    html = template("leaderboard.html").render(
        boards=[_shown(directory, place, board) for place, board in enumerate(boards)],
        cost_headings=COST_HEADINGS,
        runs=[(number, run.path, run.remarks) for number, run in enumerate(runs, start=1)],
        left_out=left_out,
        explanation=EXPLANATION,
    )
    page = directory / "index.html"
    with replaced(page) as partial:
        partial.write_text(html, encoding="utf-8", errors="backslashreplace")
    return page


def _shown(directory: Path, place: int, board: Board) -> dict[str, object]:
    tables = [
        (
            metric.heading,
            headings_of(board, metric),
            [(row.runs, cells_of(board, metric, row)) for row in board.of(metric)],
        )
        for metric in board.metrics
    ]
    return {
        "title": board.title,
        "first": board.metrics[0].heading if board.metrics else "",
        "matrix": board.matrix(),
        "matrix_title": board.matrix_title if board.metrics else "",
        "tables": tables,
        "costs": cost_rows(board),
        "chart": _chart(directory, place, board, board.metrics[0]) if board.metrics else None,
    }


def _chart(directory: Path, place: int, board: Board, metric: Metric) -> str | None:
    """Draw the first metric of our rows with its intervals."""
    drawn = [(row, found[1]) for row in board.of(metric) if row.runs and (found := row.main(metric.key)) is not None]
    if not drawn:
        return None
    file = directory / IMAGES / f"board{place}.png"
    reference_chart(
        [f"{row.network}, {row.method} [{row.runs_text}]" if row.network else row.method for row, _ in drawn],
        None,
        [100 * score.value for _, score in drawn],
        [None if score.interval is None else (100 * score.interval[0], 100 * score.interval[1]) for _, score in drawn],
        file,
        xlabel=f"{metric.title} (%)",
    )
    return link(directory, file)

"""``camloc leaderboard RUN...``: methods x networks, with where every threshold came from and what others published."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from camloc.experiment.finished_runs import LeftOut, all_run_directories, left_out_lines
from camloc.experiment.leaderboard.boards import make_boards
from camloc.experiment.leaderboard.runs import BoardRun, read_runs
from camloc.experiment.trusted import printable
from camloc.export.csv_file import write_csv
from camloc.export.replaced import replaced
from camloc.report.leaderboard import Board, ListedRun
from camloc.report.leaderboard_tables import EXPLANATION, markdown, terminal_tables
from camloc.report.one_line_parser import OneLineParser
from camloc.report.published import HEADINGS, published_cells, published_numbers

USAGE = "camloc leaderboard RUN... [--markdown FILE] [--csv FILE] [--html DIR], or camloc leaderboard --published"
CSV_HEADER = (
    *("data", "num_images", "network", "method", "metric", "title", "threshold_source", "value", "low", "high"),
    *("minus_cam", "minus_cam_low", "minus_cam_high", "images_per_second", "trained_parameters", "minutes", "runs"),
)


def main(arguments: Sequence[str]) -> int:
    """Print the leaderboard, and write it where asked.

    Args:
        arguments: Run directories or directories that hold them, and where to write; or ``--published``, ``--help``.

    Returns:
        The exit code: 1 if no run can be read, with one line on stderr that says why.

    Raises:
        SystemExit: With code 0 after ``--help``, with code 1 if the arguments are wrong.
    """
    parser = OneLineParser(
        "no leaderboard",
        USAGE,
        prog="camloc leaderboard",
        description="Methods and networks of your runs side by side.",
    )
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="a run directory, or one that holds several")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every number, a line each")
    parser.add_argument("--html", type=Path, metavar="DIR", help="write a page with a chart into a folder")
    parser.add_argument("--published", action="store_true", help="print the list of published numbers")
    options = parser.parse_args(arguments)
    if options.published == bool(options.runs):
        parser.error("give run directories, or --published" if not options.runs else "--published takes no run")
    if options.published and (options.markdown or options.csv or options.html):
        parser.error("--published takes no --markdown, --csv or --html")
    parser.check_outputs(options)
    if options.csv is not None and options.csv == options.markdown:
        parser.error("--markdown and --csv name the same file")
    if options.published:
        _print_published()
        return 0
    try:
        _leaderboard(options.runs, options.markdown, options.csv, options.html)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"no leaderboard: {printable(' '.join(str(error).split()))}\n")
        return 1
    return 0


def _leaderboard(paths: Sequence[Path], markdown_file: Path | None, csv_file: Path | None, page: Path | None) -> None:
    """Read the runs, print the tables, and write them where asked.

    Raises:
        OSError: If there is no such directory, or a file cannot be written.
        ValueError: If no run can be read.
    """
    directories, without_runs = all_run_directories(paths)
    read = [*read_runs(directories), *without_runs]
    left_out = left_out_lines([run for run in read if isinstance(run, LeftOut)])
    boards, listed = make_boards([run for run in read if isinstance(run, BoardRun)])
    if not boards:
        raise ValueError(f"none of {len(read)} run directories can be compared: {left_out[0]}")
    _print(boards, listed, left_out)
    if markdown_file is not None:
        with replaced(markdown_file) as partial:
            partial.write_text(markdown(boards, listed, left_out), encoding="utf-8", errors="backslashreplace")
    if csv_file is not None:
        write_csv(csv_file, CSV_HEADER, _csv_rows(boards, listed))
    if page is not None:
        from camloc.report.leaderboard_page import write_leaderboard_page  # noqa: PLC0415 - imports matplotlib

        write_leaderboard_page(page, boards, listed, left_out)


def _csv_rows(boards: Sequence[Board], runs: Sequence[ListedRun]) -> Iterator[list[object]]:
    """Yield every number, fractions, with its difference to plain CAM where it is the one that was compared."""
    for board in boards:
        for row in board.rows:
            cost: list[object] = ["", "", ""]
            if row.cost is not None:
                cost = [
                    round(row.cost.images_per_second, 1),
                    row.cost.trained_parameters,
                    round(row.cost.seconds / 60, 2),
                ]
            paths = " ".join(str(runs[number - 1].path) for number in row.runs)
            for metric in board.metrics:
                for source, score in row.scores.get(metric.key, {}).items():
                    found = row.differences.get(metric.key) if source in ("", row.compared_at) else None
                    yield [
                        *(board.data, board.num_images, row.network, row.method, metric.key, metric.title, source),
                        *(score.value, *(score.interval or ("", ""))),
                        *((found.value, found.low, found.high) if found is not None else ("", "", "")),
                        *cost,
                        paths,
                    ]


def _print(boards: Sequence[Board], runs: Sequence[ListedRun], left_out: Sequence[str]) -> None:
    console = Console(highlight=False)
    for board in boards:
        for title, table in terminal_tables(board):
            console.print(Text(title, style="italic"), soft_wrap=True)
            console.print(table)
    for number, run in enumerate(runs, start=1):
        console.print(Text(printable(f"{number}: {run.text}")), soft_wrap=True)
    for line in left_out:
        console.print(Text(printable(f"left out: {line}")), soft_wrap=True)
    console.print(Text(EXPLANATION))


def _print_published() -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading == "%" else "left", overflow="fold")
    for number in published_numbers():
        table.add_row(*map(Text, published_cells(number)))
    Console(highlight=False).print(table)

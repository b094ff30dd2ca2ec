"""``camloc tables paper RUN...``: the tables of Zhou et al., CVPR 2016, with the runs' numbers next to the paper's."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from camloc.experiment.finished_runs import LeftOut, all_run_directories, left_out_lines
from camloc.experiment.paper.rows import PaperNumber, paper_numbers
from camloc.experiment.paper.runs import PaperRun, read_runs
from camloc.experiment.run_directory import RunDirectory
from camloc.export.replaced import replaced
from camloc.report.one_line_parser import OneLineParser
from camloc.report.paper_tables import (
    EXPLANATION,
    TITLES,
    ListedRun,
    PaperLine,
    Verdict,
    markdown,
    run_list,
    terminal_table,
)
from camloc.report.table import TRAINED_WITH_BOXES

USAGE = "camloc tables paper RUN... [--markdown FILE] [--html DIR]"
GT_KNOWN, CENTRED_BOX = "test/localization/gt_known_error", "test/localization/centred_box_gt_known_error"


def paper_lines(numbers: Sequence[PaperNumber], runs: Sequence[PaperRun]) -> list[PaperLine]:
    """Return a line for each number of the paper and each run of its row; one without a run for a row without any.

    Args:
        numbers: Of the paper.
        runs: In the order in which they are numbered.
    """
    lines = []
    for number in numbers:
        of_row = [(place, run) for place, run in enumerate(runs, start=1) if run.row == number.row]
        ours = [_line(number, place, run) for place, run in of_row]
        lines += ours or [_line(number, None, None)]
    return lines


def _line(number: PaperNumber, place: int | None, run: PaperRun | None) -> PaperLine:
    error = None if run is None else run.error(number.key)
    verdict: Verdict = "not run"
    if run is not None:
        verdict = "not measured" if error is None else _verdict(number, run, error)
    return PaperLine(
        table=number.table,
        name=number.name,
        boxes=number.boxes or (run is not None and run.metrics.get("test/supervision") == TRAINED_WITH_BOXES),
        measure=number.measure,
        paper=number.value,
        run=place,
        ours=error,
        interval=None if run is None or error is None else run.interval(number.key),
        verdict=verdict,
    )


def _verdict(number: PaperNumber, run: PaperRun, error: float) -> Verdict:
    if run.deviations[number.table]:
        return "other protocol"
    # Rounded, because 57.2 - 55.2 is 2.0000000000000018 in floating point.
    return "reproduced" if round(abs(error - number.value), 6) <= run.tolerance else "differs"


def listed(numbers: Sequence[PaperNumber], run: PaperRun) -> ListedRun:
    """Return what the tables say of a run, with the deviations of the tables that it is in."""
    tables = dict.fromkeys(number.table for number in numbers if number.row == run.row)
    gt_known, centred = run.error(GT_KNOWN), run.error(CENTRED_BOX)
    return ListedRun(
        path=run.path,
        recipe=run.recipe,
        tolerance=run.tolerance,
        deviations=list(dict.fromkeys(text for table in tables for text in run.deviations[table])),
        changes=run.changes,
        baseline=""
        if gt_known is None or centred is None
        else f"GT-known error {gt_known:.2f}, that of the best centred box {centred:.2f}",
        tiles=sorted(RunDirectory(run.path).gallery.glob("*.png")),
    )


def main(arguments: Sequence[str]) -> int:
    """Print the tables, and write them where asked.

    Args:
        arguments: ``paper``, run directories or directories that hold them, and where to write; or ``--help``.

    Returns:
        The exit code: 1 if there is no run of any row, with one line on stderr that says why.

    Raises:
        SystemExit: With code 0 after ``--help``, with code 1 if the arguments are wrong.
    """
    parser = OneLineParser(
        "no tables",
        USAGE,
        prog="camloc tables",
        description="A paper's tables, with your runs' numbers next to its own.",
    )
    parser.add_argument("paper", choices=["paper"], help="Tables 1 to 3 of Zhou et al., CVPR 2016; see docs/paper.md")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run directory, or one that holds several")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    parser.add_argument("--html", type=Path, metavar="DIR", help="write a page with charts and images into a folder")
    options = parser.parse_args(arguments)
    parser.check_outputs(options)
    try:
        _tables(options.runs, options.markdown, options.html)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"no tables: {' '.join(str(error).split())}\n")
        return 1
    return 0


def _tables(paths: Sequence[Path], markdown_file: Path | None, page: Path | None) -> None:
    """Read the runs, print the tables, and write them where asked.

    Raises:
        OSError: If there is no such directory, or a file cannot be written.
        ValueError: If no run is of a row of the paper.
    """
    directories, without_runs = all_run_directories(paths)
    read = [*read_runs(directories), *without_runs]
    runs = [run for run in read if isinstance(run, PaperRun)]
    left_out = left_out_lines([run for run in read if isinstance(run, LeftOut)])
    if not runs:
        raise ValueError(
            f"none of {len(read)} run directories is of a row of the paper: {left_out[0]}; "
            "camloc train experiment=paper/ROW makes one"
        )
    numbers = paper_numbers()
    lines, shown = paper_lines(numbers, runs), [listed(numbers, run) for run in runs]
    _print(lines, shown, left_out)
    if markdown_file is not None:
        with replaced(markdown_file) as partial:
            partial.write_text(markdown(lines, shown, left_out), encoding="utf-8", errors="backslashreplace")
    if page is not None:
        from camloc.report.paper_page import write_paper_page  # noqa: PLC0415 - imports torch and matplotlib

        write_paper_page(page, lines, shown, left_out)


def _print(lines: Sequence[PaperLine], runs: Sequence[ListedRun], left_out: Sequence[str]) -> None:
    console = Console(highlight=False)
    for table in TITLES:
        console.print(terminal_table(table, [line for line in lines if line.table == table]))
    for line in run_list(runs):
        console.print(Text(line), soft_wrap=True)
    for line in left_out:
        console.print(Text(f"left out: {line}"), soft_wrap=True)
    console.print(Text(EXPLANATION))

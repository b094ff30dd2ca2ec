"""The page of the paper's tables: charts of paper and runs, and the same images as each run sees them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from camloc.export.replaced import replaced
from camloc.report.charts import reference_chart
from camloc.report.page import link, template
from camloc.report.paper_tables import EXPLANATION, HEADINGS, NUMBERS, TITLES, ListedRun, PaperLine

NUM_IMAGES = 6
"""Gallery images that are shown, the same of all runs."""
IMAGES = "images"
"""Folder of the page's tiles and charts."""


def write_paper_page(
    directory: Path, lines: Sequence[PaperLine], runs: Sequence[ListedRun], left_out: Sequence[str]
) -> Path:
    """Write ``index.html`` with its images; the directory can be moved or zipped.

    Args:
        directory: Where the page goes; it is made.
        lines: Of all tables.
        runs: That lines refer to by number.
        left_out: What is in no table, a sentence each.

    Returns:
        Path of the page.
    """
    directory = directory.absolute()
    (directory / IMAGES).mkdir(parents=True, exist_ok=True)
    tables = []
    for table, title in TITLES.items():
        of_table = [line for line in lines if line.table == table]
        chart = None
        measured = [line for line in of_table if line.ours is not None]
        if measured:
            file = directory / IMAGES / f"table{table}.png"
            reference_chart(
                [f"{line.cells[0]}, {line.cells[1]} [{line.run}]" for line in measured],
                [line.paper for line in measured],
                [line.ours or 0.0 for line in measured],
                [line.interval for line in measured],
                file,
            )
            chart = link(directory, file)
        tables.append((title, of_table, chart))
    html = template("paper_page.html").render(
        tables=tables,
        headings=HEADINGS,
        numbers=NUMBERS,
        runs=[(number, run.path, run.remarks()) for number, run in enumerate(runs, start=1)],
        left_out=left_out,
        images=_copied(directory, runs),
        explanation=EXPLANATION,
    )
    page = directory / "index.html"
    with replaced(page) as partial:
        partial.write_text(html, encoding="utf-8", errors="backslashreplace")
    return page


def _copied(directory: Path, runs: Sequence[ListedRun]) -> list[list[tuple[str, str]]]:
    """Copy tiles next to the page and return for each image its links, with the run of each.

    Runs on the same test images draw the same ones, each into a file of the image's number.
    """
    names = sorted({tile.name for run in runs for tile in run.tiles})
    # Those first that most runs have: other data sets have other images of the same number.
    names.sort(key=lambda name: -sum(any(tile.name == name for tile in run.tiles) for run in runs))
    images = []
    for name in names[:NUM_IMAGES]:
        shown = []
        for number, run in enumerate(runs, start=1):
            for tile in run.tiles:
                if tile.name == name:
                    copy = directory / IMAGES / f"run{number}_{name}"
                    shutil.copyfile(tile, copy)
                    shown.append((link(directory, copy), f"[{number}] {run.recipe}"))
        images.append(shown)
    return images

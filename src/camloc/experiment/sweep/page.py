"""The images of a sweep's jobs side by side: ``report/index.html`` in the sweep's directory."""

from collections.abc import Sequence
from pathlib import Path

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.sweep.summary import JobResult
from camloc.report.explorer.files import has_data
from camloc.report.explorer.reading import side_by_side
from camloc.report.page import write_page

FEWEST_JOBS = 2


def write_sweep_page(directory: Path, results: Sequence[JobResult]) -> Path | None:
    """Write the page of the jobs whose reports have images to explore.

    Args:
        directory: The sweep's.
        results: Of all jobs.

    Returns:
        Path of the page; null where fewer than two jobs have such a report.

    Raises:
        ValueError: If the jobs show no image in common.
    """
    reports = {
        f"{result.job}: {result.swept_text}": RunDirectory(directory / result.directory).report
        for result in results
        if has_data(RunDirectory(directory / result.directory).report)
    }
    if len(reports) < FEWEST_JOBS:
        return None
    target = RunDirectory(directory).report
    target.mkdir(exist_ok=True)
    left_out = len(results) - len(reports)
    missing = [f"Jobs without images to show, which are left out here: {left_out}."]
    note = f"{len(reports)} jobs of {directory.name}, of which two are laid side by side; choose them on the left."
    return write_page(
        target,
        title=f"{directory.name}: a sweep",
        notes=[note, *(missing if left_out else [])],
        explorer=side_by_side(reports, target),
    )

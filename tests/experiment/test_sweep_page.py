"""The page of a sweep: its jobs' images side by side."""

from pathlib import Path
from runpy import run_path

from camloc.experiment.sweep.page import write_sweep_page
from camloc.experiment.sweep.summary import JobResult
from camloc.report.explorer.files import thumbnails_folder

PAGES = run_path(str(Path(__file__).parents[1] / "report" / "explorer" / "pages.py"))


def result(job: int, backbone: str) -> JobResult:
    return JobResult(job, str(job - 1), {"backbone": backbone}, "completed", 1.0)


def test_jobs_with_images_are_laid_side_by_side(tmp_path: Path) -> None:
    for job in (0, 1):
        PAGES["page"](tmp_path / str(job) / "report")
    page = write_sweep_page(tmp_path, [result(1, "vgg"), result(2, "alexnet"), result(3, "failed")])
    assert page == tmp_path / "report" / "index.html"
    assert "left out here: 1." in page.read_text(encoding="utf-8")
    assert len(list(thumbnails_folder(tmp_path / "report").iterdir())) == 4
    index = (tmp_path / "report" / "explorer" / "index.js").read_text("ascii")
    assert '"label":"1: backbone=vgg"' in index
    assert '"label":"2: backbone=alexnet"' in index


def test_one_job_has_a_page_of_its_own_already(tmp_path: Path) -> None:
    PAGES["page"](tmp_path / "0" / "report")
    assert write_sweep_page(tmp_path, [result(1, "vgg"), result(2, "alexnet")]) is None
    assert not (tmp_path / "report").exists()

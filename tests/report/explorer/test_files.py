"""What lies beside a page."""

import json
import os
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from camloc.report.explorer.files import (
    CHUNK_IMAGES,
    Explored,
    data_folder,
    images_in_common,
    iou_codes,
    thumbnails_folder,
    write_data,
)
from camloc.report.explorer.reading import labels_of, read_explored, side_by_side
from camloc.report.page import write_page

PAGES = run_path(str(Path(__file__).parent / "pages.py"))
page, images, run = PAGES["page"], PAGES["images"], PAGES["run"]
HOSTILE = "</script><script>alert(1)</script>\u202e\u2028\"'\n" + os.fsdecode(b"\xff")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    shown = images(CHUNK_IMAGES + 3)
    page(tmp_path, shown)
    read = read_explored(tmp_path)
    ((of_run, found),) = read.runs
    assert (of_run, list(read.class_names), read.rule) == (run(), ["cat", "dog"], "All.")
    assert [image.name for image in found] == [image.name for image in shown]
    for before, after in zip(shown, found, strict=True):
        assert (after.position, after.size, after.ranked) == (before.position, before.size, before.ranked)
        assert (after.predicted is None) == (before.predicted is None)
        for wrote, got in zip(before.pairs, after.pairs, strict=True):
            assert (got.class_index, got.rank) == (wrote.class_index, wrote.rank)
            assert got.probability == pytest.approx(wrote.probability)
            np.testing.assert_array_equal(got.boxes, wrote.boxes)
            np.testing.assert_array_equal(got.causes, wrote.causes)
            np.testing.assert_array_equal(got.score_map, wrote.score_map)
            assert got.iou is not None
            assert wrote.iou is not None
            np.testing.assert_allclose(got.iou, wrote.iou, atol=1e-4)


def test_an_image_without_pairs_is_read_back_between_others(tmp_path: Path) -> None:
    first, second = images(2)
    shown = [first, PAGES["negative"](7), second._replace(position=8)]
    page(tmp_path, shown)
    ((_, found),) = read_explored(tmp_path).runs
    assert [image.name for image in found] == ["0.jpg", "7.jpg", "1.jpg"]
    assert [[pair.class_index for pair in image.pairs] for image in found] == [[0], [], [1]]
    assert found[2].pairs[0].probability == pytest.approx(0.2)
    assert found[1].predicted is not None
    assert found[1].predicted.class_index == 1
    both = side_by_side({"a": tmp_path, "b": tmp_path}, tmp_path / "both")
    assert [len(image.pairs) for image in both.runs[1][1]] == [1, 0, 1]


def test_files_are_ascii_and_hold_names_as_they_are(tmp_path: Path) -> None:
    page(tmp_path, images(1, [HOSTILE]), [HOSTILE, "dog"])
    (data_folder(tmp_path) / "chunk_0.js").read_text("ascii")
    index = (data_folder(tmp_path) / "index.js").read_text("ascii")
    assert json.loads(index[len("camloc.index(") : -len(");\n")])["names"] == [HOSTILE]
    assert read_explored(tmp_path).runs[0][1][0].name == HOSTILE
    assert "alert" not in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("iou_threshold", [0.1, 0.29, 0.3, 0.5, 0.57, 0.7, 1 / 3])
def test_rounding_never_carries_an_iou_across_the_threshold(iou_threshold: float) -> None:
    below, above = np.nextafter(iou_threshold, 0), np.nextafter(iou_threshold, 1)
    iou = np.array([0, below, iou_threshold, above, 1.0])
    codes = iou_codes(iou, 5, iou_threshold)
    limit = int(np.ceil(iou_threshold * 10_000 - 1e-9))
    assert (codes >= limit).tolist() == [False, False, True, True, True]
    assert np.abs(codes / 10_000 - iou).max() <= 1.0001e-4


def test_old_chunks_are_removed(tmp_path: Path) -> None:
    page(tmp_path, images(CHUNK_IMAGES + 1))
    assert len(list(data_folder(tmp_path).glob("chunk_*.js"))) == 2
    page(tmp_path, images(1))
    assert [file.name for file in data_folder(tmp_path).glob("chunk_*.js")] == ["chunk_0.js"]


def test_images_that_all_runs_have_are_laid_side_by_side() -> None:
    a, b = images(3), list(reversed(images(4)))
    assert [[image.name for image in row] for row in images_in_common([a, b])] == [[f"{i}.jpg"] * 2 for i in range(3)]
    with pytest.raises(ValueError, match="no image in common"):
        images_in_common([a, images(2, ["x", "y"])])
    with pytest.raises(ValueError, match="at least one run"):
        images_in_common([])


def test_pages_of_two_runs_become_one(tmp_path: Path) -> None:
    page(tmp_path / "a", images(3))
    page(tmp_path / "b", images(4, wide=[0]))
    target = tmp_path / "both"
    both = side_by_side({"first": tmp_path / "a", "second": tmp_path / "b"}, target)
    assert [run.label for run, _ in both.runs] == ["first", "second"]
    assert [len(of_run) for _, of_run in both.runs] == [3, 3]
    assert len(list(thumbnails_folder(target).iterdir())) == 3
    write_page(target, title="both", explorer=both)
    assert (target / "index.html").is_file()
    page(tmp_path / "c", class_names=["cow", "dog"])
    with pytest.raises(ValueError, match="other classes"):
        side_by_side({"first": tmp_path / "a", "other": tmp_path / "c"}, target)


@pytest.mark.parametrize("name", ["index.js", "chunk_0.js"])
@pytest.mark.parametrize("content", ["", "camloc.index({});\n", "camloc.chunk(0,[]);\n", "alert(1)", "[" * 5000])
def test_damaged_data_are_named(name: str, content: str, tmp_path: Path) -> None:
    page(tmp_path)
    (data_folder(tmp_path) / name).write_text(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        read_explored(tmp_path)


def test_a_report_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.js does not exist"):
        read_explored(tmp_path)


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        write_data(tmp_path, Explored(["cat"], [], ""))


def test_short_labels_tell_runs_apart() -> None:
    assert labels_of([Path("/x/runs/a"), Path("/y/runs/a")]) == ["x/runs/a", "y/runs/a"]

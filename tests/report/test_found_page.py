"""The page of what was found, read back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import camloc.report.found_page
from camloc.localized import LocalizedBox, LocalizedClass, LocalizedImage, from_json, to_json
from camloc.report.explorer.reading import read_explored
from camloc.report.explorer.records import ShownRun
from camloc.report.found_page import FoundPage

LEFT = np.zeros((8, 8), np.float32)
LEFT[:, :4] = 1


def image(name: str, *classes: int, window: tuple[int, int, int, int] = (0, 0, 40, 20)) -> LocalizedImage:
    """A 20 by 40 image, each class of which has two boxes and a map that is bright on the left of the window."""
    boxes = (LocalizedBox((10.0, 5.0, 30.0, 20.0), 0.9), LocalizedBox((0.0, 0.0, 4.0, 4.0), 0.1))
    cam: NDArray[np.float32] = np.zeros((2, 2), np.float32)
    found = (LocalizedClass(index, "ab"[index], 0.75, boxes, None, cam, LEFT) for index in classes)
    return LocalizedImage(name, (20, 40), tuple(found), window=window)


def write(report: Path, images: list[LocalizedImage], run: ShownRun | None = None) -> Path:
    """Write a page as a prediction and one that goes on with it do; at threshold t each box is its right (1 - t)."""
    page = run or ShownRun("predictions", [])
    for position, one in enumerate(images):
        if one.error is None and FoundPage(report, page).takes(position):
            left = [[40 * threshold, 0, 40, 20] for threshold in page.cam_thresholds]
            boxes = torch.tensor([left] * len(one.classes)).view(len(one.classes), len(page.cam_thresholds), 4)
            thumbnail = torch.full((3, 10, 20), 99, dtype=torch.uint8)
            FoundPage(report, page).keep(position, thumbnail, one, boxes)
    read_back = [from_json(to_json(one)) for one in images]
    return FoundPage(report, page).write(read_back, ["a", "b"], ["of a folder"])


def test_what_was_found_is_shown_as_fractions_of_the_image(tmp_path: Path) -> None:
    images = [image("1.jpg", 1, 0), LocalizedImage("2.jpg", (0, 0), error="broken"), image("3.jpg")]
    page = write(tmp_path, images)
    assert "of a folder" in page.read_text()
    ((run, shown),) = read_explored(tmp_path).runs
    assert [(one.name, one.position, one.size) for one in shown] == [("1.jpg", 0, (10, 20)), ("3.jpg", 2, (10, 20))]
    first, second = shown[0].pairs
    assert (first.class_index, second.class_index, first.probability) == (1, 0, 0.75)
    assert first.boxes.tolist() == [[0.25, 0.25, 0.75, 1]]
    assert first.score_map is not None
    assert first.score_map.shape == (6, 6)  # three values for each cell of the CAM
    assert first.score_map[:, [0, 5]].tolist() == [[255, 0]] * 6
    assert shown[1].pairs == []
    assert (run.iou_threshold, list(run.cam_thresholds)) == (None, [])
    assert not list(tmp_path.rglob("*.np*"))


def test_boxes_are_shown_at_every_cam_threshold(tmp_path: Path) -> None:
    write(tmp_path, [image("1.jpg", 1, 0), image("2.jpg")], ShownRun("predictions", [0.0, 0.25, 0.5], 0.25, "val"))
    ((run, shown),) = read_explored(tmp_path).runs
    assert (list(run.cam_thresholds), run.cam_threshold, run.threshold_source) == ([0.0, 0.25, 0.5], 0.25, "val")
    for pair in shown[0].pairs:
        assert pair.boxes.tolist() == [[0, 0, 1, 1], [0.25, 0, 1, 1], [0.5, 0, 1, 1]]
    assert shown[1].pairs == []


def test_the_map_of_a_window_lies_in_the_image(tmp_path: Path) -> None:
    write(tmp_path, [image("1.jpg", 0, window=(10, 0, 30, 20))])
    score_map = read_explored(tmp_path).runs[0][1][0].pairs[0].score_map
    assert score_map is not None
    assert score_map.shape == (28, 56)
    assert np.array_equal(np.unique(np.nonzero(score_map == 255)[1]), np.arange(14, 28))
    assert not score_map[:, :14].any()
    assert not score_map[:, 42:].any()


def test_the_first_images_are_shown_and_the_others_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camloc.report.found_page, "MAX_IMAGES", 2)
    write(tmp_path, [image(f"{number}.jpg", 0) for number in range(5)])
    explored = read_explored(tmp_path)
    assert explored.rule == "The first 2 images; 3 more are in predictions.jsonl."
    assert [one.name for one in explored.runs[0][1]] == ["0.jpg", "1.jpg"]
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_where_nothing_was_read_the_page_says_so(tmp_path: Path) -> None:
    page = write(tmp_path, [LocalizedImage("2.jpg", (0, 0), error="broken")])
    assert "explorer/" not in page.read_text()

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.annotations.clipping import clip_to_pictures


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((20, 50, 3), np.uint8))
    return tmp_path / "wide.png"


def test_what_lies_outside_is_cut_off_and_counted(wide: Path) -> None:
    boxes = np.array([[-3.0, 1.5, 60.0, 21.0], [0.0, 0.0, 50.0, 20.0], [1.0, 2.0, 3.0, 4.5]])
    (clipped,), count = clip_to_pictures([boxes], [wide], ["a.xml"])
    assert clipped.tolist() == [[0, 1.5, 50, 20], [0, 0, 50, 20], [1, 2, 3, 4.5]]
    assert count == 1


@pytest.mark.parametrize("box", [[50.0, 0.0, 60.0, 10.0], [0.0, 20.0, 10.0, 45.0], [-9.0, 0.0, 0.0, 10.0]])
def test_a_box_wholly_outside_is_an_error_that_names_both(wide: Path, box: list[float]) -> None:
    with pytest.raises(ValueError, match=rf"a\.xml: the box .* lies outside {wide}, which is 50 wide and 20 high"):
        clip_to_pictures([np.array([box])], [wide], ["a.xml"])


def test_pictures_that_cannot_be_read_and_pictures_without_boxes_are_left_alone(wide: Path) -> None:
    box = np.array([[5.0, 6.0, 700.0, 800.0]])
    clipped, count = clip_to_pictures([box, np.zeros((0, 4))], [Path(os.devnull), wide], ["", ""])
    assert clipped[0].tolist() == box.tolist()
    assert clipped[1].shape == (0, 4)
    assert count == 0

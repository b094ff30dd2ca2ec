import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.annotations.clipping import clip_to_images
from camloc.data.annotations.objects import Objects


def objects(size: tuple[int, int] | None = None) -> Objects:
    """What ``a.xml`` says; the boxes are given beside it."""
    return Objects(np.zeros((0, 4)), (), "a.xml", size)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((20, 50, 3), np.uint8))
    return tmp_path / "wide.png"


def test_what_lies_outside_is_cut_off_and_counted(wide: Path) -> None:
    boxes = np.array([[-3.0, 1.5, 60.0, 21.0], [0.0, 0.0, 50.0, 20.0], [1.0, 2.0, 3.0, 4.5]])
    (clipped,), count, other_sizes = clip_to_images([boxes], [wide], [objects((20, 50))])
    assert clipped.tolist() == [[0, 1.5, 50, 20], [0, 0, 50, 20], [1, 2, 3, 4.5]]
    assert count == 1
    assert other_sizes == []


@pytest.mark.parametrize("box", [[50.0, 0.0, 60.0, 10.0], [0.0, 20.0, 10.0, 45.0], [-9.0, 0.0, 0.0, 10.0]])
def test_a_box_wholly_outside_is_an_error_that_names_both(wide: Path, box: list[float]) -> None:
    with pytest.raises(ValueError, match=rf"a\.xml: the box .* lies outside {wide}, which is 50 wide and 20 high"):
        clip_to_images([np.array([box])], [wide], [objects()])


def test_images_that_cannot_be_read_and_images_without_boxes_are_left_alone(wide: Path) -> None:
    box = np.array([[5.0, 6.0, 700.0, 800.0]])
    clipped, count, _ = clip_to_images([box, np.zeros((0, 4))], [Path(os.devnull), wide], [objects(), None])
    assert clipped[0].tolist() == box.tolist()
    assert clipped[1].shape == (0, 4)
    assert count == 0


def test_another_size_is_reported_and_an_image_on_its_side_is_an_error(wide: Path) -> None:
    box = np.array([[1.0, 2.0, 3.0, 4.0]])
    told = clip_to_images([box], [wide], [objects((40, 100))]).other_sizes
    assert told == [f"a.xml is for 100 by 40 pixels, and {wide}, which is 50 wide and 20 high as it is shown"]
    with pytest.raises(
        ValueError, match=r"a\.xml is for 20 by 50 pixels, .*: its boxes were drawn on the image before EXIF turned it"
    ):
        clip_to_images([box], [wide], [objects((50, 20))])

"""Boxes fitted to their images, against boxes computed by hand; images are not square."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from camloc.data.annotations.fitting import fit_objects, recognised_units
from camloc.data.annotations.objects import Objects
from camloc.data.annotations.problems import DataProblems


def objects(size: tuple[int, int] | None = None, where: str = "a.xml") -> Objects:
    """What ``a.xml`` says; the boxes are given beside it."""
    return Objects(np.zeros((0, 4)), (), where, size)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """An image 50 wide and 20 high."""
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((20, 50, 3), np.uint8))
    return tmp_path / "wide.png"


def fit(box: list[float], file: Path, size: tuple[int, int] | None = None) -> tuple[list[list[float]], list[str]]:
    """Fit one box."""
    (fitted,), notes = fit_objects([np.array([box])], [file], [objects(size)])
    return fitted.tolist(), notes


def test_what_lies_outside_is_cut_off_and_counted(wide: Path) -> None:
    boxes = np.array([[-3.0, 1.5, 60.0, 21.0], [0.0, 0.0, 50.0, 20.0], [1.0, 2.0, 3.0, 4.5]])
    (fitted,), notes = fit_objects([boxes], [wide], [objects((20, 50))])
    assert fitted.tolist() == [[0, 1.5, 50, 20], [0, 0, 50, 20], [1, 2, 3, 4.5]]
    assert notes == ["1 true boxes reached beyond their images and were cut off"]


@pytest.mark.parametrize("box", [[50.0, 0.0, 60.0, 10.0], [0.0, 20.0, 10.0, 45.0], [-9.0, 0.0, 0.0, 10.0]])
def test_a_box_wholly_outside_is_an_error_that_names_both(wide: Path, box: list[float]) -> None:
    with pytest.raises(DataProblems, match=rf"a\.xml: the box .* lies outside {wide}, which is 50 wide and 20 high"):
        fit(box, wide)


def test_all_boxes_outside_are_named(wide: Path) -> None:
    found = [objects(None, f"{number}.xml") for number in range(12)]
    with pytest.raises(DataProblems, match=r"12 problems .*\(10\) 9\.xml: .*; and 2 more") as refused:
        fit_objects([np.array([[60.0, 0, 70, 9]])] * 12, [wide] * 12, found)
    assert [where for where, _ in refused.value.problems] == [f"{number}.xml" for number in range(12)]


def test_images_that_cannot_be_read_and_images_without_boxes_are_left_alone(wide: Path) -> None:
    box = np.array([[5.0, 6.0, 700.0, 800.0]])
    fitted, notes = fit_objects([box, np.zeros((0, 4))], [Path(os.devnull), wide], [objects(), None])
    assert fitted[0].tolist() == box.tolist()
    assert fitted[1].shape == (0, 4)
    assert notes == []


def test_boxes_of_another_size_are_scaled_by_both_sides(wide: Path) -> None:
    fitted, (note,) = fit([20.0, 4.0, 60.0, 12.0], wide, (40, 100))
    assert fitted == [[10, 2, 30, 6]]
    assert note == (
        "the boxes of 1 images are of another size and were scaled to them, first a.xml is for 100 by 40 pixels, and "
        f"{wide}, which is 50 wide and 20 high as it is shown"
    )


@pytest.mark.parametrize("size", [(41, 100), (39, 101), (10, 25), (7, 17), (6, 17)])
def test_sides_that_were_rounded_are_one_shape(wide: Path, size: tuple[int, int]) -> None:
    height, width = size
    fitted, _ = fit([0.0, 0.0, width, height], wide, size)
    assert np.allclose(fitted, [[0, 0, 50, 20]])


@pytest.mark.parametrize("size", [(20, 60), (44, 100), (50, 50), (9, 17)])
def test_another_shape_is_an_error(wide: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DataProblems, match=rf"a\.xml: it is for {size[1]} by {size[0]} pixels.*the shapes differ"):
        fit([1.0, 1.0, 4.0, 4.0], wide, size)


def test_boxes_beyond_the_stated_size_are_an_error(wide: Path) -> None:
    with pytest.raises(DataProblems, match=r"its boxes reach 40 18, beyond the size that it states"):
        fit([1.0, 1.0, 40.0, 18.0], wide, (10, 25))


def test_an_image_on_its_side_is_an_error(wide: Path) -> None:
    with pytest.raises(
        DataProblems, match=r"it is for 20 by 50 pixels, .*: its boxes were drawn on the image before EXIF turned it"
    ):
        fit([1.0, 2.0, 3.0, 4.0], wide, (50, 20))


def test_shares_are_turned_to_pixels_and_said(wide: Path) -> None:
    fitted, notes = fit([0.1, 0.25, 0.5, 1.0], wide, (20, 50))
    assert fitted == [[5, 5, 25, 20]]
    assert notes == ["all 1 boxes are shares in 0..1 of the images' sides and were turned to pixels"]


@pytest.mark.parametrize(
    ("share", "pixels"),
    [(0.333333, 10), (0.333666, 10), (0.33367, 30 * 0.33367), (0.349667, 30 * 0.349667), (0.36635, 11)],
)
def test_shares_that_are_whole_pixels_but_for_rounding_are_whole(tmp_path: Path, share: float, pixels: float) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30, 3), np.uint8))
    fitted, _ = fit([0.0, 0.0, share, 0.5], tmp_path / "a.png")
    assert fitted == [[0, 0, pixels, 10]]


def test_one_box_beyond_1_keeps_all_in_pixels(wide: Path) -> None:
    boxes = [np.array([[0.1, 0.25, 0.5, 1.0]]), np.array([[0.0, 0.0, 2.0, 1.0]])]
    fitted, notes = fit_objects(boxes, [wide, wide], [objects(), objects()])
    assert fitted[0].tolist() == [[0.1, 0.25, 0.5, 1.0]]
    assert notes == []


def test_percent_is_turned_to_pixels_where_there_is_no_doubt(tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    cv2.imwrite(str(file), np.zeros((200, 400, 3), np.uint8))
    boxes = np.array([[10.0 * step, 10.0 * step, 10.0 * step + 10, 10.0 * step + 10] for step in range(10)])
    (fitted,), notes = fit_objects([boxes], [file], [objects()])
    assert fitted[:2].tolist() == [[0, 0, 40, 20], [40, 20, 80, 40]]
    assert notes == ["all 10 boxes are in percent of the images' sides and were turned to pixels"]
    with pytest.raises(ValueError, match=r"all 9 boxes .* may be in percent; say .*: datamodule\.units=pixels or perc"):
        fit_objects([boxes[:9]], [file], [objects()])
    (fitted,), _ = fit_objects([boxes[:9]], [file], [objects()], "pixels")
    assert fitted.tolist() == boxes[:9].tolist()


@pytest.mark.parametrize(
    ("boxes", "size", "units"),
    [
        ([[0, 0, 100.5, 50]] * 10, (300, 300), "pixels"),
        ([[0, 0, 90, 90]] * 10, (199, 300), "pixels"),
        ([[0, 0, 90, 90]] * 10, (200, 300), "percent"),
        ([[0, 0, 90, 90]] * 10, (0, 0), "pixels"),
        ([[0.5, 0, 1.005, 1]], (0, 0), "fractions"),
        ([[-0.5, 0, 1, 1]], (9, 9), "pixels"),
    ],
)
def test_units(boxes: list[list[float]], size: tuple[int, int], units: str) -> None:
    assert recognised_units(np.array(boxes, np.float64), np.array([size])) == units


def test_a_pixel_or_a_whole_image_must_be_said() -> None:
    with pytest.raises(ValueError, match=r"all 2 boxes are 0 0 1 1, .*datamodule\.units=pixels or fractions"):
        recognised_units(np.array([[0.0, 0, 1, 1]] * 2), np.array([[9, 9]]))

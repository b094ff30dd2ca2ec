import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from camloc.export.localize import largest_component_box, load, localize, read
from camloc.localization.threshold_sweep import largest_component_boxes

CARD: dict[str, Any] = {
    "window": "warp",
    "input_size": 4,
    "least_probability": 0.0,
    "objectless": [],
    "cam_threshold": 0.5,
    "class_names": ["red", "green", "blue"],
}


def outputs(images: NDArray[np.uint8]) -> tuple[NDArray[Any], ...]:
    """Class 2, then class 0, each with a map of 4 x 4 whose box is (1, 0, 3, 2)."""
    assert images.shape[:2] == (1, 3)
    score_map = np.zeros((4, 4), np.float32)
    score_map[0:2, 1:3] = 1
    return np.array([[0.3, 0.1, 0.6]], np.float32), np.array([[2, 0]]), np.stack([score_map] * 2)[None]


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("levels", [2, 3, 256])  # few levels: many components of equal area
def test_the_box_is_that_of_an_evaluation(threshold: float, levels: int) -> None:
    generator = np.random.default_rng(levels)
    shapes = [(1, 1), (1, 9), (7, 1), (5, 6), (23, 31), (24, 24)]
    for shape in shapes * 10:
        score_map = (generator.integers(0, levels, shape) / max(1, levels - 1)).astype(np.float32)
        score_map *= generator.random(shape) < 0.6
        expected = largest_component_boxes(torch.from_numpy(score_map)[None], [threshold])[0, 0].tolist()
        assert largest_component_box(score_map, threshold) == expected


def test_a_long_component_is_one() -> None:
    spiral = np.zeros((31, 31), np.float32)
    spiral[::2] = 1
    spiral[1::4, -1] = spiral[3::4, 0] = 1  # to and fro, from the first row to the last
    assert largest_component_box(spiral, 0.5) == [0, 0, 31, 31]


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0])
def test_a_map_that_says_nothing_has_no_box(value: float) -> None:
    assert largest_component_box(np.full((3, 3), value, np.float32), 0.2) == [0, 0, 0, 0]


def test_boxes_are_carried_to_the_image() -> None:
    found = localize(outputs, CARD, np.zeros((8, 20, 3), np.uint8))
    assert [(one["class"], one["box"]) for one in found] == [("blue", [5, 0, 15, 4]), ("red", [5, 0, 15, 4])]
    assert [one["probability"] for one in found] == pytest.approx([0.6, 0.3])


def test_a_centre_crop_is_cut_out_and_carried_back() -> None:
    seen = []

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[Any], ...]:
        seen.append(images)
        return outputs(images)

    image = np.arange(256 * 320 * 3).reshape(256, 320, 3).astype(np.uint8)
    found = localize(run, {**CARD, "window": "centre_crop"}, image)
    assert np.array_equal(seen[0][0], image[16:240, 48:272].transpose(2, 0, 1))
    assert found[0]["box"] == [48 + 56, 16, 48 + 168, 16 + 112]


def test_what_is_not_found_and_what_has_no_object_gives_no_box() -> None:
    card = {**CARD, "least_probability": 0.5, "objectless": [2]}
    (found,) = localize(outputs, card, np.zeros((4, 4, 3), np.uint8))
    assert (found["class"], found["box"]) == ("blue", None)


@pytest.mark.parametrize(
    ("kind", "name", "mode"),
    [(np.uint16, "a.png", "I;16"), (np.int32, "a.tif", "I"), (np.float32, "a.tif", "F"), (">u2", "a.tif", "I;16B")],
)
def test_images_of_more_than_8_bits_are_refused(kind: Any, name: str, mode: str, tmp_path: Path) -> None:  # noqa: ANN401 - a type of NumPy
    pixels = np.full((2, 3), 4000, kind)
    image = Image.frombytes("I;16B", (3, 2), pixels.tobytes()) if mode == "I;16B" else Image.fromarray(pixels)
    image.save(tmp_path / name)
    with pytest.raises(SystemExit) as ended:
        read(str(tmp_path / name))
    assert str(ended.value.code) == f"{tmp_path / name}: mode {mode} has more than 8 bits; convert it to 8 bits first"


def test_an_image_of_8_bits_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.array([[7, 200, 3]], np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert read(str(tmp_path / "a.png"))[..., 0].tolist() == [[7], [200], [3]]


def test_without_onnxruntime_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="onnxruntime"):
        load(tmp_path)

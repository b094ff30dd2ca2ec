import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from camloc.data.annotations.image_masks import ImageMaskFiles
from camloc.data.annotations.mask_images import MaskReader, read_mask


def write(path: Path, mask: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), mask.astype(np.uint8))
    return path


def test_pixels_that_touch_at_a_corner_are_one_piece(tmp_path: Path) -> None:
    mask = np.zeros((6, 8))
    mask[0, 0], mask[1, 1] = 1, 255
    mask[4:6, 5:8] = 7
    files = ImageMaskFiles([write(tmp_path / "1.png", mask)], MaskReader())
    assert files.boxes(0, (6, 8)).tolist() == [[0, 0, 2, 2], [5, 4, 8, 6]]
    found = files.read(0, (6, 8))
    assert found is not None
    drawn, ignore = found
    assert torch.equal(drawn, torch.from_numpy(mask > 0))
    assert not ignore.any()


def test_a_ring_has_the_box_of_its_outside(tmp_path: Path) -> None:
    mask = np.zeros((5, 5))
    mask[1:4, 1:4] = 255
    mask[2, 2] = 0
    assert ImageMaskFiles([write(tmp_path / "1.png", mask)], MaskReader()).boxes(0, None).tolist() == [[1, 1, 4, 4]]


def test_an_empty_mask_and_a_missing_one_have_no_box(tmp_path: Path) -> None:
    files = ImageMaskFiles([write(tmp_path / "1.png", np.zeros((4, 4))), None], MaskReader())
    for index in (0, 1):
        assert files.boxes(index, (4, 4)).shape == (0, 4)
    empty = files.read(0, (4, 4))
    assert empty is not None
    assert not empty[0].any()
    assert files.read(1, (4, 4)) is None


@pytest.mark.parametrize("raw", [b"", b"no image"])
def test_a_mask_that_cannot_be_read_is_named_when_it_is_read(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "1_mask.png"
    path.write_bytes(raw)
    files = ImageMaskFiles([path], MaskReader())
    with pytest.raises(ValueError, match=r"cannot read the mask .*1_mask\.png"):
        files.boxes(0, (4, 4))
    with pytest.raises(ValueError, match=r"cannot read the mask .*1_mask\.png"):
        files.read(0, (4, 4))


def test_loader_workers_may_be_sent_the_files_which_are_read_there(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    sent = pickle.dumps(ImageMaskFiles([path], MaskReader()))
    write(path, np.ones((3, 4)))
    assert pickle.loads(sent).boxes(0, (3, 4)).tolist() == [[0, 0, 4, 3]]  # noqa: S301 - our own bytes


INSIDE = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)


def palette(colours: list[int], background: int = 0) -> Image.Image:
    image = Image.fromarray(np.where(INSIDE, 1 - background, background).astype(np.uint8), "P")
    image.putpalette(colours)
    return image


def rgba(colour: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([colour, colour, colour, alpha]).astype(np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(INSIDE),
        Image.fromarray(INSIDE.astype(np.uint8)),
        Image.fromarray(INSIDE.astype(np.uint16) * 3),
        Image.fromarray(INSIDE.astype(np.int32) * 70_000),
        palette([0, 0, 0, 0, 0, 0]),
        palette([255, 255, 255, 9, 9, 9]),
        Image.fromarray(np.dstack([0 * INSIDE, 0 * INSIDE, INSIDE]).astype(np.uint8)),
        rgba(np.full((2, 3), 255), 255 * INSIDE),
        rgba(np.zeros((2, 3)), 255 * INSIDE),
        rgba(255 * INSIDE, np.full((2, 3), 255)),
    ],
    ids=[
        "bilevel",
        "8-bit",
        "16-bit",
        "32-bit",
        "black-palette",
        "white-background",
        "colour",
        "white-alpha",
        "black-alpha",
        "opaque",
    ],
)
def test_what_is_inside_does_not_depend_on_how_a_level_is_shown(image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "1.tif" if image.mode == "I" else tmp_path / "1.png")
    assert read_mask(next(tmp_path.iterdir())).tolist() == INSIDE.astype(int).tolist()


@pytest.mark.parametrize(("size", "fits"), [((4, 6), True), ((40, 60), True), ((400, 601), True), ((6, 4), False)])
def test_a_mask_of_another_shape_than_its_image_is_refused(size: tuple[int, int], fits: bool, tmp_path: Path) -> None:
    files = ImageMaskFiles([write(tmp_path / "1.png", np.ones((4, 6)))], MaskReader())
    if fits:
        assert files.boxes(0, size).tolist() == [[0, 0, size[1], size[0]]]
        return
    with pytest.raises(ValueError, match=r"1\.png is 6 by 4 pixels and its image, as it is shown, 4 by 6: .*turned it"):
        files.boxes(0, size)


@pytest.mark.parametrize(
    ("levels", "inside"),
    [
        ([0, 1, 2, 253, 254, 255], [0, 0, 0, 1, 1, 1]),
        ([0, 1, 2, 3, 200, 255], [0, 1, 1, 1, 1, 1]),
        ([0, 1, 2, 3, 4, 255], [0, 1, 1, 1, 1, 1]),
        ([0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1]),
        ([0, 0, 128, 128, 0, 128], [0, 0, 1, 1, 0, 1]),
        (list(range(30)), [0] + [1] * 29),
        ([*range(0, 256, 8), *[255] * 40], [0] * 16 + [1] * 56),
    ],
)
def test_levels_beside_black_and_white_are_cut_at_half_and_label_maps_are_not(
    levels: list[int], inside: list[int], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.array([levels], np.uint8))
    reader = MaskReader()
    assert reader.read(tmp_path / "1.png").tolist() == [inside]
    was_cut = inside != [int(level > 0) for level in levels]
    cut = f"1 masks have levels between black and white and were cut at half, first {tmp_path / '1.png'}"
    assert reader.notes() == [cut] * was_cut
    assert reader.notes() == []


def test_a_mask_that_is_neither_a_label_map_nor_black_and_white_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.array([range(0, 200, 5)], np.uint8))
    with pytest.raises(ValueError, match=r"1\.png has 40 grey levels, more than a label map"):
        MaskReader().read(tmp_path / "1.png")

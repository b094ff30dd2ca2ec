import io
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from camloc.data.annotations.mask_files import (
    ImageMasks,
    InstanceMasks,
    mask_split,
    read_levels,
    refuse_missing,
    tight_box,
)

IMAGES = np.array([b"1.jpg", b"2.jpg"])
LEVELS = {
    "1_a": [[255, 255, 0, 0], [0, 0, 0, 0]],
    "1_b": [[0, 1, 0, 0], [0, 0, 0, 1]],
    "1_ignore": [[255, 255, 255, 0], [0, 0, 0, 0]],
    "2_a": [[0, 0, 0, 0], [0, 0, 0, 200]],
}


def write(path: Path, levels: list[list[int]] | NDArray[np.uint8]) -> None:
    assert cv2.imwrite(str(path), np.array(levels, dtype=np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of 2x4 pixels: one with overlapping instances and an ignored row, one with one instance."""
    for name in IMAGES:
        write(tmp_path / name.decode(), [[90, 90, 90, 90], [90, 90, 90, 90]])
    for name, levels in LEVELS.items():
        write(tmp_path / f"{name}.png", levels)
    return tmp_path


def objects_in(root: Path, named_in: str = "list.txt names; see datamodule.masks") -> InstanceMasks:
    files = np.array([b"1_a.png", b"1_b.png", b"2_a.png"])
    return InstanceMasks(root, files, np.array([0, 2, 3]), np.array([b"1_ignore.png", b""]), named_in)


def test_instances_are_united_and_each_has_its_box(root: Path) -> None:
    split = mask_split(root, IMAGES, [3, 0], objects_in(root))
    masks = split.masks(0)
    assert masks is not None
    assert masks[0][0].tolist() == [[True, True, False, False], [False, False, False, True]]
    assert masks[1][0].tolist() == [[False, False, True, False], [False, False, False, False]]
    assert (masks[0][0].dtype, masks[1][0].dtype) == (torch.bool, torch.bool)
    assert split.gt_boxes(0)[0].tolist() == [[0, 0, 2, 1], [1, 0, 4, 2]]
    assert split.gt_boxes(1)[0].tolist() == [[3, 1, 4, 2]]
    assert split.gt_boxes(1)[0].dtype == torch.float32
    assert [split.target(i) for i in range(2)] == [3, 0]


def test_masks_of_another_size_are_in_pixels_of_the_image(root: Path) -> None:
    # Three times as high and twice as wide as the mask.
    write(root / "2.jpg", np.zeros((6, 8), dtype=np.uint8))
    split = mask_split(root, IMAGES, [0, 0], objects_in(root))
    masks = split.masks(1)
    assert masks is not None
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[3:, 6:] = True
    assert torch.equal(masks[0][0], expected)
    assert split.gt_boxes(1)[0].tolist() == [[6, 3, 8, 6]]


def test_an_object_too_small_for_the_image_keeps_its_box(root: Path) -> None:
    levels = np.zeros((4, 8), dtype=np.uint8)
    levels[1, 3] = 255
    write(root / "2_a.png", levels)
    split = mask_split(root, IMAGES, [0, 0], objects_in(root))
    masks = split.masks(1)
    assert masks is not None
    assert not masks[0][0].any()
    assert split.gt_boxes(1)[0].tolist() == [[1.5, 0.5, 2, 1]]


def test_masks_fit_an_image_that_was_taken_rotated(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    Image.new("L", (2, 4)).save(root / "2.jpg", "JPEG", exif=exif)
    split = mask_split(root, IMAGES, [0, 0], objects_in(root))
    masks = split.masks(1)
    assert masks is not None
    assert split.image(1).shape[1:] == masks[0][0].shape == (2, 4)
    assert split.gt_boxes(1)[0].tolist() == [[3, 1, 4, 2]]


def test_empty_masks_have_no_box(root: Path) -> None:
    for name in ("1_a", "2_a"):
        write(root / f"{name}.png", np.zeros((2, 4), dtype=np.uint8))
    split = mask_split(root, IMAGES, [0, 0], objects_in(root))
    assert split.gt_boxes(0)[0].tolist() == [[1, 0, 4, 2]]
    assert split.gt_boxes(1)[0].shape == (0, 4)


def test_mask_callables_survive_pickling(root: Path) -> None:
    masks = ImageMasks(root, IMAGES, objects_in(root))
    copy = pickle.loads(pickle.dumps(masks))  # noqa: S301 # our own bytes
    for index in range(2):
        copied, original = copy(index), masks(index)
        assert copied is not None
        assert original is not None
        assert all(torch.equal(a, b) for a, b in zip(copied, original, strict=True))
        assert copied[0].any()


def test_an_image_that_cannot_be_read_leaves_the_split_usable(root: Path) -> None:
    (root / "1.jpg").write_bytes(b"no image")
    split = mask_split(root, IMAGES, [0, 0], objects_in(root))
    assert split.gt_boxes(0)[0].tolist() == [[0, 0, 2, 1], [1, 0, 4, 2]]
    for read in (split.image, split.masks):
        with pytest.raises(ValueError, match=rf"cannot read the image {root}/1\.jpg"):
            read(0)


def test_broken_mask_files_are_named_when_the_split_is_made(root: Path) -> None:
    file = root / "2_a.png"
    for broken in (b"", b"no mask", file.read_bytes()[:-20]):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=rf"cannot read the mask {file}: it is cut off"):
            mask_split(root, IMAGES, [0, 0], objects_in(root))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no mask {file}, which list\.txt names; see datamodule\.masks"):
        mask_split(root, IMAGES, [0, 0], objects_in(root))


def test_a_missing_ignore_file_is_named_when_it_is_read(root: Path) -> None:
    (root / "1_ignore.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"no mask {root}/1_ignore\.png, which list\.txt names"):
        mask_split(root, IMAGES, [0, 0], objects_in(root)).masks(0)


def test_many_boxes_are_found_under_a_progress_bar(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camloc.data.annotations.mask_files.SHOW_PROGRESS_FROM", 2)
    split = mask_split(root, IMAGES, [0, 0], objects_in(root))
    assert [split.gt_boxes(i)[0].tolist() for i in range(2)] == [[[0, 0, 2, 1], [1, 0, 4, 2]], [[3, 1, 4, 2]]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_masks_may_be_of_any_kind_of_png(tmp_path: Path, mode: str) -> None:
    levels = np.array([[0, 255], [0, 0]], dtype=np.uint8)
    image = Image.fromarray(levels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(levels)
    buffer = io.BytesIO()
    (image if mode == "I;16" else image.convert(mode)).save(buffer, "PNG")
    (tmp_path / "m.png").write_bytes(buffer.getvalue())
    assert read_levels(tmp_path / "m.png", "list names").tolist() == levels.tolist()


@given(
    levels=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 0, 1, 9]))
)
def test_a_box_is_the_smallest_that_holds_all_pixels(levels: NDArray[np.uint8]) -> None:
    pixels = torch.from_numpy(levels).nonzero()
    box = tight_box(levels)
    if len(pixels) == 0:
        assert box.shape == (0, 4)
    else:
        (y0, x0), (y1, x1) = pixels.amin(dim=0).tolist(), pixels.amax(dim=0).tolist()
        assert box.tolist() == [[x0, y0, x1 + 1, y1 + 1]]


def test_missing_files_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    refuse_missing(tmp_path, np.array([b"a.png", b""]), "list.txt names")
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path} lacks 2 of 3 files, b\.png, which list\.txt names"):
        refuse_missing(tmp_path, np.array([b"a.png", b"b.png", b"", b"c.png"]), "list.txt names")

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from camloc.data.annotations.picture_masks import PictureMaskFiles


def write(path: Path, mask: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), mask.astype(np.uint8))
    return path


def test_pixels_that_touch_at_a_corner_are_one_piece(tmp_path: Path) -> None:
    mask = np.zeros((6, 8))
    mask[0, 0], mask[1, 1] = 1, 255
    mask[4:6, 5:8] = 7
    files = PictureMaskFiles([write(tmp_path / "1.png", mask)])
    assert files.boxes(0, (6, 8)).tolist() == [[0, 0, 2, 2], [5, 4, 8, 6]]
    drawn, ignore = files.read(0, (6, 8))
    assert torch.equal(drawn, torch.from_numpy(mask > 0))
    assert not ignore.any()


def test_a_ring_has_the_box_of_its_outside(tmp_path: Path) -> None:
    mask = np.zeros((5, 5))
    mask[1:4, 1:4] = 255
    mask[2, 2] = 0
    assert PictureMaskFiles([write(tmp_path / "1.png", mask)]).boxes(0, None).tolist() == [[1, 1, 4, 4]]


def test_an_empty_mask_and_a_missing_one_have_no_box(tmp_path: Path) -> None:
    files = PictureMaskFiles([write(tmp_path / "1.png", np.zeros((4, 4))), None])
    for index in (0, 1):
        assert files.boxes(index, (4, 4)).shape == (0, 4)
        assert not files.read(index, (4, 4))[0].any()


@pytest.mark.parametrize("raw", [b"", b"no picture"])
def test_a_mask_that_cannot_be_read_is_named_when_it_is_read(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "1_mask.png"
    path.write_bytes(raw)
    files = PictureMaskFiles([path])
    with pytest.raises(ValueError, match=r"cannot read the mask .*1_mask\.png"):
        files.boxes(0, (4, 4))
    with pytest.raises(ValueError, match=r"cannot read the mask .*1_mask\.png"):
        files.read(0, (4, 4))


def test_loader_workers_may_be_sent_the_files_which_are_read_there(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    sent = pickle.dumps(PictureMaskFiles([path]))
    write(path, np.ones((3, 4)))
    assert pickle.loads(sent).boxes(0, (3, 4)).tolist() == [[0, 0, 4, 3]]  # noqa: S301 - our own bytes

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from camloc.report.rgb import BACKGROUND, RGB, as_rgb, contact_sheet, save_png


def read_png(path: Path) -> RGB:
    """Read with another library than the one that writes."""
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return bgr[..., ::-1].astype(np.uint8)


class TestAsRgb:
    def test_channels_go_last_and_pixels_stay(self) -> None:
        image = torch.arange(3 * 2 * 4, dtype=torch.uint8).reshape(3, 2, 4)
        rgb = as_rgb(image)
        assert rgb.shape == (2, 4, 3)
        assert rgb[1, 3].tolist() == [7, 15, 23]

    @pytest.mark.parametrize(
        "image",
        [torch.zeros(3, 4, 6), torch.zeros(1, 4, 6, dtype=torch.uint8), torch.zeros(4, 6, 3, dtype=torch.uint8)],
        ids=["float", "one channel", "channels last"],
    )
    def test_an_image_of_another_layout_is_refused(self, image: Tensor) -> None:
        with pytest.raises(ValueError, match=r"must be \(3,H,W\) uint8"):
            as_rgb(image)


class TestContactSheet:
    def test_tiles_of_different_sizes_form_a_grid(self) -> None:
        sizes = [(10, 20), (30, 5), (4, 4)]
        tiles = [np.full((*size, 3), value, dtype=np.uint8) for size, value in zip(sizes, (100, 150, 200), strict=True)]
        sheet = contact_sheet(tiles, columns=2)
        expected = np.full((30 + 8 + 4, 20 + 8 + 5, 3), BACKGROUND, dtype=np.uint8)
        expected[0:10, 0:20] = 100
        expected[0:30, 28:33] = 150
        expected[38:42, 0:4] = 200
        np.testing.assert_array_equal(sheet, expected)

    def test_fewer_tiles_than_columns_leave_no_empty_column(self) -> None:
        assert contact_sheet([np.zeros((3, 4, 3), np.uint8)], columns=5).shape == (3, 4, 3)

    @pytest.mark.parametrize(("count", "columns"), [(0, 2), (2, 0), (2, -1)])
    def test_nothing_to_lay_out_is_refused(self, count: int, columns: int) -> None:
        with pytest.raises(ValueError, match=f"{count} tiles in {columns} columns"):
            contact_sheet([np.zeros((3, 4, 3), np.uint8)] * count, columns)


class TestSavePng:
    def test_another_reader_sees_the_same_pixels(self, tmp_path: Path) -> None:
        rgb = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
        save_png(tmp_path / "new" / "image.png", rgb)
        np.testing.assert_array_equal(read_png(tmp_path / "new" / "image.png"), rgb)

    @pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4)])
    def test_another_shape_is_refused(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"image\.png.*\(H,W,3\) uint8"):
            save_png(tmp_path / "image.png", np.zeros(shape, np.uint8))

    def test_another_type_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="float64"):
            save_png(tmp_path / "image.png", np.zeros((3, 5, 3)))  # type: ignore[arg-type] # the mistake

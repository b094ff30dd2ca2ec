import math
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import Tensor

from camloc.report import drawing
from camloc.report.drawing import RGB

NO_BOX = torch.zeros(4)
NO_GT_BOXES = torch.zeros(0, 4)
STRIP_HEIGHT = 3 * 27 + 10
GRAY = 90


def gray_image(height: int, width: int) -> Tensor:
    return torch.full((3, height, width), GRAY, dtype=torch.uint8)


def tile_of(
    image: Tensor,
    gt_boxes: Tensor = NO_GT_BOXES,
    predicted_box: Tensor = NO_BOX,
    true_class: str = "tench",
    predicted_class: str = "tench",
    iou: float = 1.0,
) -> RGB:
    return drawing.gallery_tile(
        image,
        torch.zeros(image.shape[1:]),
        gt_boxes,
        predicted_box,
        true_class=true_class,
        predicted_class=predicted_class,
        iou=iou,
    )


def has_colour(rgb: RGB, colour: tuple[int, int, int]) -> bool:
    return bool((rgb == np.array(colour)).all(axis=-1).any())


def read_png(path: Path) -> RGB:
    """Read with another library than the one that writes."""
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return bgr[..., ::-1].astype(np.uint8)


class TestOverlayHeatmap:
    def test_hot_is_brighter_than_cold_by_the_colours_of_inferno(self) -> None:
        image = torch.full((3, 1, 2), 200, dtype=torch.uint8)
        heatmap = drawing.overlay_heatmap(image, torch.tensor([[0.0, 1.0]]))
        # inferno runs from (0, 0, 3) to (252, 254, 164)
        assert heatmap.tolist() == [[[100, 100, 101], [226, 227, 182]]]
        assert heatmap.dtype == np.uint8

    @given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 255))
    def test_brightness_never_falls_as_the_score_rises(self, a: float, b: float, gray: int) -> None:
        image = torch.full((3, 1, 2), gray, dtype=torch.uint8)
        cold, hot = drawing.overlay_heatmap(image, torch.tensor([[min(a, b), max(a, b)]])).astype(int)[0]
        luma = np.array([0.299, 0.587, 0.114])
        assert hot @ luma >= cold @ luma - 1  # both were rounded to whole colours

    def test_all_colour_is_score(self) -> None:
        # (255, 0, 0) and (76, 76, 76) have one luma, so one map looks the same on both.
        red, gray = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.full((3, 2, 2), 76, dtype=torch.uint8)
        red[0] = 255
        score_map = torch.tensor([[0.0, 0.3], [0.6, 1.0]])
        heatmap = drawing.overlay_heatmap(red, score_map)
        np.testing.assert_array_equal(heatmap, drawing.overlay_heatmap(gray, score_map))

    def test_rows_and_columns_keep_their_places(self) -> None:
        score_map = torch.zeros(4, 6)
        score_map[1, 5] = 1
        heatmap = drawing.overlay_heatmap(gray_image(4, 6), score_map)
        assert heatmap.shape == (4, 6, 3)
        assert heatmap[..., 0].argmax() == 1 * 6 + 5

    def test_nan_draws_and_a_map_with_gradient_draws(self) -> None:
        score_map = torch.tensor([[math.nan, 1.0]], requires_grad=True)
        assert drawing.overlay_heatmap(gray_image(1, 2), score_map)[0, 0].tolist() == [45, 45, 45]

    @pytest.mark.parametrize(
        "image",
        [torch.zeros(3, 4, 6), torch.zeros(1, 4, 6, dtype=torch.uint8), torch.zeros(4, 6, 3, dtype=torch.uint8)],
        ids=["float", "one channel", "channels last"],
    )
    def test_an_image_of_another_kind_is_refused(self, image: Tensor) -> None:
        with pytest.raises(ValueError, match=r"\(3,H,W\) uint8"):
            drawing.overlay_heatmap(image, torch.zeros(4, 6))

    def test_a_map_of_another_size_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(2, 3\).*\(4, 6\)"):
            drawing.overlay_heatmap(gray_image(4, 6), torch.zeros(2, 3))


class TestGalleryTile:
    def test_true_box_covers_exactly_its_half_open_pixels(self) -> None:
        # 64 px are drawn as 256: x 8..40 becomes columns 32..159, y 16..48 rows 64..191.
        tile = tile_of(gray_image(64, 64), torch.tensor([[8.0, 16.0, 40.0, 48.0]]))
        coloured = (tile[:256, :256] == drawing.GREEN).all(axis=-1)
        rows, columns = np.nonzero(coloured)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (64, 191, 32, 159)
        # three pixels of colour, one of black, then the image
        assert coloured[64:67, 32:160].all()
        assert coloured[189:192, 32:160].all()
        assert tile[67, 100].tolist() == [0, 0, 0]
        assert tile[68, 100].tolist() == [GRAY] * 3

    def test_the_last_pixel_of_an_image_belongs_to_a_box_that_ends_there(self) -> None:
        tile = tile_of(gray_image(64, 64), torch.tensor([[0.0, 0.0, 64.0, 64.0]]))
        for row, column in ((0, 0), (0, 255), (255, 0), (255, 255)):
            assert tuple(tile[row, column]) == drawing.GREEN
        assert not has_colour(tile[256:264], drawing.GREEN)
        assert not has_colour(tile[:256, 256:264], drawing.GREEN)

    def test_the_heatmap_beside_carries_the_same_boxes(self) -> None:
        boxes = torch.tensor([[8.0, 16.0, 40.0, 48.0]])
        tile = tile_of(gray_image(64, 64), boxes, torch.tensor([4.0, 4.0, 60.0, 60.0]))
        for colour in (drawing.GREEN, drawing.VERMILLION):
            image, heatmap = ((tile[:256, left : left + 256] == colour).all(axis=-1) for left in (0, 264))
            np.testing.assert_array_equal(image, heatmap)
            assert image.any()

    def test_predicted_box_is_dashed_twelve_on_six_off(self) -> None:
        tile = tile_of(gray_image(64, 64), predicted_box=torch.tensor([8.0, 16.0, 40.0, 48.0]))
        assert (tile[64, 32:44] == drawing.VERMILLION).all()
        assert (tile[64, 44:50] == GRAY).all()
        assert (tile[64, 50:62] == drawing.VERMILLION).all()
        assert (tile[70:76, 32] == drawing.VERMILLION).all()
        assert (tile[76:82, 32] == GRAY).all()
        assert not has_colour(tile[:256], drawing.GREEN)

    def test_both_boxes_show_where_they_coincide(self) -> None:
        box = torch.tensor([8.0, 16.0, 40.0, 48.0])
        edge = tile_of(gray_image(64, 64), box[None], box)[64:65, 32:160]
        assert has_colour(edge, drawing.GREEN)
        assert has_colour(edge, drawing.VERMILLION)

    def test_an_empty_box_draws_nothing(self) -> None:
        tile = tile_of(gray_image(64, 64), iou=0.0)
        assert (tile[:256, :256] == GRAY).all()

    def test_wider_than_high_keeps_x_and_y_apart(self) -> None:
        # 128 x 256 is drawn at its own size.
        tile = tile_of(gray_image(128, 256), torch.tensor([[200.0, 10.0, 240.0, 100.0]]))
        rows, columns = np.nonzero((tile[:128, :256] == drawing.GREEN).all(axis=-1))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 99, 200, 239)
        assert tile.shape == (128 + 8 + STRIP_HEIGHT, 520, 3)

    def test_a_high_image_stands_in_the_middle_of_its_half(self) -> None:
        tile = tile_of(gray_image(256, 128))
        expected = [drawing.BACKGROUND] * 64 + [(GRAY,) * 3] * 128 + [drawing.BACKGROUND] * 64
        assert [tuple(pixel) for pixel in tile[100, :256].tolist()] == expected

    def test_the_heatmap_goes_under_a_wide_image(self) -> None:
        # 300 x 1000 is drawn 156 x 520
        tile = tile_of(gray_image(300, 1000), torch.tensor([[0.0, 0.0, 1000.0, 300.0]]))
        assert tile.shape == (156 + 8 + 156 + 8 + STRIP_HEIGHT, 520, 3)
        for row in (0, 155, 164, 164 + 155):
            assert (tile[row] == drawing.GREEN).all()

    @pytest.mark.parametrize("size", [(1, 1), (64, 64), (20, 5000), (5000, 20), (2, 3)])
    def test_any_size_makes_a_tile_of_one_width(self, size: tuple[int, int]) -> None:
        whole = torch.tensor([[0, 0, size[1], size[0]]])
        tile = tile_of(gray_image(*size), whole, whole[0])
        assert tile.dtype == np.uint8
        assert tile.shape[1] == 520
        panels = tile[: -STRIP_HEIGHT - 8]
        assert has_colour(panels, drawing.GREEN)
        assert has_colour(panels, drawing.VERMILLION)

    def test_a_thin_image_is_stretched_until_it_shows(self) -> None:
        # 20 x 5000 would be 2 x 520
        assert tile_of(gray_image(20, 5000)).shape == (24 + 8 + 24 + 8 + STRIP_HEIGHT, 520, 3)
        assert (tile_of(gray_image(5000, 20))[100, 116:140] == GRAY).all()

    def test_inputs_are_left_alone(self) -> None:
        image, score_map = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8), torch.rand(256, 256)
        gt_boxes, predicted_box = torch.tensor([[5.0, 5.0, 99.0, 99.0]]), torch.tensor([7.0, 7.0, 50.0, 70.0])
        inputs = (image, score_map, gt_boxes, predicted_box)
        before = [tensor.clone() for tensor in inputs]
        drawing.gallery_tile(*inputs, true_class="a", predicted_class="b", iou=0.3)
        assert all(torch.equal(was, now) for was, now in zip(before, inputs, strict=True))

    @pytest.mark.parametrize(
        ("predicted_class", "iou", "good", "bad"),
        [
            ("tench", 0.5, True, False),
            ("carp", 0.5, True, True),
            ("tench", 0.4999, True, True),
            ("carp", 0.0, False, True),
        ],
    )
    def test_verdicts_are_coloured(self, predicted_class: str, iou: float, good: bool, bad: bool) -> None:
        strip = tile_of(gray_image(64, 64), predicted_class=predicted_class, iou=iou)[-STRIP_HEIGHT:]
        assert has_colour(strip, drawing.GOOD_TEXT) is good
        assert has_colour(strip, drawing.BAD_TEXT) is bad

    def test_long_names_are_shortened_and_leave_the_verdict_room(self) -> None:
        short = tile_of(gray_image(64, 64), predicted_class="carp")
        long = tile_of(gray_image(64, 64), predicted_class="w" * 500)
        longer = tile_of(gray_image(64, 64), predicted_class="w" * 600)
        np.testing.assert_array_equal(long, longer)
        assert (short != long).any()
        np.testing.assert_array_equal(short[:, -150:], long[:, -150:])

    def test_letters_beyond_ascii_are_drawn_as_themselves(self) -> None:
        tiles = [tile_of(gray_image(64, 64), true_class=name) for name in ("ß", "λ", "ж", "é")]
        assert len({tile.tobytes() for tile in tiles}) == 4

    @pytest.mark.parametrize("name", ["", "two\nlines", "\udcff", "\x00", "鳥"])
    def test_odd_names_cost_no_tile(self, name: str) -> None:
        assert tile_of(gray_image(64, 64), true_class=name).shape == (256 + 8 + STRIP_HEIGHT, 520, 3)


class TestGalleryCaption:
    BOX = torch.tensor([0.0, 0.0, 8.0, 8.0])

    def test_right_and_hit(self) -> None:
        assert drawing.gallery_caption("tench", "tench", self.BOX, 0.5) == (
            "true: tench · predicted: tench ✓ right class · IoU 0.50 ✓ GT-known hit at 0.5"
        )

    def test_the_iou_threshold_decides_and_is_named(self) -> None:
        assert drawing.gallery_caption("a", "b", self.BOX, 0.5, 0.7).endswith("IoU 0.50 ✗ GT-known miss at 0.7")
        assert drawing.gallery_caption("a", "b", self.BOX, 0.3, 0.3).endswith("IoU 0.30 ✓ GT-known hit at 0.3")

    def test_no_box_is_said(self) -> None:
        assert drawing.gallery_caption("a", "a", NO_BOX, 0.0).endswith("no box ✗ GT-known miss at 0.5")

    @pytest.mark.parametrize("hundredths", range(101))
    def test_whole_hundredths_are_shown_as_they_are(self, hundredths: int) -> None:
        assert f"IoU {hundredths / 100:.2f} " in drawing.gallery_caption("a", "a", self.BOX, hundredths / 100)

    def test_a_near_miss_does_not_read_as_a_hit(self) -> None:
        assert "IoU 0.49 ✗" in drawing.gallery_caption("a", "a", self.BOX, 0.4999)


class TestContactSheet:
    def test_tiles_of_differing_sizes_stand_in_a_grid(self) -> None:
        sizes = [(10, 20), (30, 5), (4, 4)]
        tiles = [np.full((*size, 3), value, dtype=np.uint8) for size, value in zip(sizes, (100, 150, 200), strict=True)]
        sheet = drawing.contact_sheet(tiles, columns=2)
        expected = np.full((30 + 8 + 4, 20 + 8 + 5, 3), drawing.BACKGROUND, dtype=np.uint8)
        expected[0:10, 0:20] = 100
        expected[0:30, 28:33] = 150
        expected[38:42, 0:4] = 200
        np.testing.assert_array_equal(sheet, expected)

    def test_fewer_tiles_than_columns_leave_no_empty_column(self) -> None:
        assert drawing.contact_sheet([np.zeros((3, 4, 3), np.uint8)], columns=5).shape == (3, 4, 3)

    @pytest.mark.parametrize(("count", "columns"), [(0, 2), (2, 0), (2, -1)])
    def test_nothing_to_lay_out_is_refused(self, count: int, columns: int) -> None:
        with pytest.raises(ValueError, match=f"{count} tiles in {columns} columns"):
            drawing.contact_sheet([np.zeros((3, 4, 3), np.uint8)] * count, columns)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    return figures


class TestThresholdCurve:
    def test_lines_are_percent_over_thresholds(self, saved: list[Figure], tmp_path: Path) -> None:
        curves = {"GT-known at IoU 0.5": [1.0, 0.25], "GT-known at IoU 0.7": torch.tensor([1.0, 0.5]).tolist()}
        drawing.threshold_curve([0.0, 0.2], curves, 0.2, "val", tmp_path / "curve.png")
        (axes,) = saved[0].axes
        first, second, reported = axes.lines
        assert [line.get_label() for line in (first, second)] == list(curves)
        np.testing.assert_array_equal(first.get_xydata(), [[0.0, 100.0], [0.2, 25.0]])
        np.testing.assert_array_equal(second.get_xydata(), [[0.0, 100.0], [0.2, 50.0]])
        np.testing.assert_array_equal(reported.get_xdata(), [0.2, 0.2])
        assert [text.get_text() for text in axes.texts] == ["reported at 0.2 (val)"]
        assert axes.get_ylabel() == "error (%)"
        assert "fraction of the score map's maximum" in axes.get_xlabel()
        assert [text.get_text() for text in saved[0].legends[0].get_texts()] == list(curves)

    def test_an_image_is_written_where_no_folder_was(self, tmp_path: Path) -> None:
        path = tmp_path / "report" / "curve.png"
        drawing.threshold_curve([0.0, 0.5], {"a": [1.0, 0.5]}, 0.95, "oracle", path)
        assert read_png(path).shape == (800, 1280, 3)

    def test_a_curve_of_another_length_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="'b' has 1 errors for 2 thresholds"):
            drawing.threshold_curve([0.0, 0.5], {"a": [1, 1], "b": [1]}, 0.2, "val", tmp_path / "curve.png")

    def test_no_curve_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"curve\.png: no curve"):
            drawing.threshold_curve([0.0, 0.5], {}, 0.2, "val", tmp_path / "curve.png")


class TestTrainingCurve:
    ROWS = ({"epoch": 0, "val/a": 0.5}, {"epoch": 0, "val/b": 0.75}, {"epoch": 1, "val/a": 0.25})

    def test_rows_without_a_key_are_left_out_of_its_line(self, saved: list[Figure], tmp_path: Path) -> None:
        drawing.training_curve(self.ROWS, ["val/a", "val/missing", "val/b"], tmp_path / "curve.png")
        (axes,) = saved[0].axes
        lines = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
        assert lines == {"val/a": [[0.0, 50.0], [1.0, 25.0]], "val/b": [[0.0, 75.0]]}
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "error (%)")

    def test_a_single_epoch_is_drawn(self, tmp_path: Path) -> None:
        drawing.training_curve(self.ROWS[:1], ["val/a"], tmp_path / "curve.png")
        assert read_png(tmp_path / "curve.png").shape == (800, 1280, 3)

    @pytest.mark.parametrize("rows", [[], [{"epoch": 0, "val/other": 0.5}]], ids=["no rows", "other keys"])
    def test_nothing_to_draw_is_refused(self, rows: list[dict[str, float]], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"curve\.png: no curve"):
            drawing.training_curve(rows, ["val/a"], tmp_path / "curve.png")


class TestSavePng:
    def test_another_reader_sees_the_same_pixels(self, tmp_path: Path) -> None:
        rgb = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
        drawing.save_png(tmp_path / "new" / "image.png", rgb)
        np.testing.assert_array_equal(read_png(tmp_path / "new" / "image.png"), rgb)

    @pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4)])
    def test_another_shape_is_refused(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"image\.png.*\(H,W,3\) uint8"):
            drawing.save_png(tmp_path / "image.png", np.zeros(shape, np.uint8))

    def test_another_type_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="float64"):
            drawing.save_png(tmp_path / "image.png", np.zeros((3, 5, 3)))  # type: ignore[arg-type] # the mistake


class TestMissesChart:
    GROUPS, CAUSES = ("under 10%", "10 to 25%", "25 to 50%"), ("hit", "no box", "elsewhere")
    COUNTS = ((1, 2, 1), (0, 0, 0), (1940, 20, 40))

    def test_bars_are_percent_of_their_bin(self, saved: list[Figure], tmp_path: Path) -> None:
        drawing.misses_chart(self.GROUPS, self.CAUSES, self.COUNTS, tmp_path / "misses.png")
        (axes,) = saved[0].axes
        bars = [[(bar.get_x(), bar.get_width()) for bar in bars] for bars in axes.containers]
        assert bars == [
            [(0, 25), (0, 0), (0, 97)],
            [(25, 50), (0, 0), (97, 1)],
            [(75, 25), (0, 0), (98, 2)],
        ]
        # Too narrow a segment has no number in it.
        assert [text.get_text() for text in axes.texts if text.get_text()] == ["25", "97", "50", "25"]
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            "under 10%\n4 images",
            "10 to 25%\n0 images",
            "25 to 50%\n2,000 images",
        ]
        assert axes.yaxis_inverted()
        assert [text.get_text() for text in saved[0].legends[0].get_texts()] == list(self.CAUSES)

    def test_every_cause_has_its_own_colour_in_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "report" / "misses.png"
        causes = [f"cause {index}" for index in range(7)]
        drawing.misses_chart(["all"], causes, [[10] * 7], path)
        image = read_png(path)
        assert image.shape == (800, 1280, 3)
        hexes = [colour.removeprefix("#") for colour, _ in drawing.CAUSE_COLOURS]
        assert len(set(hexes)) == 7
        for digits in hexes:
            red, green, blue = bytes.fromhex(digits)
            assert (image == (red, green, blue)).all(axis=-1).sum() > 2000

    @pytest.mark.parametrize("letters", drawing.CAUSE_COLOURS, ids=lambda pair: pair[0])
    def test_letters_stand_out_from_their_segment(self, letters: tuple[str, str]) -> None:
        def luminance(colour: str) -> float:
            rgb = np.array(mpl.colors.to_rgb(colour))
            linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
            return float(linear @ [0.2126, 0.7152, 0.0722])

        dark, bright = sorted(map(luminance, letters))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.1, contrast of text

    @pytest.mark.parametrize("counts", [[], [[1, 2, 3]], [[1, 2]] * 3])
    def test_counts_that_do_not_fit_are_refused(self, counts: list[list[int]], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"misses\.png: 3 groups and 3 causes"):
            drawing.misses_chart(self.GROUPS, self.CAUSES, counts, tmp_path / "misses.png")

    def test_more_causes_than_colours_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"8 causes \(at most 7\)"):
            drawing.misses_chart(["all"], list("abcdefgh"), [[1] * 8], tmp_path / "misses.png")

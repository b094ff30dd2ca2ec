import numpy as np
import pytest
import torch
from torch import Tensor

from camloc.report.gallery_tile import BAD_TEXT, GOOD_TEXT, GREEN, VERMILLION, gallery_caption, gallery_tile
from camloc.report.rgb import BACKGROUND, RGB

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
    return gallery_tile(
        image,
        torch.zeros(image.shape[1:]),
        gt_boxes,
        predicted_box,
        true_class=true_class,
        predicted_class=predicted_class,
        iou=iou,
        iou_threshold=0.5,
    )


def has_colour(rgb: RGB, colour: tuple[int, int, int]) -> bool:
    return bool((rgb == np.array(colour)).all(axis=-1).any())


class TestGalleryTile:
    def test_true_box_covers_exactly_its_half_open_pixels(self) -> None:
        # 64 px are drawn as 256: x 8..40 becomes columns 32..159, y 16..48 rows 64..191.
        tile = tile_of(gray_image(64, 64), torch.tensor([[8.0, 16.0, 40.0, 48.0]]))
        coloured = (tile[:256, :256] == GREEN).all(axis=-1)
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
            assert tuple(tile[row, column]) == GREEN
        assert not has_colour(tile[256:264], GREEN)
        assert not has_colour(tile[:256, 256:264], GREEN)

    def test_the_heatmap_shows_the_same_boxes(self) -> None:
        boxes = torch.tensor([[8.0, 16.0, 40.0, 48.0]])
        tile = tile_of(gray_image(64, 64), boxes, torch.tensor([4.0, 4.0, 60.0, 60.0]))
        for colour in (GREEN, VERMILLION):
            image, heatmap = ((tile[:256, left : left + 256] == colour).all(axis=-1) for left in (0, 264))
            np.testing.assert_array_equal(image, heatmap)
            assert image.any()

    def test_predicted_box_is_dashed_twelve_on_six_off(self) -> None:
        tile = tile_of(gray_image(64, 64), predicted_box=torch.tensor([8.0, 16.0, 40.0, 48.0]))
        assert (tile[64, 32:44] == VERMILLION).all()
        assert (tile[64, 44:50] == GRAY).all()
        assert (tile[64, 50:62] == VERMILLION).all()
        assert (tile[70:76, 32] == VERMILLION).all()
        assert (tile[76:82, 32] == GRAY).all()
        assert not has_colour(tile[:256], GREEN)

    def test_both_boxes_show_where_they_coincide(self) -> None:
        box = torch.tensor([8.0, 16.0, 40.0, 48.0])
        edge = tile_of(gray_image(64, 64), box[None], box)[64:65, 32:160]
        assert has_colour(edge, GREEN)
        assert has_colour(edge, VERMILLION)

    def test_an_empty_box_draws_nothing(self) -> None:
        tile = tile_of(gray_image(64, 64), iou=0.0)
        assert (tile[:256, :256] == GRAY).all()

    def test_wider_than_high_keeps_x_and_y_apart(self) -> None:
        # 128 x 256 is drawn at its own size.
        tile = tile_of(gray_image(128, 256), torch.tensor([[200.0, 10.0, 240.0, 100.0]]))
        rows, columns = np.nonzero((tile[:128, :256] == GREEN).all(axis=-1))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 99, 200, 239)
        assert tile.shape == (128 + 8 + STRIP_HEIGHT, 520, 3)

    def test_a_high_image_is_centred_in_its_half(self) -> None:
        tile = tile_of(gray_image(256, 128))
        expected = [BACKGROUND] * 64 + [(GRAY,) * 3] * 128 + [BACKGROUND] * 64
        assert [tuple(pixel) for pixel in tile[100, :256].tolist()] == expected

    def test_the_heatmap_goes_under_a_wide_image(self) -> None:
        # 300 x 1000 is drawn 156 x 520
        tile = tile_of(gray_image(300, 1000), torch.tensor([[0.0, 0.0, 1000.0, 300.0]]))
        assert tile.shape == (156 + 8 + 156 + 8 + STRIP_HEIGHT, 520, 3)
        for row in (0, 155, 164, 164 + 155):
            assert (tile[row] == GREEN).all()

    @pytest.mark.parametrize("size", [(1, 1), (64, 64), (20, 5000), (5000, 20), (2, 3)])
    def test_any_size_makes_a_tile_of_one_width(self, size: tuple[int, int]) -> None:
        whole = torch.tensor([[0, 0, size[1], size[0]]])
        tile = tile_of(gray_image(*size), whole, whole[0])
        assert tile.dtype == np.uint8
        assert tile.shape[1] == 520
        panels = tile[: -STRIP_HEIGHT - 8]
        assert has_colour(panels, GREEN)
        assert has_colour(panels, VERMILLION)

    def test_a_thin_image_is_stretched_until_it_shows(self) -> None:
        # 20 x 5000 would be 2 x 520
        assert tile_of(gray_image(20, 5000)).shape == (24 + 8 + 24 + 8 + STRIP_HEIGHT, 520, 3)
        assert (tile_of(gray_image(5000, 20))[100, 116:140] == GRAY).all()

    def test_inputs_are_left_alone(self) -> None:
        image, score_map = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8), torch.rand(256, 256)
        gt_boxes, predicted_box = torch.tensor([[5.0, 5.0, 99.0, 99.0]]), torch.tensor([7.0, 7.0, 50.0, 70.0])
        inputs = (image, score_map, gt_boxes, predicted_box)
        before = [tensor.clone() for tensor in inputs]
        gallery_tile(*inputs, true_class="a", predicted_class="b", iou=0.3, iou_threshold=0.5)
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
        assert has_colour(strip, GOOD_TEXT) is good
        assert has_colour(strip, BAD_TEXT) is bad

    def test_long_names_are_shortened_to_leave_room_for_the_verdict(self) -> None:
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
    def test_odd_names_are_drawn(self, name: str) -> None:
        assert tile_of(gray_image(64, 64), true_class=name).shape == (256 + 8 + STRIP_HEIGHT, 520, 3)


class TestGalleryCaption:
    BOX = torch.tensor([0.0, 0.0, 8.0, 8.0])

    def test_right_and_hit(self) -> None:
        assert gallery_caption("tench", "tench", self.BOX, 0.5, 0.5) == (
            "true: tench · predicted: tench ✓ right class · IoU 0.50 ✓ GT-known hit at 0.5"
        )

    def test_the_iou_threshold_decides_and_is_named(self) -> None:
        assert gallery_caption("a", "b", self.BOX, 0.5, 0.7).endswith("IoU 0.50 ✗ GT-known miss at 0.7")
        assert gallery_caption("a", "b", self.BOX, 0.3, 0.3).endswith("IoU 0.30 ✓ GT-known hit at 0.3")

    def test_a_missing_box_is_reported(self) -> None:
        assert gallery_caption("a", "a", NO_BOX, 0.0, 0.5).endswith("no box ✗ GT-known miss at 0.5")

    @pytest.mark.parametrize("hundredths", range(101))
    def test_whole_hundredths_are_shown_as_they_are(self, hundredths: int) -> None:
        assert f"IoU {hundredths / 100:.2f} " in gallery_caption("a", "a", self.BOX, hundredths / 100, 0.5)

    def test_a_near_miss_is_not_rounded_to_a_hit(self) -> None:
        assert "IoU 0.49 ✗" in gallery_caption("a", "a", self.BOX, 0.4999, 0.5)


def test_a_box_without_a_map_is_drawn_on_the_image_alone() -> None:
    image, box = torch.zeros(3, 64, 64, dtype=torch.uint8), torch.tensor([8.0, 8.0, 40.0, 40.0])

    def drawn(score_map: Tensor | None) -> RGB:
        names = {"true_class": "tench", "predicted_class": "carp"}
        return gallery_tile(image, score_map, box[None], box, **names, iou=1.0, iou_threshold=0.5)

    alone, with_map = drawn(None), drawn(torch.rand(64, 64))
    assert alone.shape == with_map.shape
    left = (520 - 256) // 2
    assert np.array_equal(alone[:256, left : left + 256], with_map[:256, :256])

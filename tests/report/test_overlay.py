"""Overlays: where boxes are drawn, and what is said where there are none."""

import numpy as np
import pytest
import torch

from camloc.localized import LocalizedBox, LocalizedClass, LocalizedImage
from camloc.report.overlay import COLOURS, draw_overlay

GREY = torch.full((3, 300, 400), 128, dtype=torch.uint8)


def test_boxes_are_drawn_in_the_images_own_pixels() -> None:
    one = LocalizedClass(0, "a", 0.9, (LocalizedBox((200.0, 300.0, 600.0, 500.0), 0.9),), None)
    drawn = draw_overlay(GREY, LocalizedImage("x", (600, 800), (one,), window=(0, 0, 800, 600)))
    ours = (drawn == np.array(COLOURS[0])).all(axis=2)
    assert ours[150, 100:299].all()
    assert ours[150:249, 100].all()
    assert ours[249, 100:299].all()
    assert (drawn[180:220, 150:250] == 128).all()
    assert (drawn[:120] == 128).all()


def test_heat_is_where_the_score_is() -> None:
    score_map = np.zeros((2, 2), np.float32)
    score_map[1, 1] = 1
    one = LocalizedClass(0, "a", 0.9, (), None, score_map=score_map)
    drawn = draw_overlay(GREY, LocalizedImage("x", (300, 400), (one,), window=(0, 0, 400, 300)))
    assert drawn[299, 399].tolist() == (0.4 * 128 + 0.6 * np.array(COLOURS[0])).round().tolist()
    assert drawn[200, 20].tolist() == [128] * 3


def test_the_most_probable_class_is_on_top() -> None:
    box = (LocalizedBox((50.0, 50.0, 350.0, 250.0), 0.5),)
    classes = (LocalizedClass(3, "a", 0.6, box), LocalizedClass(1, "b", 0.4, box))
    drawn = draw_overlay(GREY, LocalizedImage("x", (300, 400), classes))
    assert drawn[249, 200].tolist() == list(COLOURS[0])


@pytest.mark.parametrize("classes", [(), (LocalizedClass(0, "a", 0.9, ()),)])
def test_nothing_is_said_too(classes: tuple[LocalizedClass, ...]) -> None:
    drawn = draw_overlay(GREY, LocalizedImage("x", (300, 400), classes))
    assert (drawn[:30] != 128).any()
    assert (drawn[60:] == 128).all()


@pytest.mark.parametrize("name", ["x" * 500, "a\nb\x00", "\u202ebidi", ""])
def test_any_name_fits(name: str) -> None:
    one = LocalizedClass(0, name, 0.9, (LocalizedBox((0.0, 0.0, 9.0, 9.0), 0.9),), (1.0, 1.0))
    assert draw_overlay(GREY[:, :9, :9], LocalizedImage("x", (9, 9), (one,))).shape == (9, 9, 3)

"""Overlays: an image with the heat, boxes, peaks and names of all its classes."""

from functools import cache
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from camloc.localized import LocalizedClass, LocalizedImage
from camloc.report.rgb import RGB, as_rgb

COLOURS = ((255, 95, 0), (0, 170, 255), (0, 200, 110), (255, 200, 0), (225, 80, 200), (150, 120, 255))
"""By place among the image's classes, again from the start after the last; told apart by colour-blind readers too."""
HEAT = 0.6
"""Opacity of the heat where the score is highest; it falls with the square of the score."""
LINE_SHARE, FONT_SHARE = 180, 26
"""Pixels of the larger side for each pixel of a line's width, and of a letter's height."""
NOTHING = "nothing found"


def draw_overlay(image: Tensor, found: LocalizedImage) -> RGB:
    """Draw all classes of an image onto it.

    Args:
        image: (3,H,W) uint8, of the image's aspect in any size.
        found: With score maps; without them there is no heat.

    Returns:
        (H,W,3) uint8 RGB.

    Raises:
        ValueError: If the image is not (3,H,W) uint8.

    Example:
        >>> import torch
        >>> draw_overlay(torch.zeros(3, 48, 64, dtype=torch.uint8), LocalizedImage("a", (480, 640))).shape
        (48, 64, 3)
    """
    canvas = as_rgb(image).copy()
    height, width = canvas.shape[:2]
    scale = (width / found.size[1], height / found.size[0])
    coloured = [(one, COLOURS[place % len(COLOURS)]) for place, one in enumerate(found.classes)]
    for one, colour in reversed(coloured):
        _add_heat(canvas, one, found.window, scale, colour)
    line = max(1, round(max(height, width) / LINE_SHARE))
    tags: list[tuple[str, str, tuple[int, int] | None, tuple[int, int, int]]] = []
    for one, colour in reversed(coloured):  # the most probable one on top
        boxes = [_on_canvas(box.box, scale) for box in one.boxes]
        for x0, y0, x1, y1 in boxes:
            cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), (0, 0, 0), line + 2)
            cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, line)
        if one.peak is not None:
            middle = (int(one.peak[0] * scale[0]), int(one.peak[1] * scale[1]))
            cv2.circle(canvas, middle, 2 * line + 1, (0, 0, 0), -1)
            cv2.circle(canvas, middle, 2 * line, colour, -1)
        says = f"{one.probability:.2f}{'' if boxes else ' (no box)'}"
        tags.insert(0, (one.name, says, boxes[0][:2] if boxes else None, colour))
    return _with_tags(canvas, tags or [(NOTHING, "", None, (255, 255, 255))])


def _on_canvas(box: tuple[float, float, float, float], scale: tuple[float, float]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    left, top = round(x0 * scale[0]), round(y0 * scale[1])
    return left, top, max(left + 1, round(x1 * scale[0])), max(top + 1, round(y1 * scale[1]))


def _add_heat(
    canvas: RGB,
    one: LocalizedClass,
    window: tuple[int, int, int, int],
    scale: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    if one.score_map is None:
        return
    x0, y0, x1, y1 = _on_canvas(window, scale)
    x1, y1 = min(x1, canvas.shape[1]), min(y1, canvas.shape[0])
    score = cv2.resize(one.score_map, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    alpha = HEAT * np.square(score, dtype=np.float32)[..., None]
    region = canvas[y0:y1, x0:x1]
    region[:] = (region * (1 - alpha) + np.array(colour, np.float32) * alpha).round().astype(np.uint8)


def _with_tags(canvas: RGB, tags: list[tuple[str, str, tuple[int, int] | None, tuple[int, int, int]]]) -> RGB:
    """Write each text at the upper left corner of its box; texts without a box stand below each other at the top."""
    height, width = canvas.shape[:2]
    font = _font(max(9, round(max(height, width) / FONT_SHARE)))
    drawn = Image.fromarray(canvas)
    draw = ImageDraw.Draw(drawn)
    taken: list[tuple[int, int, int, int]] = []
    for name, says, corner, colour in tags:
        shown = _fitting(name, says, font, width - 8)
        x0, y0, x1, y1 = (round(edge) for edge in font.getbbox(shown))
        wide, high = x1 - x0 + 8, y1 - y0 + 6
        left, top = corner or (0, 0)
        top = top - high if top >= high else top  # above the box where there is room
        left = max(0, min(left, width - wide))
        while any(left < b[2] and b[0] < left + wide and top < b[3] and b[1] < top + high for b in taken):
            top += high  # not over another one
        taken.append((left, top, left + wide, top + high))
        draw.rectangle((left, top, left + wide - 1, top + high - 1), fill=colour)
        draw.text((left + 4 - x0, top + 3 - y0), shown, fill=(0, 0, 0), font=font)
    return np.array(drawn)


def _fitting(name: str, says: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Return both on one line, the name shortened to what that many pixels leave it."""
    name = " ".join("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name).split())
    while len(name) > 1 and font.getlength(f"{name} {says}") > room:
        name = f"{name[:-2]}…"
    return f"{name} {says}".strip()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)

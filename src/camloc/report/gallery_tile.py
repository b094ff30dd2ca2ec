"""Gallery tiles: an image and its heatmap with boxes, above a caption.

True boxes are solid bluish green, predicted boxes dashed vermillion. Colour-blind readers can distinguish these hues,
and the dashes survive black-and-white print. The heatmap's colours ("inferno") get brighter with the score and contain
no green, so both lines stay visible on it.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from camloc.boxes import rescale
from camloc.report.heatmap import overlay_heatmap
from camloc.report.rgb import BACKGROUND, GAP, RGB, as_rgb, contact_sheet

GREEN, VERMILLION = (0, 220, 130), (255, 95, 0)
TEXT, GOOD_TEXT, BAD_TEXT = (240, 240, 242), (64, 214, 165), (255, 148, 77)
# In pixels.
PANEL_SIDE, MIN_PANEL_SIDE = 256, 24
TILE_WIDTH = 2 * PANEL_SIDE + GAP
LINE_WIDTH, DASH = 3, (12, 6)
FONT_SIZE, LINE_HEIGHT, MARGIN = 19, 27, 10


def gallery_tile(
    image: Tensor,
    score_map: Tensor | None,
    gt_boxes: Tensor,
    predicted_box: Tensor,
    *,
    true_class: str,
    predicted_class: str,
    iou: float | None,
    iou_threshold: float,
) -> RGB:
    """Draw an image and its heatmap with boxes above a caption.

    The tile is always 520 px wide. The image is resized before boxes and text are drawn, so that these stay sharp. The
    heatmap is on the right of the image, or below it if the image is more than twice as wide as high; without a score
    map the image stands alone.

    Args:
        image: (3,H,W) uint8 RGB.
        score_map: (H,W) in [0,1], from which the predicted box was made; null for one that a network predicted itself.
        gt_boxes: (M,4) half-open xyxy pixels of ``image``, drawn solid and green; M may be 0.
        predicted_box: (4,) half-open xyxy pixels of ``image``, drawn dashed and vermillion; (0,0,0,0) if there is none.
        true_class: As in :func:`gallery_caption`; long names are shortened.
        predicted_class: Likewise.
        iou: Likewise.
        iou_threshold: Likewise.

    Returns:
        (height,520,3) uint8 RGB.

    Raises:
        ValueError: If the image is not (3,H,W) uint8 or the score map has another size.

    Example:
        >>> image, score_map = torch.zeros(3, 64, 64, dtype=torch.uint8), torch.rand(64, 64)
        >>> box = torch.tensor([8.0, 8.0, 40.0, 40.0])
        >>> names = {"true_class": "tench", "predicted_class": "carp"}
        >>> gallery_tile(image, score_map, box[None], box, **names, iou=1.0, iou_threshold=0.5).shape
        (355, 520, 3)
    """
    height, width = image_size = (image.shape[-2], image.shape[-1])
    columns = 1 if score_map is None or width > 2 * height else 2
    cell_width = TILE_WIDTH if columns == 1 else PANEL_SIDE
    scale = min(cell_width / width, PANEL_SIDE / height)
    # A very thin image is stretched, otherwise nothing of it would be visible.
    panel_size = (max(round(height * scale), MIN_PANEL_SIDE), max(round(width * scale), MIN_PANEL_SIDE))
    cells = []
    heatmaps = [] if score_map is None else [overlay_heatmap(image, score_map)]
    for shown in (as_rgb(image), *heatmaps):
        panel = np.array(Image.fromarray(shown).resize(panel_size[::-1], Image.Resampling.BICUBIC))
        for gt_box in rescale(gt_boxes.double().cpu(), image_size, panel_size):
            _draw_box(panel, gt_box, GREEN)
        _draw_box(panel, rescale(predicted_box.double().cpu(), image_size, panel_size), VERMILLION, dashed=True)
        cell: RGB = np.full((panel_size[0], cell_width, 3), BACKGROUND, dtype=np.uint8)
        left = (cell_width - panel_size[1]) // 2
        cell[:, left : left + panel_size[1]] = panel
        cells.append(cell)
    strip = _caption_strip(_caption_lines(true_class, predicted_class, predicted_box, iou, iou_threshold))
    return contact_sheet([contact_sheet(cells, columns), strip], columns=1)


def gallery_caption(
    true_class: str, predicted_class: str, predicted_box: Tensor, iou: float | None, iou_threshold: float
) -> str:
    """Describe a gallery tile in one line.

    Args:
        true_class: Name of the true class.
        predicted_class: Name of the predicted class, which is right if it equals ``true_class``; the names of classes
            must therefore differ.
        predicted_box: (4,) half-open xyxy pixels, (0,0,0,0) if the score map gave none.
        iou: Of the predicted box with the best true box, in [0,1]; None if no true box is known.
        iou_threshold: Fraction; the box is a GT-known hit if ``iou`` is at least this.

    Returns:
        The text. The IoU is rounded down, so that a miss at 0.4999 is not shown as 0.50.

    Example:
        >>> gallery_caption("tench", "carp", torch.tensor([0, 0, 8, 8]), 0.4999, iou_threshold=0.5)
        'true: tench · predicted: carp ✗ wrong class · IoU 0.49 ✗ GT-known miss at 0.5'
    """
    lines = _caption_lines(true_class, predicted_class, predicted_box, iou, iou_threshold)
    return " · ".join(" ".join(part for part in line if part) for line in lines)


def _caption_lines(
    true_class: str, predicted_class: str, predicted_box: Tensor, iou: float | None, iou_threshold: float
) -> list[tuple[str, str]]:
    """Return (statement, verdict) per line of the caption."""
    classes = [
        (f"true: {true_class}", ""),
        (
            f"predicted: {predicted_class}",
            "✓ right class" if predicted_class == true_class else "✗ wrong class",
        ),
    ]
    if iou is None:
        return [*classes, ("no box" if _is_empty(predicted_box) else "predicted box", "no true box is known")]
    # 1e-9, because 100 * 0.29 is 28.999... in floating point.
    shown_iou = math.floor(100 * iou + 1e-9) / 100
    verdict = (
        f"✓ GT-known hit at {iou_threshold:g}" if iou >= iou_threshold else f"✗ GT-known miss at {iou_threshold:g}"
    )
    return [*classes, ("no box" if _is_empty(predicted_box) else f"IoU {shown_iou:.2f}", verdict)]


def _caption_strip(lines: Sequence[tuple[str, str]]) -> RGB:
    """Write statements on the left and verdicts on the right; the first two lines begin with a sample of their box."""
    strip: RGB = np.full((len(lines) * LINE_HEIGHT + MARGIN, TILE_WIDTH, 3), BACKGROUND, dtype=np.uint8)
    text_left = MARGIN + LINE_HEIGHT + MARGIN
    for index, colour in enumerate((GREEN, VERMILLION)):
        top = index * LINE_HEIGHT + 3
        sample = torch.tensor([MARGIN, top, MARGIN + LINE_HEIGHT, top + LINE_HEIGHT - 6])
        _draw_box(strip, sample, colour, dashed=index == 1)
    canvas = Image.fromarray(strip)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), FONT_SIZE)
    for index, (statement, verdict) in enumerate(lines):
        middle = index * LINE_HEIGHT + LINE_HEIGHT // 2
        verdict_left = TILE_WIDTH - MARGIN - font.getlength(verdict)
        text = _shorten(statement, font, verdict_left - text_left - 2 * MARGIN)
        draw.text((text_left, middle), text, fill=TEXT, font=font, anchor="lm")
        fill = GOOD_TEXT if verdict.startswith("✓") else BAD_TEXT
        draw.text((verdict_left, middle), verdict, fill=fill, font=font, anchor="lm")
    return np.array(canvas)


def _shorten(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Shorten a text to ``room`` pixels on one line; an ellipsis marks what was cut."""
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    return text[: bisect_right(range(len(text)), room, key=lambda n: font.getlength(text[:n] + "…")) - 1] + "…"


def _draw_box(panel: RGB, box: Tensor, colour: tuple[int, int, int], *, dashed: bool = False) -> None:
    """Draw a half-open box in place: its outermost pixels in colour, with a black line inside them for contrast."""
    if _is_empty(box):
        return
    height, width = panel.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in box.tolist())
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    x1, y1 = max(min(x1, width), x0 + 1), max(min(y1, height), y0 + 1)
    rows, columns = np.ogrid[: y1 - y0, : x1 - x0]
    row_depth = np.minimum(rows, y1 - y0 - 1 - rows)
    depth = np.minimum(row_depth, np.minimum(columns, x1 - x0 - 1 - columns))
    along = np.where(row_depth < LINE_WIDTH, columns, rows)
    inked = along % sum(DASH) < DASH[0] if dashed else np.True_
    region = panel[y0:y1, x0:x1]
    region[depth == LINE_WIDTH] = 0
    region[(depth < LINE_WIDTH) & inked] = colour


def _is_empty(box: Tensor) -> bool:
    x0, y0, x1, y1 = box.tolist()
    return bool(x1 <= x0 or y1 <= y0)

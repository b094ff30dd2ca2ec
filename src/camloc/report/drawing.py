"""Everything that draws: heatmaps, gallery tiles, contact sheets, curves.

Images come in as (3,H,W) uint8 tensors, as data sets hold them, and leave as (H,W,3) uint8 RGB arrays, as
image files hold them. True boxes are solid bluish green and predicted boxes dashed vermillion: hues that
colour-blind readers tell apart, with dashes for print. The heatmap's colours ("inferno") grow brighter with
the score and hold no green, so that both lines stay visible on them.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from camloc.boxes import rescale

RGB = NDArray[np.uint8]

GREEN, VERMILLION = (0, 220, 130), (255, 95, 0)
# Okabe and Ito's palette, with line styles for print.
CURVE_STYLES = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-."), ("#cc79a7", ":"), ("#56b4e9", "-"))
BACKGROUND, TEXT = (24, 25, 29), (240, 240, 242)
GOOD_TEXT, BAD_TEXT = (64, 214, 165), (255, 148, 77)
# Pixels, all of them.
PANEL_SIDE, MIN_PANEL_SIDE, GAP = 256, 24, 8
TILE_WIDTH = 2 * PANEL_SIDE + GAP
LINE_WIDTH, DASH = 3, (12, 6)
FONT_SIZE, LINE_HEIGHT, MARGIN = 19, 27, 10


def overlay_heatmap(image: Tensor, score_map: Tensor) -> RGB:
    """Blend a coloured score map half and half over its image, which turns gray: all colour is score.

    Args:
        image: (3,H,W) uint8 RGB.
        score_map: (H,W) in [0,1]; NaN is drawn black.

    Returns:
        (H,W,3) uint8 RGB.

    Raises:
        ValueError: If the image is not (3,H,W) uint8 or the map has another size.

    Example:
        >>> heatmap = overlay_heatmap(torch.zeros(3, 1, 2, dtype=torch.uint8), torch.tensor([[0.0, 1.0]]))
        >>> heatmap.tolist()  # halves of the colours at the ends of "inferno"
        [[[0, 0, 1], [126, 127, 82]]]
    """
    gray = np.array(Image.fromarray(_as_rgb(image)).convert("L"), dtype=np.uint16)
    if score_map.shape != image.shape[1:]:
        raise ValueError(
            f"the score map is {tuple(score_map.shape)} but its image {tuple(image.shape[1:])}; "
            "upsample the map to the image first"
        )
    heat = mpl.colormaps["inferno"](score_map.detach().double().cpu().numpy(), bytes=True)[..., :3]
    blended: RGB = ((gray[..., None] + heat) // 2).astype(np.uint8)
    return blended


def gallery_caption(
    true_class: str, predicted_class: str, predicted_box: Tensor, iou: float | None, iou_threshold: float = 0.5
) -> str:
    """Say in one line what a gallery tile shows, for captions beside it.

    Args:
        true_class: Name of the true class.
        predicted_class: Name of the predicted class, right when it equals ``true_class``; where two classes
            share a name, give their ids with it.
        predicted_box: (4,) half-open xyxy pixels, (0,0,0,0) when the score map gave none.
        iou: Of the predicted box with the best true box, in [0,1]; null where no true box is known.
        iou_threshold: From which IoU on the box is a GT-known hit, a fraction.

    Returns:
        The text. The IoU is rounded down, so that a miss at 0.4999 does not read 0.50.

    Example:
        >>> gallery_caption("tench", "carp", torch.tensor([0, 0, 8, 8]), 0.4999)
        'true: tench · predicted: carp ✗ wrong class · IoU 0.49 ✗ GT-known miss at 0.5'
    """
    lines = _caption_lines(true_class, predicted_class, predicted_box, iou, iou_threshold)
    return " · ".join(" ".join(part for part in line if part) for line in lines)


def gallery_tile(
    image: Tensor,
    score_map: Tensor,
    gt_boxes: Tensor,
    predicted_box: Tensor,
    *,
    true_class: str,
    predicted_class: str,
    iou: float | None,
    iou_threshold: float = 0.5,
) -> RGB:
    """Draw an image and its heatmap with their boxes over a caption strip.

    The tile is 520 px wide whatever the image's size; the image is enlarged or reduced first, so that
    lines and text stay sharp. The heatmap stands beside the image, or under one over twice as wide as high.

    Args:
        image: (3,H,W) uint8 RGB.
        score_map: (H,W) in [0,1], the map that the predicted box was read from.
        gt_boxes: (M,4) half-open xyxy pixels of ``image``, drawn solid and green; M may be 0.
        predicted_box: (4,) half-open xyxy pixels of ``image``, drawn dashed and vermillion; (0,0,0,0): none.
        true_class: See :func:`gallery_caption`; long names are shortened.
        predicted_class: The same.
        iou: The same.
        iou_threshold: The same.

    Returns:
        (height,520,3) uint8 RGB.

    Raises:
        ValueError: If the image is not (3,H,W) uint8 or the map has another size.

    Example:
        >>> image, score_map = torch.zeros(3, 64, 64, dtype=torch.uint8), torch.rand(64, 64)
        >>> box = torch.tensor([8.0, 8.0, 40.0, 40.0])
        >>> names = {"true_class": "tench", "predicted_class": "carp"}
        >>> gallery_tile(image, score_map, box[None], box, **names, iou=1.0).shape
        (355, 520, 3)
    """
    height, width = image_size = (image.shape[-2], image.shape[-1])
    columns = 1 if width > 2 * height else 2
    cell_width = TILE_WIDTH if columns == 1 else PANEL_SIDE
    scale = min(cell_width / width, PANEL_SIDE / height)
    # A very thin image is stretched, else nothing of it could be seen.
    panel_size = (max(round(height * scale), MIN_PANEL_SIDE), max(round(width * scale), MIN_PANEL_SIDE))
    cells = []
    for shown in (_as_rgb(image), overlay_heatmap(image, score_map)):
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


def contact_sheet(tiles: Sequence[RGB], columns: int) -> RGB:
    """Lay tiles out row by row, each column as wide and each row as high as its largest tile.

    Args:
        tiles: (H,W,3) uint8 RGB each, of any sizes, at least one.
        columns: Tiles in a row, at least one.

    Returns:
        (height,width,3) uint8 RGB.

    Raises:
        ValueError: If there is no tile or no column.

    Example:
        >>> contact_sheet([np.zeros((20, 30, 3), np.uint8)] * 3, columns=2).shape  # gaps of 8 px
        (48, 68, 3)
    """
    if not tiles or columns < 1:
        raise ValueError(f"a contact sheet needs a tile and a column, got {len(tiles)} tiles in {columns} columns")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    tops = np.cumsum([0] + [max(len(tile) for tile in row) + GAP for row in rows])
    lefts = np.cumsum([0] + [max(tile.shape[1] for tile in tiles[c::columns]) + GAP for c in range(len(rows[0]))])
    sheet: RGB = np.full((tops[-1] - GAP, lefts[-1] - GAP, 3), BACKGROUND, dtype=np.uint8)
    for top, row in zip(tops, rows, strict=False):
        for left, tile in zip(lefts, row, strict=False):
            sheet[top : top + len(tile), left : left + tile.shape[1]] = tile
    return sheet


def threshold_curve(
    thresholds: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    cam_threshold: float,
    threshold_source: str,
    path: Path,
) -> None:
    """Plot localization errors against the CAM threshold, with a line at the threshold that is reported.

    Args:
        thresholds: (T,) CAM thresholds, fractions of the score map's maximum, ascending.
        curves: Name of a line, as the legend shows it, to its (T,) errors, fractions.
        cam_threshold: The threshold that errors are reported at.
        threshold_source: Where it came from: ``fixed``, ``val`` or ``oracle``.
        path: PNG to write; 1280 x 800 px, its letters large enough to be shown half as wide.

    Raises:
        ValueError: If there is no curve, or one is not as long as ``thresholds``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     path = Path(directory, "curve.png")
        ...     threshold_curve([0.0, 0.2, 0.4], {"GT-known, IoU 0.5": [0.7, 0.5, 0.6]}, 0.2, "val", path)
        ...     Image.open(path).size
        (1280, 800)
    """
    figure, axes = _plot("CAM threshold (fraction of the score map's maximum)")
    for (name, errors), (colour, style) in zip(curves.items(), cycle(CURVE_STYLES), strict=False):
        if len(errors) != len(thresholds):
            raise ValueError(f"curve {name!r} has {len(errors)} errors for {len(thresholds)} thresholds")
        axes.plot(thresholds, 100 * np.asarray(errors), style, color=colour, label=name)
    axes.axvline(cam_threshold, color="black", linewidth=1)
    axes.annotate(
        f"reported at {cam_threshold:.3g} ({threshold_source})",
        (cam_threshold, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        ha="left" if cam_threshold < 0.5 else "right",  # noqa: PLR2004 - keeps the text over the axes
    )
    axes.set_xlim(0, 1)
    _save_plot(figure, axes, path)


def training_curve(rows: Sequence[Mapping[str, float]], keys: Sequence[str], path: Path) -> None:
    """Plot errors against the epoch.

    Args:
        rows: Rows of ``metrics.csv``: each holds ``epoch`` and the errors logged with it, fractions.
        keys: The errors to plot, one line each; those that no row holds are left out.
        path: PNG to write, as :func:`threshold_curve` does.

    Raises:
        ValueError: If no row holds any of the keys.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> rows = [{"epoch": 0, "val/top1_error": 0.9}, {"epoch": 1, "val/top1_error": 0.7}]
        >>> with TemporaryDirectory() as directory:
        ...     training_curve(rows, ["val/top1_error"], Path(directory, "curve.png"))
        ...     Image.open(Path(directory, "curve.png")).size
        (1280, 800)
    """
    figure, axes = _plot("epoch")
    styles = cycle(CURVE_STYLES)
    for key in keys:
        points = [(row["epoch"], 100 * row[key]) for row in rows if key in row]
        if points:
            colour, style = next(styles)
            axes.plot(*zip(*points, strict=True), style, color=colour, label=key, marker="o", markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _save_plot(figure, axes, path)


def save_png(path: Path, rgb: RGB) -> None:
    """Write an image, and the folder it lies in where that is missing.

    Args:
        path: PNG to write.
        rgb: (H,W,3) uint8.

    Raises:
        ValueError: If ``rgb`` is not (H,W,3) uint8.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     save_png(Path(directory, "new", "black.png"), np.zeros((2, 3, 3), np.uint8))
        ...     Image.open(Path(directory, "new", "black.png")).size
        (3, 2)
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:  # noqa: PLR2004 - (H,W,3)
        raise ValueError(f"{path}: an image to save is (H,W,3) uint8, got {rgb.shape} {rgb.dtype}")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, format="PNG")


def _as_rgb(image: Tensor) -> RGB:
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:  # noqa: PLR2004 - (3,H,W)
        raise ValueError(
            f"an image to draw on is (3,H,W) uint8, got {tuple(image.shape)} {image.dtype}; "
            "draw on it before it is normalized"
        )
    return image.permute(1, 2, 0).cpu().numpy()


def _draw_box(panel: RGB, box: Tensor, colour: tuple[int, int, int], *, dashed: bool = False) -> None:
    """Draw a half-open box in place: its outermost pixels are coloured, a dark line inside sets them off."""
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
    # The small number keeps an IoU such as 0.29, which is 28.999... hundredths in floating point.
    shown_iou = math.floor(100 * iou + 1e-9) / 100
    verdict = (
        f"✓ GT-known hit at {iou_threshold:g}" if iou >= iou_threshold else f"✗ GT-known miss at {iou_threshold:g}"
    )
    return [*classes, ("no box" if _is_empty(predicted_box) else f"IoU {shown_iou:.2f}", verdict)]


def _caption_strip(lines: Sequence[tuple[str, str]]) -> RGB:
    """Write statements left and verdicts right; the first two lines carry a sample of their box."""
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
    """Fit a text into ``room`` pixels on one line, with an ellipsis where letters had to go."""
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    return text[: bisect_right(range(len(text)), room, key=lambda n: font.getlength(text[:n] + "…")) - 1] + "…"


def _plot(xlabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4), dpi=200, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    axes = figure.add_subplot(xlabel=xlabel, ylabel="error (%)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save_plot(figure: Figure, axes: Axes, path: Path) -> None:
    _, names = axes.get_legend_handles_labels()
    if not names:
        raise ValueError(f"{path}: no curve to plot")
    ncols = 2 if max(map(len, names)) <= 30 else 1  # noqa: PLR2004 - letters that fit half the width
    figure.legend(loc="outside lower center", ncols=ncols, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


# Okabe and Ito's palette with the colour of letters on each; neighbours differ in lightness.
CAUSE_COLOURS = (
    ("#009e73", "black"),
    ("#f0e442", "black"),
    ("#000000", "white"),
    ("#56b4e9", "black"),
    ("#0072b2", "white"),
    ("#e69f00", "black"),
    ("#d55e00", "black"),
)


def misses_chart(groups: Sequence[str], causes: Sequence[str], counts: Sequence[Sequence[int]], path: Path) -> None:
    """Plot what became of the images by the object's size: a bar of 100% per bin, a segment per cause.

    Args:
        groups: G bins of the object's share of its image, top to bottom.
        causes: K <= 7 names, left to right, the first that of the hit.
        counts: (G,K) images; a bin without any has no bar.
        path: PNG to write, as :func:`threshold_curve` does.

    Raises:
        ValueError: If there is nothing to plot, there are too many causes, or the lengths do not fit.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     path = Path(directory, "misses.png")
        ...     misses_chart(["under 10%", "10 to 25%"], ["hit", "no box"], [[1, 3], [4, 0]], path)
        ...     Image.open(path).size
        (1280, 800)
    """
    table = np.array(counts)
    if not groups or table.shape != (len(groups), len(causes)) or len(causes) > len(CAUSE_COLOURS):
        raise ValueError(
            f"{path}: {len(groups)} groups and {len(causes)} causes (at most {len(CAUSE_COLOURS)}) "
            f"do not fit counts {table.shape}"
        )
    images = table.sum(axis=1)
    percents = 100 * table / np.maximum(images, 1)[:, None]
    figure, axes = _plot("images (%)")
    axes.set_ylabel("object's share of its image")
    axes.grid(visible=False)
    lefts = np.zeros(len(groups))
    for cause, widths, (colour, text_colour) in zip(causes, percents.T, CAUSE_COLOURS, strict=False):
        bars = axes.barh(range(len(groups)), widths, left=lefts, color=colour, edgecolor="white", label=cause)
        texts = [f"{width:.0f}" if width >= 5 else "" for width in widths]  # noqa: PLR2004 - room for two digits
        axes.bar_label(bars, texts, label_type="center", color=text_colour, fontsize=9)
        lefts += widths
    labels = [f"{group}\n{count:,} images" for group, count in zip(groups, images, strict=True)]
    axes.set_yticks(range(len(groups)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    _save_plot(figure, axes, path)

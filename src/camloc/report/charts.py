"""Charts: errors against the CAM threshold and against the epoch, causes of misses by object size."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from camloc.export.replaced import replaced

# Okabe and Ito's palette; line styles distinguish the curves in black-and-white print.
CURVE_STYLES = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-."), ("#cc79a7", ":"), ("#56b4e9", "-"))
# The same palette, each colour with that of the text on it; neighbours differ in lightness.
CAUSE_COLOURS = (
    ("#009e73", "black"),
    ("#f0e442", "black"),
    ("#000000", "white"),
    ("#56b4e9", "black"),
    ("#0072b2", "white"),
    ("#e69f00", "black"),
    ("#d55e00", "black"),
)


def threshold_curve(
    thresholds: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    cam_threshold: float,
    threshold_source: str,
    path: Path,
    jobs: Sequence[float] = (),
) -> None:
    """Plot localization errors against the CAM threshold, with a vertical line at the reported threshold.

    Args:
        thresholds: (T,) CAM thresholds, fractions of the score map's maximum, ascending.
        curves: (T,) errors of each curve, fractions, by its name in the legend.
        cam_threshold: The reported threshold.
        threshold_source: Where it came from: ``fixed``, ``val``, ``pseudo`` or ``oracle``.
        path: PNG to write, 1280 x 800 px; its text is large enough to be read at half that size.
        jobs: Those of the CAM thresholds that the jobs of a sweep report at, points on every curve.

    Raises:
        ValueError: If there is no curve, or one does not have T errors.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as directory:
        ...     path = Path(directory, "curve.png")
        ...     threshold_curve([0.0, 0.2, 0.4], {"GT-known, IoU 0.5": [0.7, 0.5, 0.6]}, 0.2, "val", path)
        ...     Image.open(path).size
        (1280, 800)
    """
    figure, axes = _plot("CAM threshold (fraction of the score map's maximum)")
    is_job = np.isin(thresholds, jobs)
    for (name, errors), (colour, style) in zip(curves.items(), cycle(CURVE_STYLES), strict=False):
        if len(errors) != len(thresholds):
            raise ValueError(f"curve {name!r} has {len(errors)} errors for {len(thresholds)} thresholds")
        axes.plot(thresholds, 100 * np.asarray(errors), style, color=colour, label=name)
        if jobs:
            axes.plot(np.compress(is_job, thresholds), 100 * np.compress(is_job, errors), "o", color=colour)
    if jobs:
        axes.plot([], [], "o", color="black", label="a job of the sweep")
    axes.axvline(cam_threshold, color="black", linewidth=1)
    axes.annotate(
        f"reported at {cam_threshold:.3g} ({threshold_source})",
        (cam_threshold, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        ha="left" if cam_threshold < 0.5 else "right",  # noqa: PLR2004 - keeps the text above the axes
    )
    axes.set_xlim(0, 1)
    _save_plot(figure, axes, path)


def training_curve(rows: Sequence[Mapping[str, float]], keys: Sequence[str], path: Path) -> None:
    """Plot errors against the epoch.

    Args:
        rows: One per epoch, such as those of ``metrics.csv``: ``epoch`` and the errors logged with it, fractions.
        keys: The errors to plot, one curve each; a key that no row has is left out.
        path: PNG to write, as in :func:`threshold_curve`.

    Raises:
        ValueError: If no row has any of the keys.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
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


def misses_chart(groups: Sequence[str], causes: Sequence[str], counts: Sequence[Sequence[int]], path: Path) -> None:
    """Plot the causes of misses by object size: one bar of 100% per bin, one segment per cause.

    Args:
        groups: G bins of the object's share of its image, from top to bottom.
        causes: K <= 7 names, from left to right; the first is that of a hit.
        counts: (G,K) numbers of images; an empty bin has no bar.
        path: PNG to write, as in :func:`threshold_curve`.

    Raises:
        ValueError: If there is no group, there are more than 7 causes, or the shapes do not match.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
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
            f"do not match counts of shape {table.shape}"
        )
    images = table.sum(axis=1)
    percents = 100 * table / np.maximum(images, 1)[:, None]
    figure, axes = _plot("images (%)")
    axes.set_ylabel("object's share of its image")
    axes.grid(visible=False)
    lefts = np.zeros(len(groups))
    for cause, widths, (colour, text_colour) in zip(causes, percents.T, CAUSE_COLOURS, strict=False):
        bars = axes.barh(range(len(groups)), widths, left=lefts, color=colour, edgecolor="white", label=cause)
        texts = [f"{width:.0f}" if width >= 5 else "" for width in widths]  # noqa: PLR2004 - wide enough for two digits
        axes.bar_label(bars, texts, label_type="center", color=text_colour, fontsize=9)
        lefts += widths
    labels = [f"{group}\n{count:,} images" for group, count in zip(groups, images, strict=True)]
    axes.set_yticks(range(len(groups)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    _save_plot(figure, axes, path)


def reference_chart(
    names: Sequence[str],
    references: Sequence[float] | None,
    values: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    path: Path,
    xlabel: str = "error (%)",
) -> None:
    """Plot values, next to the numbers of a paper if there is one, a line each.

    Args:
        names: N names, from top to bottom.
        references: N errors of the paper, %; None without a paper.
        values: N errors, %.
        intervals: N 95% intervals of the values, %; None for none.
        path: PNG to write, 1280 px wide and as high as its lines need.
        xlabel: What the values are.

    Raises:
        ValueError: If there is none, or their numbers differ.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as directory:
        ...     path = Path(directory, "chart.png")
        ...     reference_chart(["GoogLeNet-GAP, top-1"], [56.4], [57.0], [(56.6, 57.4)], path)
        ...     Image.open(path).size[0]
        1280
    """
    given = values if references is None else references
    if not names or not len(names) == len(given) == len(values) == len(intervals):
        raise ValueError(
            f"{path}: {len(names)} names, {len(given)} references, {len(values)} values and {len(intervals)} "
            "intervals; all must be as many, at least one"
        )
    figure, axes = _plot(xlabel)
    figure.set_figheight(1.5 + 0.25 * len(names))
    axes.set_ylabel("")
    places = range(len(names))
    for place, interval in zip(places, intervals, strict=True):
        if interval is not None:
            axes.plot(interval, (place, place), color=CURVE_STYLES[0][0], linewidth=2)
    if references is not None:
        axes.plot(references, places, "D", color=CURVE_STYLES[1][0], fillstyle="none", label="paper")
    axes.plot(values, places, "o", color=CURVE_STYLES[0][0], label="run, with its 95% interval")
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)  # from top to bottom, with room for the first and the last marker
    _save_plot(figure, axes, path)


def _plot(xlabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4), dpi=200, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    axes = figure.add_subplot(xlabel=xlabel, ylabel="error (%)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save_plot(figure: Figure, axes: Axes, path: Path) -> None:
    _, names = axes.get_legend_handles_labels()
    if not names:
        raise ValueError(f"{path}: there is no curve to plot")
    ncols = 2 if max(map(len, names)) <= 30 else 1  # noqa: PLR2004 - letters that fit into half the width
    figure.legend(loc="outside lower center", ncols=ncols, frameon=False)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names may have dollar signs
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        figure.savefig(partial, format="png")

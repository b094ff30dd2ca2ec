"""Temporary: the names that moved, until those who import them follow."""

from camloc.report.charts import misses_chart, threshold_curve, training_curve
from camloc.report.gallery_tile import gallery_caption, gallery_tile
from camloc.report.heatmap import overlay_heatmap
from camloc.report.rgb import contact_sheet, save_png

__all__ = [
    "contact_sheet",
    "gallery_caption",
    "gallery_tile",
    "misses_chart",
    "overlay_heatmap",
    "save_png",
    "threshold_curve",
    "training_curve",
]

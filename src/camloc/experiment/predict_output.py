"""What ``save=`` writes: files of each image at once, files of all images at the end, from ``predictions.jsonl``."""

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from camloc.boxes import area
from camloc.experiment.run_directory import RunDirectory
from camloc.export.coco_file import write_coco
from camloc.export.file_names import place
from camloc.export.found_csv import write_found
from camloc.export.label_studio import write_label_studio
from camloc.export.predictions_jsonl import Predictions
from camloc.export.raw_maps import write_raw_maps
from camloc.export.voc_files import write_voc
from camloc.export.yolo_files import write_yolo
from camloc.localized import LocalizedImage
from camloc.predictors.placing import Placing
from camloc.report.explorer.records import ShownRun
from camloc.report.explorer.thumbnails import MAX_SIDE
from camloc.report.found_page import FoundPage
from camloc.report.overlay import draw_overlay
from camloc.report.overlay_video import OverlayVideo
from camloc.report.rgb import save_png

Format = Literal["csv", "coco", "yolo", "voc", "label_studio", "overlays", "page", "maps"]
OVERLAY_SIDE = 1280
"""Largest side of an overlay, pixels."""


def side_to_show(save: Sequence[Format]) -> int | None:
    """Return the largest side of images that are drawn or shown, pixels; null where none are."""
    return OVERLAY_SIDE if "overlays" in save else MAX_SIDE if "page" in save else None


class ImageFiles:
    """Writes the files of each image, as it is predicted.

    Args:
        run: Where to.
        save: Formats, of which ``overlays`` and ``maps`` are written here, and what ``page`` needs of each image.
        frames_per_second: Of a video, whose overlays become one; null for images, which get a PNG each.
        placing: Makes the boxes that the page shows at other CAM thresholds.
        min_size: Least area of a box, a fraction of the image's.
    """

    def __init__(
        self,
        run: RunDirectory,
        save: Sequence[Format],
        frames_per_second: float | None,
        placing: Placing,
        min_size: float,
    ) -> None:
        self._run, self._save, self._placing, self._min_size = run, save, placing, min_size
        self._video = (
            OverlayVideo(run.overlay_video, frames_per_second) if frames_per_second and "overlays" in save else None
        )
        self._page = found_page(run, placing) if "page" in save else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._video is not None:
            self._stack.enter_context(self._video)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, position: int, image: LocalizedImage, shown: Tensor | None) -> None:
        """Write what one image gets.

        Args:
            position: Its place among all images, 0-based.
            image: With maps where they are written or drawn.
            shown: (3,H,W) uint8 to draw on.
        """
        if "maps" in self._save:
            write_raw_maps(self._run.maps, image)
        if shown is not None and self._page is not None and self._page.takes(position):
            self._page.keep(position, shown, image, self._boxes_to_choose_from(image))
        if shown is not None and "overlays" in self._save:
            drawn = draw_overlay(shown, image)
            if self._video is not None:
                self._video.write(drawn)
            else:
                save_png(place(self._run.overlays, f"{image.name}.png"), drawn)

    def _boxes_to_choose_from(self, image: LocalizedImage) -> Tensor:
        """Return each class's box at every CAM threshold of the page, (K,T,4) pixels of the image."""
        score_maps = [found.score_map for found in image.classes if found.score_map is not None]
        maps = torch.from_numpy(np.stack(score_maps)) if score_maps else torch.zeros(len(image.classes), 1, 1)
        boxes = self._placing.boxes_at_shown_thresholds(
            maps, [found.class_index for found in image.classes], image.window
        )
        is_large = area(boxes) >= self._min_size * image.size[0] * image.size[1]
        return boxes.where(is_large[..., None], 0.0)


def found_page(run: RunDirectory, placing: Placing) -> FoundPage:
    """Return the page of a prediction."""
    threshold = placing.threshold
    value, source = (None, "") if threshold is None else threshold
    return FoundPage(run.report, ShownRun("predictions", placing.shown_thresholds, value, source))


def write_at_end(
    run: RunDirectory,
    save: Sequence[Format],
    found: Predictions,
    placing: Placing,
    *,
    model_version: str,
    said: Sequence[str],
) -> list[str]:
    """Write the files of all images, the page with what was said of the prediction; return remarks for people."""
    notes: list[str] = []
    class_names = placing.class_names
    if "csv" in save:
        write_found(run.predictions, found)
    if "coco" in save:
        write_coco(run.coco, found, class_names)
    if "yolo" in save:
        notes += write_yolo(run.yolo, found, class_names)
    if "voc" in save:
        notes += write_voc(run.voc, found)
    if "label_studio" in save:
        write_label_studio(run.label_studio, found, model_version)
    if "page" in save:
        found_page(run, placing).write(found, class_names, [*said, *notes])
    return notes

"""The page of what was found in images without labels: thumbnails, maps and boxes to look through."""

import shutil
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from camloc.export.replaced import replaced
from camloc.localized import LocalizedClass, LocalizedImage
from camloc.records import Window
from camloc.report.explorer.choose import MAX_IMAGES
from camloc.report.explorer.files import Explored, data_folder, thumbnails_folder
from camloc.report.explorer.records import MAX_MAP_SIDE, ShownImage, ShownRun, shown_pair, small_map
from camloc.report.explorer.thumbnails import save_thumbnail, thumbnail_name
from camloc.report.page import write_page


class FoundPage:
    """Keeps each image's thumbnail, small maps and boxes on disk as it is predicted, and writes the page at the end.

    A prediction that was stopped so goes on with what it has. The page holds the first 2,000 images.

    Args:
        report: The page's folder.
        run: The CAM thresholds that people can choose from, the one in use among them.
    """

    def __init__(self, report: Path, run: ShownRun) -> None:
        self.report, self.run, self._kept = report, run, data_folder(report) / "kept"

    def takes(self, position: int) -> bool:
        """Return whether the page shows the image at a position."""
        return position < MAX_IMAGES

    def keep(self, position: int, shown: Tensor, image: LocalizedImage, boxes: Tensor) -> None:
        """Keep an image that the page takes.

        Args:
            position: Place among all images, 0-based.
            shown: (3,H,W) uint8, of the image's aspect in any size.
            image: With maps, where the network has them.
            boxes: (K,T,4) of its classes at the run's CAM thresholds, half-open xyxy pixels of the image, all 0 for
                none.
        """
        save_thumbnail(thumbnails_folder(self.report), position, shown)
        maps = [small for found in image.classes if (small := _map_of(found, image)) is not None]
        self._kept.mkdir(exist_ok=True)
        kept = {"maps": np.stack(maps) if maps else np.zeros((0, 1, 1), np.uint8), "boxes": boxes.numpy()}
        with replaced(self._file(position)) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **kept)

    def write(self, images: Iterable[LocalizedImage], class_names: Sequence[str], notes: Sequence[str]) -> Path:
        """Write the page of images that were kept.

        Args:
            images: All, in the order of their positions; maps are not needed.
            class_names: (C,).
            notes: Sentences above the images.

        Returns:
            Path of the page.

        Raises:
            FileNotFoundError: If an image was not kept.
        """
        remaining = iter(images)
        first = enumerate(islice(remaining, MAX_IMAGES))
        shown = [self._shown(position, image) for position, image in first if image.error is None]
        left_out = sum(1 for _ in remaining)
        rule = (
            f"The first {MAX_IMAGES:,} images; {left_out:,} more are in predictions.jsonl."
            if left_out
            else "All images."
        )
        explored = Explored(class_names, [(self.run, shown)], rule)
        self.report.mkdir(exist_ok=True)
        page = write_page(self.report, title="What was found", notes=notes, explorer=explored if shown else None)
        shutil.rmtree(self._kept, ignore_errors=True)
        return page

    def _shown(self, position: int, image: LocalizedImage) -> ShownImage:
        with np.load(self._file(position), allow_pickle=False) as kept:
            maps, boxes = kept["maps"], torch.from_numpy(kept["boxes"])
        with Image.open(thumbnails_folder(self.report) / thumbnail_name(position)) as thumbnail:
            width, height = thumbnail.size
        pairs = [
            shown_pair(
                found.class_index,
                boxes[place] if boxes.shape[1] else _best_box(found),
                image.size,
                score_map=maps[place] if place < len(maps) else None,
                probability=found.probability,
            )
            for place, found in enumerate(image.classes)
        ]
        ranked = [(found.class_index, found.probability) for found in image.classes]
        return ShownImage(image.name, position, (height, width), pairs, ranked)

    def _file(self, position: int) -> Path:
        return self._kept / f"{position:08d}.npz"


def _best_box(found: LocalizedClass) -> Tensor:
    return torch.tensor([found.boxes[0].box if found.boxes else (0.0, 0.0, 0.0, 0.0)])


def _map_of(found: LocalizedClass, image: LocalizedImage) -> NDArray[np.uint8] | None:
    """Return a class's score map of the whole image as a page stores it."""
    if found.score_map is None:
        return None
    height, width = image.size
    if image.window == (0, 0, width, height):
        cam_size = None if found.cam is None else (found.cam.shape[0], found.cam.shape[1])
        return small_map(torch.from_numpy(found.score_map), cam_size)
    return small_map(torch.from_numpy(in_whole(found.score_map, image.window, image.size)), None)


def in_whole(score_map: NDArray[np.float32], window: Window, size: tuple[int, int]) -> NDArray[np.float32]:
    """Place the score map of a window into its image, 0 elsewhere.

    Args:
        score_map: (h,w).
        window: That it covers, half-open xyxy pixels of the image.
        size: ``(height, width)`` of the image.

    Returns:
        (H,W) of the image's aspect, the longer side :data:`~camloc.report.explorer.records.MAX_MAP_SIDE`.

    Example:
        >>> whole = in_whole(np.ones((8, 8), np.float32), (14, 0, 42, 28), (28, 56))
        >>> whole.shape, [float(value) for value in whole[0, [13, 14, 41, 42]]]
        ((28, 56), [0.0, 1.0, 1.0, 0.0])
    """
    scale = MAX_MAP_SIDE / max(size)
    whole = np.zeros([max(1, round(side * scale)) for side in size], np.float32)
    left, top = (min(round(edge * scale), side - 1) for edge, side in zip(window[:2], whole.shape[::-1], strict=True))
    right, bottom = max(left + 1, round(window[2] * scale)), max(top + 1, round(window[3] * scale))
    part = whole[top:bottom, left:right]
    part[:] = cv2.resize(score_map, part.shape[::-1], interpolation=cv2.INTER_AREA)
    return whole

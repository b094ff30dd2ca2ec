"""The data files beside a page, which are scripts: a page that is opened from disk may not fetch anything else."""

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from camloc.export.replaced import replaced
from camloc.metrics.functional.breakdown import CAUSES
from camloc.report.explorer.records import ShownImage, ShownPair, ShownRun

CHUNK_IMAGES = 16
"""Images whose boxes and maps are loaded together."""
NO_CLASS = -1
"""Class of the row of an image without pairs."""
UNKNOWN = 255
"""Cause of a pair without true boxes."""
IOU_STEPS, UNKNOWN_IOU = 10_000, 65_535
BOX_STEPS = 50_000  # a half is one of them
INDEX = "index.js"
_SCRIPTS = ("data.js", "selection.js", "drawing.js", "panel.js", "grid.js", "detail.js", "start.js")
LOADED_SCRIPTS = ("data.js", INDEX, *_SCRIPTS[1:])
"""In the order in which a page loads them; the rest is loaded where it is looked at."""
STYLE = "explorer.css"
_HERE = Path(__file__).parent

Encoded = dict[str, Any]


def data_folder(report: Path) -> Path:
    """Return where a page's data lie."""
    return report / "explorer"


def thumbnails_folder(report: Path) -> Path:
    """Return where a page's thumbnails lie."""
    return data_folder(report) / "thumbnails"


def has_data(report: Path) -> bool:
    """Tell whether a page has images to explore."""
    return (data_folder(report) / INDEX).is_file()


class Explored(NamedTuple):
    """What a page lets people explore."""

    class_names: Sequence[str]
    """C names."""
    runs: Sequence[tuple[ShownRun, Sequence[ShownImage]]]
    """One or several runs with their images, of which those are shown that all runs have."""
    rule: str
    """How the images were chosen, a sentence."""


def write_data(report: Path, explorer: Explored) -> None:
    """Write the data of a page, whose thumbnails are there already, with the scripts that show them.

    Args:
        report: The page's folder.
        explorer: Its content.

    Raises:
        ValueError: If there is no run, or the runs have no image in common.
    """
    shown = images_in_common([images for _, images in explorer.runs])
    folder = data_folder(report)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*_SCRIPTS, STYLE):
        with replaced(folder / name) as partial:
            shutil.copyfile(_HERE / name, partial)
    for old in folder.glob("chunk_*.js"):
        old.unlink()
    for chunk, first in enumerate(range(0, len(shown), CHUNK_IMAGES)):
        content = [_details(of_runs) for of_runs in shown[first : first + CHUNK_IMAGES]]
        _write_call(folder / f"chunk_{chunk}.js", f"camloc.chunk({chunk},", content)
    _write_call(folder / INDEX, "camloc.index(", _index(explorer, shown))


def images_in_common(runs: Sequence[Sequence[ShownImage]]) -> list[list[ShownImage]]:
    """Return for each image that all runs have what each of them says, its pairs in one order.

    Raises:
        ValueError: If there is none.
    """
    if not runs:
        raise ValueError("a page needs at least one run to show")
    by_name = [{image.name: image for image in images} for images in runs]
    found = []
    for first in runs[0]:
        if all(first.name in images for images in by_name):
            of_runs = [images[first.name] for images in by_name]
            classes = [{pair.class_index: pair for pair in image.pairs} for image in of_runs]
            kept = [index for index in classes[0] if all(index in pairs for pairs in classes)]
            joined = zip(of_runs, classes, strict=True)
            found.append([image._replace(pairs=[pairs[index] for index in kept]) for image, pairs in joined])
    if not found and any(runs):
        raise ValueError(f"the {len(runs)} runs show no image in common, so there is nothing to lay side by side")
    return found


def _index(explorer: Explored, shown: list[list[ShownImage]]) -> Encoded:
    images = [of_runs[0] for of_runs in shown]
    rows = [pair for image in images for pair in _rows(image)]
    counts = [len(_rows(image)) for image in images]
    colours = mpl.colormaps["inferno"](np.arange(256), bytes=True)[:, :3]
    return {
        "classes": list(explorer.class_names),
        "causes": CAUSES,
        "rule": explorer.rule,
        "chunk_images": CHUNK_IMAGES,
        "colours": _packed(colours, "u1"),
        "names": [image.name for image in images],
        "positions": _packed([image.position for image in images], "<i4"),
        "sizes": _packed([image.size for image in images], "<u2"),
        "pair_image": _packed(np.repeat(np.arange(len(images)), counts), "<i4"),
        "pair_class": _packed([pair.class_index for pair in rows], "<i4"),
        "runs": [_run(run, [of_runs[place] for of_runs in shown]) for place, (run, _) in enumerate(explorer.runs)],
    }


def _rows(image: ShownImage) -> Sequence[ShownPair]:
    """Return an image's pairs; one without any is shown with the probability of its most likely class."""
    if image.pairs:
        return image.pairs
    nothing = ShownPair(NO_CLASS, np.zeros((0, 4), np.float32))
    return [nothing._replace(probability=image.ranked[0][1]) if image.ranked else nothing]


def _run(run: ShownRun, images: Sequence[ShownImage]) -> Encoded:
    pairs = [pair for image in images for pair in _rows(image)]
    length = len(run.cam_thresholds) or 1
    unknown = np.full(length, UNKNOWN, np.uint8)
    found: Encoded = {
        "label": run.label,
        "thresholds": list(run.cam_thresholds),
        "reported": None if run.cam_threshold is None else list(run.cam_thresholds).index(run.cam_threshold),
        "source": run.threshold_source,
        "iou_threshold": run.iou_threshold,
        "num_pairs": run.num_pairs,
        "errors": {name: list(values) for name, values in run.errors.items()},
        "probability": _packed([_or(pair.probability, np.nan) for pair in pairs], "<f4"),
        "rank": _packed([_or(pair.rank, -1) for pair in pairs], "<i4"),
        "predicted": _packed([image.ranked[0][0] if image.ranked else -1 for image in images], "<i4"),
        "iou": None,
        "cause": None,
    }
    if any(pair.iou is not None for pair in pairs):
        found["iou"] = _packed([iou_codes(pair.iou, length, run.iou_threshold) for pair in pairs], "<u2")
        found["cause"] = _packed([unknown if pair.causes is None else pair.causes for pair in pairs], "u1")
    return found


def iou_codes(iou: NDArray[np.float64] | None, length: int, iou_threshold: float | None) -> NDArray[np.uint16]:
    """Write IoUs in steps of 1/10,000, rounded down, such that each stays on its side of the threshold.

    Example:
        >>> iou_codes(np.array([0.7, np.nextafter(0.7, 0), 0.12345]), 3, 0.7).tolist()
        [7000, 6999, 1234]
        >>> iou_codes(None, 2, 0.5).tolist()  # unknown
        [65535, 65535]
    """
    if iou is None or iou_threshold is None:
        return np.full(length, UNKNOWN_IOU, np.uint16)
    codes = np.floor(iou * IOU_STEPS + 1e-9).astype(np.uint16)
    limit = np.uint16(np.ceil(iou_threshold * IOU_STEPS - 1e-9))
    return np.where(iou >= iou_threshold, np.maximum(codes, limit), np.minimum(codes, limit - 1))


def _details(of_runs: Sequence[ShownImage]) -> Encoded:
    return {
        "gt": [_packed(np.rint(pair.gt_boxes * BOX_STEPS), "<u2") for pair in of_runs[0].pairs],
        "runs": [
            {
                "ranked": [[index, round(probability, 5)] for index, probability in image.ranked],
                "pairs": [_pair(pair) for pair in image.pairs],
                "predicted": None if image.predicted is None else _pair(image.predicted),
            }
            for image in of_runs
        ],
    }


def _pair(pair: ShownPair) -> Encoded:
    found: Encoded = {"class": pair.class_index, "boxes": _packed(np.rint(pair.boxes * BOX_STEPS), "<u2")}
    if pair.score_map is not None:
        found |= {"map": _packed(pair.score_map, "u1"), "map_size": pair.score_map.shape}
    return found


def _packed(values: object, kind: str) -> str:
    return base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode("ascii")


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _write_call(path: Path, opening: str, content: Mapping[str, Any] | Sequence[Any]) -> None:
    # ASCII alone, whatever names hold: no browser has to guess, and bytes that are no text are written all the same.
    with replaced(path) as partial:
        partial.write_text(f"{opening}{json.dumps(content, separators=(',', ':'), ensure_ascii=True)});\n", "ascii")

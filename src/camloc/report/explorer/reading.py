"""The data of pages that were written before, read back to lay runs side by side. Anyone may have made them."""

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camloc.report.explorer import files
from camloc.report.explorer.files import Explored
from camloc.report.explorer.records import ShownImage, ShownPair, ShownRun
from camloc.report.explorer.thumbnails import thumbnail_name

MAX_FILE = 2**28
"""Bytes of a data file; that of 10,000 images takes a fiftieth."""
MAX_SIDE_BY_SIDE = 10_000
"""Images that a page of several runs holds, each counted once for every run."""


def read_explored(report: Path) -> Explored:
    """Read what :func:`camloc.report.page.write_page` wrote of one run.

    Raises:
        FileNotFoundError: If the page has no images to explore.
        ValueError: If a file is damaged or holds something else; the message names it.
    """
    folder = files.data_folder(report)
    path = folder / files.INDEX
    if not files.has_data(report):
        raise FileNotFoundError(f"{path} does not exist; evaluate the run again to write it")
    try:
        index = _content(path, "camloc.index(")
        names, run = [str(name) for name in index["names"]], index["runs"][0]
        counts = np.bincount(_unpacked(index["pair_image"], "<i4"), minlength=len(names))
        pair_classes = _unpacked(index["pair_class"], "<i4")
        shown = ShownRun(
            label=str(run["label"]),
            cam_thresholds=[float(value) for value in run["thresholds"]],
            cam_threshold=None if run["reported"] is None else float(run["thresholds"][run["reported"]]),
            threshold_source=str(run["source"]),
            iou_threshold=None if run["iou_threshold"] is None else float(run["iou_threshold"]),
            num_pairs=int(run["num_pairs"]),
            errors={str(name): [float(value) for value in values] for name, values in run["errors"].items()},
        )
        columns = _Columns(index, run, len(shown.cam_thresholds) or 1)
        images, row = [], 0
        details: Any = []
        for place, name in enumerate(names):
            if place % index["chunk_images"] == 0:
                chunk = place // index["chunk_images"]
                path = folder / f"chunk_{chunk}.js"
                details = _content(path, f"camloc.chunk({chunk},")
            of_image = details[place % index["chunk_images"]]
            rows = range(row, row + int(counts[place]))
            row = rows.stop
            has_pairs = all(pair_classes[one] != files.NO_CLASS for one in rows)
            images.append(columns.image(place, name, of_image, rows if has_pairs else range(0)))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError) as error:
        raise ValueError(f"{path} holds no images to explore: {error}; evaluate the run again") from error
    return Explored([str(name) for name in index["classes"]], [(shown, images)], str(index["rule"]))


def side_by_side(runs: Mapping[str, Path], report: Path) -> Explored:
    """Bring the images of several runs onto one page; thumbnails are copied.

    Args:
        runs: Folder of each run's page, by the label that the run gets.
        report: The new page's folder.

    Returns:
        What to hand to :func:`camloc.report.page.write_page`.

    Raises:
        FileNotFoundError: If one of the pages has no images to explore.
        ValueError: If data are damaged, the classes differ, or no image is in all of them.
    """
    read = {label: read_explored(folder) for label, folder in runs.items()}
    first_label, first = next(iter(read.items()))
    for label, other in read.items():
        if list(other.class_names) != list(first.class_names):
            raise ValueError(
                f"{first_label} and {label} have other classes; only runs on the same data can be compared"
            )
    parts = [(one.runs[0][0]._replace(label=label), one.runs[0][1]) for label, one in read.items()]
    common = files.images_in_common([images for _, images in parts])
    kept = common[: max(1, MAX_SIDE_BY_SIDE // len(parts))]
    source, target = files.thumbnails_folder(next(iter(runs.values()))), files.thumbnails_folder(report)
    target.mkdir(parents=True, exist_ok=True)
    for image, *_ in kept:
        file = source / thumbnail_name(image.position)
        if file.is_file() and not file.is_symlink() and file.stat().st_size < MAX_FILE:
            shutil.copyfile(file, target / file.name)
    rule = f"{len(kept):,} images that all {len(parts)} runs show. Errors are of all images of each run."
    return Explored(first.class_names, [(run, [of[i] for of in kept]) for i, (run, _) in enumerate(parts)], rule)


class _Columns:
    """Values of one run's pairs, unpacked."""

    def __init__(self, index: Mapping[str, Any], run: Mapping[str, Any], length: int) -> None:
        self._positions = _unpacked(index["positions"], "<i4").tolist()
        self._sizes = _unpacked(index["sizes"], "<u2").reshape(-1, 2).tolist()
        self._probability = _unpacked(run["probability"], "<f4").tolist()
        self._rank = _unpacked(run["rank"], "<i4").tolist()
        self._iou = None if run["iou"] is None else _unpacked(run["iou"], "<u2").reshape(-1, length)
        self._causes = None if run["cause"] is None else _unpacked(run["cause"], "u1").reshape(-1, length)
        self._length = length

    def image(self, place: int, name: str, details: Mapping[str, Any], rows: range) -> ShownImage:
        of_run = details["runs"][0]
        pairs = zip(of_run["pairs"], details["gt"], rows, strict=True)
        predicted = of_run["predicted"]
        height, width = self._sizes[place]
        return ShownImage(
            name=name,
            position=self._positions[place],
            size=(height, width),
            pairs=[self._measured(self._pair(pair), gt, row) for pair, gt, row in pairs],
            ranked=[(int(index), float(share)) for index, share in of_run["ranked"]],
            predicted=None if predicted is None else self._pair(predicted),
        )

    def _pair(self, packed: Mapping[str, Any]) -> ShownPair:
        boxes = _fractions(packed["boxes"])
        if len(boxes) != self._length:
            raise ValueError(f"{len(boxes)} boxes for {self._length} CAM thresholds")
        score_map = _unpacked(packed["map"], "u1").reshape(packed["map_size"]) if "map" in packed else None
        return ShownPair(int(packed["class"]), boxes, score_map)

    def _measured(self, pair: ShownPair, gt: str, row: int) -> ShownPair:
        probability, rank = self._probability[row], self._rank[row]
        found = pair._replace(
            probability=None if np.isnan(probability) else probability,
            rank=None if rank < 0 else rank,
            gt_boxes=_fractions(gt),
        )
        if self._iou is None or self._causes is None or (self._causes[row] == files.UNKNOWN).any():
            return found
        return found._replace(iou=self._iou[row] / files.IOU_STEPS, causes=self._causes[row])


def _content(path: Path, opening: str) -> Any:  # noqa: ANN401 - a JSON value
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE:
        raise ValueError(f"no file of at most {MAX_FILE:,} bytes")
    text = path.read_text("ascii")
    if not (text.startswith(opening) and text.endswith(");\n")):
        raise ValueError("it is no data file of a page")
    return json.loads(text[len(opening) : -len(");\n")])


def _unpacked(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), kind)


def _fractions(text: str) -> NDArray[np.float32]:
    return (_unpacked(text, "<u2").reshape(-1, 4) / files.BOX_STEPS).astype(np.float32)


def labels_of(runs: Sequence[Path]) -> list[str]:
    """Return short names of run directories that tell them apart.

    Example:
        >>> labels_of([Path("runs/a/0"), Path("runs/b/0")])
        ['a/0', 'b/0']
        >>> labels_of([Path("runs/a"), Path("runs/a")])
        ['1: a', '2: a']
    """
    parts = [run.absolute().parts for run in runs]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(one[-depth:]).lstrip("/") for one in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{number}: {run.name}" for number, run in enumerate(runs, 1)]

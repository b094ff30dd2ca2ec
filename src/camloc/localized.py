"""What is found in an image without labels: classes, each with its boxes; what predicting hands to writing."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from camloc.records import Window

Box = tuple[float, float, float, float]
"""Half-open xyxy pixels of the image as it is shown."""
Mask = NDArray[np.bool_]


class LocalizedBox(NamedTuple):
    """One box of a class."""

    box: Box
    score: float
    """Probability of the class times the highest score inside the box, a fraction of the map's maximum; in [0,1]."""
    mask: Mask | None = None
    """(H,W) pixels of the image above the CAM threshold; null unless masks were asked for, or where boxes have none."""


class LocalizedClass(NamedTuple):
    """A class that an image shows, with its places; no box is an answer."""

    class_index: int
    """0-based."""
    name: str
    probability: float
    boxes: tuple[LocalizedBox, ...]
    """Best first: the larger component before the smaller one."""
    peak: tuple[float, float] | None = None
    """``(x, y)`` of the highest score, pixels of the image; null without a map, or where it is flat."""
    cam: NDArray[np.float32] | None = None
    """(h,w) raw and signed; null unless maps were asked for."""
    score_map: NDArray[np.float32] | None = None
    """(S,S) in [0,1], of the image's window; null unless maps were asked for."""


class LocalizedImage(NamedTuple):
    """All that is found in one image.

    Example:
        >>> cat = LocalizedClass(0, "cat", 0.9, (LocalizedBox((1.0, 2.0, 5.0, 6.0), 0.9),), (3.5, 2.5))
        >>> image = LocalizedImage("a.jpg", (8, 12), (cat,))
        >>> [(found.name, box.box) for found in image.classes for box in found.boxes]
        [('cat', (1.0, 2.0, 5.0, 6.0))]
    """

    name: str
    """Unique within its source."""
    size: tuple[int, int]
    """``(height, width)``; ``(0, 0)`` where it could not be read."""
    classes: tuple[LocalizedClass, ...] = ()
    """Most probable first; empty where no class is probable enough."""
    error: str | None = None
    """Why it could not be read; null where it was."""
    seconds: float | None = None
    """Of a frame: its time in the video; null for others."""
    window: Window = (0, 0, 0, 0)
    """The part of the image that the maps cover, half-open xyxy pixels."""
    probabilities: NDArray[np.float32] | None = None
    """(C,) of every class; null for what was read back from a file."""
    clipped: float = 0.0
    """Share of its stored values that lie outside of the range of the training's images, so that they are black or
    white; 0 for images of 8 bits per channel."""

    @property
    def boxes(self) -> list[tuple[LocalizedClass, LocalizedBox]]:
        """All boxes with their classes."""
        return [(found, box) for found in self.classes for box in found.boxes]


def to_json(image: LocalizedImage) -> dict[str, Any]:
    """Return plain values, numbers unrounded; masks as COCO's run lengths, maps and probabilities left out.

    Example:
        >>> to_json(LocalizedImage("a.jpg", (8, 12)))
        {'image': 'a.jpg', 'height': 8, 'width': 12, 'classes': []}
    """
    height, width = image.size
    plain: dict[str, Any] = {"image": image.name, "height": height, "width": width}
    if image.seconds is not None:
        plain["seconds"] = image.seconds
    if image.error is not None:
        return {**plain, "error": image.error}
    if image.clipped:
        plain["clipped"] = image.clipped
    plain["classes"] = [
        {
            "index": found.class_index,
            "class": found.name,
            "probability": found.probability,
            "boxes": [list(box.box) for box in found.boxes],
            "scores": [box.score for box in found.boxes],
            "peak": None if found.peak is None else list(found.peak),
            **({"masks": masks} if any(masks := [_lengths(box.mask) for box in found.boxes]) else {}),
        }
        for found in image.classes
    ]
    return plain


def from_json(plain: dict[str, Any]) -> LocalizedImage:
    """Return the image that :func:`to_json` was given, without maps and probabilities.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field is of another type.
        ValueError: If a field has another length.
    """
    size = (int(plain["height"]), int(plain["width"]))
    classes = []
    for found in plain.get("classes", ()):
        lengths = found.get("masks") or [None] * len(found["boxes"])
        boxes = tuple(
            LocalizedBox((float(x0), float(y0), float(x1), float(y1)), float(score), _mask(runs, size))
            for (x0, y0, x1, y1), score, runs in zip(found["boxes"], found["scores"], lengths, strict=True)
        )
        peak = None if found["peak"] is None else (float(found["peak"][0]), float(found["peak"][1]))
        classes.append(
            LocalizedClass(int(found["index"]), str(found["class"]), float(found["probability"]), boxes, peak)
        )
    return LocalizedImage(
        plain["image"],
        size,
        tuple(classes),
        plain.get("error"),
        plain.get("seconds"),
        clipped=float(plain.get("clipped", 0)),
    )


def run_lengths(mask: Mask) -> list[int]:
    """Return COCO's uncompressed run lengths: of pixels out, in, out, ... down the columns.

    Example:
        >>> run_lengths(np.array([[False, True], [False, True], [True, False]]))
        [2, 3, 1]
        >>> run_lengths(np.array([[True]]))
        [0, 1]
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: list[int] = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    return [0, *runs] if len(flat) and flat[0] else runs


def _lengths(mask: Mask | None) -> list[int] | None:
    return None if mask is None else run_lengths(mask)


def _mask(lengths: list[int] | None, size: tuple[int, int]) -> Mask | None:
    if lengths is None:
        return None
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(size, order="F")

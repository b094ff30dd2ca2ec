"""The embedded data set: textured objects on cluttered backgrounds, drawn in memory from a seed.

Only the texture depends on the class. Colour, shape, size, place, background and the plain distractor shapes are
drawn the same way for every class, and every texture covers its object evenly, so that each part of an object is
equally good evidence and a class activation map has reason to cover all of it. Mirroring keeps the class.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Unpack, get_args

import cv2
import numpy as np
import torch
from annotated_types import Ge
from rich.console import Console
from rich.progress import track
from torch import Tensor

from camloc.data.loading.datamodule import LoaderOptions, LocalizationDataModule
from camloc.data.loading.split import Shrink, Split, SplitName

MIN_SIZE = 64
"""Pixels; below this the finest textures have periods of under 4 pixels and blur into one another."""
SIDE_RANGE = (0.75, 1.25)
"""Height and width of an image, fractions of ``size``."""
PERIOD_RANGE = (0.055, 0.085)
"""Period of a texture, fraction of ``size``: 7 to 11 pixels at 128."""
TILT_RANGE = (-0.15, 0.15)
"""Rotation of a texture, radians; small enough that no orientation turns into another."""
OBJECT_SIDES, DISTRACTOR_SIDES = (0.32, 0.8), (0.12, 0.5)
"""Height and width of a shape, fractions of the image's."""
PAIR_SHARE = 0.08
"""Share of images that hold two objects of one class."""
PAIR_SIDES = (0.6, 0.95)
"""Height and width of an object of a pair, fractions of its end of the image."""
SUBPIXEL_BITS = 4
"""Fractional bits of the corner coordinates that OpenCV draws."""


def _diagonal(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    either_way = float(rng.choice((-1, 1)))
    return _stripes((u + either_way * v) / math.sqrt(2))


def _zigzag(u: np.ndarray, v: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return _stripes((v + 2 * _to_line(u / 2)) / 1.3)


def _stripes(across: np.ndarray) -> np.ndarray:
    field: np.ndarray = 0.3 * np.cos(2 * np.pi * across)
    return field


def _checkerboard(u: np.ndarray, v: np.ndarray, _: np.random.Generator) -> np.ndarray:
    field: np.ndarray = 0.5 * np.cos(1.4 * np.pi * u) * np.cos(1.4 * np.pi * v)
    return field


def _grid(u: np.ndarray, v: np.ndarray, _: np.random.Generator) -> np.ndarray:
    field: np.ndarray = 0.15 - np.minimum(_to_line(u), _to_line(v))
    return field


def _bricks(u: np.ndarray, v: np.ndarray, _: np.random.Generator) -> np.ndarray:
    to_joint = 2.4 * _to_line(u / 2.4 + np.floor(v) / 2)
    field: np.ndarray = 0.14 - np.minimum(to_joint, _to_line(v))
    return field


def _dots(u: np.ndarray, v: np.ndarray, _: np.random.Generator) -> np.ndarray:
    field: np.ndarray = 0.3 - np.hypot(_to_line(u + np.floor(v) / 2), _to_line(v))
    return field


def _rings(u: np.ndarray, v: np.ndarray, _: np.random.Generator) -> np.ndarray:
    to_centre = 1.5 * np.hypot(_to_line(u / 1.5), _to_line(v / 1.5))
    field: np.ndarray = 0.17 - np.abs(to_centre - 0.5)
    return field


def _to_line(across: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest of the lines at 0.5, 1.5, 2.5, ..."""
    return np.abs(across % 1 - 0.5)


# Each turns coordinates in periods, (H,W) each, into a field in periods that is positive where there is ink.
_TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "horizontal stripes": lambda _u, v, _: _stripes(v),
    "vertical stripes": lambda u, _v, _: _stripes(u),
    "diagonal stripes": _diagonal,
    "zigzag": _zigzag,
    "checkerboard": _checkerboard,
    "grid": _grid,
    "bricks": _bricks,
    "dots": _dots,
    "rings": _rings,
}

TEXTURE_NAMES = tuple(_TEXTURES)
"""(C,) class names, in the order of ``target``."""


class TextureSplit:
    """A ``Split`` of generated images, with true boxes and masks.

    Image ``index`` depends on ``size``, ``seed``, ``split`` and ``index`` alone, so a longer split starts with
    the images of a shorter one. Targets repeat 0, 1, ..., C-1, which balances the classes for every ``count``.

    Args:
        count: N, the number of images.
        size: Typical side of an image, pixels; heights and widths vary by a quarter around it.
        seed: Draws other images; at least 0.
        split: Splits of one seed share no image.

    Raises:
        ValueError: If an argument lies outside its range.

    Example:
        >>> split = TextureSplit(count=2, size=64, seed=0, split="train")
        >>> TEXTURE_NAMES[split.target(1)], split.image(1).shape[0], split.gt_boxes(1)[0].shape
        ('vertical stripes', 3, torch.Size([1, 4]))
    """

    def __init__(self, count: int, size: int, seed: int, split: SplitName) -> None:
        for name, value, least in (("count", count, 1), ("size", size, MIN_SIZE), ("seed", seed, 0)):
            if value < least:
                raise ValueError(f"textures: {name} must be at least {least}, got {value}")
        self.name = split
        split_number = get_args(SplitName).index(split)
        planes = []
        progress = track(range(count), f"Drawing the {split} images", console=Console(stderr=True), transient=True)
        for index in progress:
            seeds = np.random.SeedSequence(seed, spawn_key=(split_number, index))
            planes.append(_draw(np.random.default_rng(seeds), size, self.target(index)))
        self._shapes = np.array([p.shape for p in planes])
        self._starts = np.cumsum([0, *(p.size for p in planes)])
        self._planes = np.concatenate([p.ravel() for p in planes])

    def __len__(self) -> int:
        """Return N."""
        return len(self._shapes)

    def image_id(self, index: int) -> str:
        """Return the image's name."""
        return f"{self.name}-{index:05d}"

    def target(self, index: int) -> int:
        """Return the true class, 0-based; ``TEXTURE_NAMES`` names it."""
        return index % len(TEXTURE_NAMES)

    def image(self, index: int, shrink: Shrink | None = None) -> Tensor:  # noqa: ARG002 - nothing is decoded
        """Return the image as (3,H,W) uint8 RGB."""
        return torch.from_numpy(self._at(index)[:3].copy())

    def file(self, index: int) -> None:
        """Return null: there is no file."""

    def gt_boxes(self, index: int) -> list[Tensor]:
        """Return the (M,4) float32 half-open xyxy pixels of its class, tight around each object's mask."""
        objects = self._at(index)[3]
        boxes = []
        for number in range(1, objects.max() + 1):
            rows = np.flatnonzero((objects == number).any(axis=1))
            columns = np.flatnonzero((objects == number).any(axis=0))
            boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        return [torch.from_numpy(np.array(boxes, dtype=np.float32))]

    def masks(self, index: int) -> tuple[Tensor, Tensor]:
        """Return ``(mask, ignore)``, each (1,H,W) bool: true on every object, and nothing to ignore."""
        mask = torch.from_numpy(self._at(index)[3] > 0)[None]
        return mask, torch.zeros_like(mask)

    def _at(self, index: int) -> np.ndarray:
        """Return what ``_draw`` drew."""
        return self._planes[self._starts[index] : self._starts[index + 1]].reshape(self._shapes[index])


class Textures(LocalizationDataModule):
    """The embedded data set: nothing to download, true boxes everywhere, a different one for every seed.

    Args:
        num_train: Images of the training split.
        num_val: Images of the split that thresholds and checkpoints are chosen on.
        num_test: Images of the split that results are reported on.
        image_size: Typical side of an image, pixels; heights and widths vary by a quarter around it.
        options: See ``LoaderOptions``; ``seed`` also draws the images.

    Raises:
        ValueError: If a number lies outside its range.
    """

    def __init__(
        self,
        num_train: Annotated[int, Ge(1)] = 2000,
        num_val: Annotated[int, Ge(1)] = 400,
        num_test: Annotated[int, Ge(1)] = 800,
        image_size: Annotated[int, Ge(MIN_SIZE)] = 128,
        **options: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(TEXTURE_NAMES, **options)
        self.counts: dict[SplitName, int] = {"train": num_train, "val": num_val, "test": num_test}
        self.image_size = image_size

    def load_split(self, name: SplitName) -> Split:
        """Draw a split's images."""
        return TextureSplit(self.counts[name], self.image_size, self.seed, name)


def _draw(rng: np.random.Generator, size: int, target: int) -> np.ndarray:
    """Return (4,H,W) uint8: the image's channels and each pixel's object, counted from 1, 0 for none."""
    height, width = (int(side) for side in rng.uniform(*SIDE_RANGE, 2) * size)
    image = _background(rng, height, width)
    everywhere = (0, 0, width, height)
    for _ in range(rng.integers(2, 6)):
        _fill(image, _corners(rng, everywhere, DISTRACTOR_SIDES), rng.uniform(20, 235, 3).tolist())
    is_pair = rng.random() < PAIR_SHARE
    cells = _ends(height, width) if is_pair else [everywhere]
    coverage, objects = np.zeros((2, height, width), np.uint8)
    for number, cell in enumerate(cells, start=1):
        silhouette = np.zeros((height, width), np.uint8)
        _fill(silhouette, _corners(rng, cell, PAIR_SIDES if is_pair else OBJECT_SIDES), [255])
        objects[silhouette > 127] = number  # noqa: PLR2004 - at least half of the pixel
        coverage |= silhouette
    surface = _surface(rng, height, width, size, target)
    image = image + coverage[..., None] / np.float32(255) * (surface - image)
    return np.concatenate([image.round().astype(np.uint8).transpose(2, 0, 1), objects[None]])


def _ends(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Return the xyxy ends of the longer side, with a gap that keeps their objects apart."""
    if width >= height:
        return [(0, 0, width * 2 // 5, height), (width * 3 // 5, 0, width, height)]
    return [(0, 0, width, height * 2 // 5), (0, height * 3 // 5, width, height)]


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return (H,W,3) uint8: a gradient or clouds, by the number of random colours it spans."""
    base = rng.uniform(70, 190) + rng.uniform(-40, 40, 3)
    colours = (base + rng.uniform(-50, 50, (*rng.integers(2, 6, 2), 3))).astype(np.float32)
    smooth = cv2.resize(colours, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def _surface(rng: np.random.Generator, height: int, width: int, size: int, target: int) -> np.ndarray:
    """Return (H,W,3) float32 in [0,255]: a class's texture in a dark and a light colour, in either order."""
    period, tilt = float(rng.uniform(*PERIOD_RANGE)) * size, float(rng.uniform(*TILT_RANGE))
    y, x = np.mgrid[:height, :width].astype(np.float32) / period
    cosine, sine, (phase_u, phase_v) = math.cos(tilt), math.sin(tilt), rng.uniform(0, 100, 2).tolist()
    u, v = cosine * x + sine * y + phase_u, cosine * y - sine * x + phase_v
    field = _TEXTURES[TEXTURE_NAMES[target]](u, v, rng)
    # The edge of ink is one pixel soft.
    ink = np.clip(field * period + 0.5, 0, 1)[..., None]
    dark_and_light = np.stack([rng.uniform(0, 110, 3), rng.uniform(145, 255, 3)]).astype(np.float32)
    ground_colour, ink_colour = rng.permutation(dark_and_light)
    surface: np.ndarray = ground_colour + ink * (ink_colour - ground_colour)
    return surface


def _fill(canvas: np.ndarray, corners: np.ndarray, colour: Sequence[float]) -> None:
    """Paint a shape with smooth edges into a uint8 canvas."""
    points = np.round(corners * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(canvas, [points], colour, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)


def _corners(rng: np.random.Generator, cell: tuple[int, int, int, int], sides: tuple[float, float]) -> np.ndarray:
    """Return (P,2) xy corners of a random shape in an xyxy cell, its sides in fractions of the cell's."""
    outline = _outline(rng)
    outline = (outline - outline.min(axis=0)) / np.ptp(outline, axis=0)
    room = np.array([cell[2] - cell[0], cell[3] - cell[1]]) - 1
    extent = rng.uniform(*sides, 2) * room
    corners: np.ndarray = cell[:2] + rng.random(2) * (room - extent) + outline * extent
    return corners


def _outline(rng: np.random.Generator) -> np.ndarray:
    """Return (P,2) corners of a rotated ellipse, polygon, star or blob, at any scale."""
    match rng.integers(4):
        case 0:
            radii = np.ones(48)
        case 1:
            radii = np.ones(rng.integers(3, 7))
        case 2:
            radii = np.tile([1, 0.55], rng.integers(5, 8))
        case _:
            waves, angles = np.arange(2, 5)[:, None], np.linspace(0, 2 * np.pi, 48, endpoint=False)
            heights, phases = rng.uniform(-0.25, 0.25, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
            radii = 1 + np.sum(heights * np.cos(waves * angles + phases), axis=0)
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    stretched = np.stack([radii * np.cos(angles), rng.uniform(0.6, 1) * radii * np.sin(angles)], axis=1)
    turn = rng.uniform(0, 2 * np.pi)
    corners: np.ndarray = stretched @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return corners

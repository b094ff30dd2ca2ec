"""What a run keeps of every pair of a split, from which all its localization errors can be counted again."""

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from camloc.metrics.checks import check_count, check_iou_threshold
from camloc.metrics.functional.localization import CONDITIONS, RANK_LIMITS, Condition
from camloc.records import SplitOutcome

MAX_BYTES = 2**31
"""Of a file's arrays: five times what 50,000 images at 1000 thresholds take."""
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, IndexError, ValueError, OSError, RuntimeError, MemoryError),
)
"""All that reading a damaged archive raises, depending on where the damage is."""


@dataclass(frozen=True)
class PerImage:
    """The outcome on each of N pairs of a split, one per image unless images have several classes.

    Raises:
        ValueError: If the shapes do not fit, a pair comes twice, an IoU lies outside [0,1] or the thresholds do not
            ascend.

    Example:
        >>> per_image = PerImage(
        ...     image_ids=np.array(["a.jpg", "b.jpg"]),
        ...     target=np.array([3, 7]),
        ...     rank=np.array([0, 2]),
        ...     iou=np.array([[0.2, 0.6], [0.8, 0.5]]),
        ...     cam_thresholds=np.array([0.1, 0.2]),
        ... )
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     per_image.save(Path(directory, "test.npz"))
        ...     PerImage.load(Path(directory, "test.npz")).iou.tolist()
        [[0.2, 0.6], [0.8, 0.5]]
    """

    image_ids: NDArray[np.str_]
    """(N,)."""
    target: NDArray[np.int64]
    """(N,) true classes, 0-based."""
    rank: NDArray[np.int64] | None
    """(N,) number of classes that rank above the true one, 0 for a top-1 prediction; None without a classifier."""
    iou: NDArray[np.float64]
    """(N,T) best IoU of the box with a true box of the image, at every threshold; 0 without a box."""
    cam_thresholds: NDArray[np.float64]
    """(T,) fractions of the score map's maximum, ascending; empty where boxes have none: ``iou`` is then (N,1)."""

    def __post_init__(self) -> None:
        shape = (len(self.image_ids), len(self.cam_thresholds) or 1)
        if self.image_ids.dtype.kind != "U":
            raise ValueError(f"image_ids must be an array of text, got {self.image_ids.dtype}")
        rank_shape = shape[:1] if self.rank is None else self.rank.shape
        if self.iou.shape != shape or self.target.shape != shape[:1] or rank_shape != shape[:1]:
            raise ValueError(
                f"{shape[0]} image_ids and {shape[1]} cam_thresholds need iou {shape}, target and rank {shape[:1]}, "
                f"got {self.iou.shape}, {self.target.shape} and {rank_shape}"
            )
        pairs = np.array([f"{name}, class {target}" for name, target in zip(self.image_ids, self.target, strict=True)])
        names, times = np.unique(pairs, return_counts=True)
        if (times > 1).any():
            raise ValueError(f"{(times > 1).sum()} images come more than once, among them {names[times > 1][0]}")
        if not ((self.iou >= 0) & (self.iou <= 1)).all():
            raise ValueError("iou must lie in [0,1], and some values do not")
        if (np.diff(self.cam_thresholds) <= 0).any():
            raise ValueError(f"cam_thresholds must ascend, got {self.cam_thresholds.tolist()}")

    @classmethod
    def of(cls, outcome: SplitOutcome, cam_thresholds: Sequence[float]) -> Self:
        """Read the outcome of a ``LocalizationError``, or of a ``BoxLocalizationError``, which has no thresholds."""
        rank = outcome.values.get("rank")
        return cls(
            image_ids=np.array(outcome.image_ids, dtype=np.str_),
            target=outcome.classes.numpy(),
            rank=None if rank is None else rank.numpy(),
            iou=outcome.values["iou"].numpy().reshape(len(outcome.image_ids), -1),
            cam_thresholds=np.array(cam_thresholds, dtype=np.float64),
        )

    def save(self, path: Path) -> None:
        """Write a ``.npz`` without pickled objects, and its folder where that is missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with path.open("wb") as file:
            np.savez_compressed(file, **{name: array for name, array in arrays.items() if array is not None})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is truncated, no ``.npz``, or holds something else; the message names it.
        """
        with outcome_arrays(path) as arrays:
            found = {field.name: arrays[field.name] for field in fields(cls) if field.name != "rank"}
            return cls(**found, rank=arrays.get("rank"))

    def threshold_index(self, cam_threshold: float) -> int:
        """Return the place of a threshold in ``cam_thresholds``.

        Raises:
            ValueError: If it was not measured.
        """
        (places,) = np.nonzero(self.cam_thresholds == cam_threshold)
        if not len(places):
            raise ValueError(f"the CAM threshold {cam_threshold} is not among the {len(self.cam_thresholds)} measured")
        return int(places[0])

    @property
    def conditions(self) -> Sequence[Condition]:
        """Which errors can be counted: only GT-known ones without a classifier."""
        return [condition for condition, limit in RANK_LIMITS.items() if self.rank is not None or math.isinf(limit)]


@contextmanager
def outcome_arrays(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Open a ``.npz`` of outcomes per image, which anyone may have made; an array is unpacked when it is asked for.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, no ``.npz``, too large, or what is read of it while it is open is wrong; the
            message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; evaluate the run again to write it")
    try:
        with zipfile.ZipFile(path) as archive:  # np.load would accept other kinds of files
            _refuse_much(archive)
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except DAMAGED as error:
        raise ValueError(f"{path} holds no outcomes per image: {error}; evaluate the run again") from error


def _refuse_much(archive: zipfile.ZipFile) -> None:
    size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, and {MAX_BYTES:,} are the most")


def pair_names(image_ids: NDArray[np.str_], classes: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return a name for each pair: the image's, with its class where an image stands there more than once.

    Example:
        >>> pair_names(np.array(["a", "a", "b"]), np.array([0, 2, 2])).tolist()
        ['a, class 0', 'a, class 2', 'b, class 2']
    """
    if len(np.unique(image_ids)) == len(image_ids):
        return image_ids
    return np.array([f"{name}, class {index}" for name, index in zip(image_ids, classes, strict=True)])


def hits(per_image: PerImage, condition: Condition, iou_threshold: float) -> NDArray[np.bool_]:
    r"""Decide which pairs are localized at each CAM threshold.

    .. math:: hit_i(t) = [rank_i < k] \cdot [IoU_i(t) \ge \delta]

    Args:
        per_image: N pairs, T thresholds.
        condition: ``top1`` and ``top5`` set k; ``gt_known`` drops the rank.
        iou_threshold: Fraction.

    Returns:
        (N,T).

    Raises:
        ValueError: If the rank counts and there is none, or the condition or threshold is none.

    Example:
        >>> ids, rank, iou = np.array(["a", "b"]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]])
        >>> hits(PerImage(ids, rank, rank, iou, np.array([0.1, 0.2])), "top1", 0.5).tolist()
        [[False, True], [False, False]]
    """
    check_iou_threshold("iou_threshold", iou_threshold)
    if condition not in CONDITIONS:
        raise ValueError(f"condition must be among {', '.join(CONDITIONS)}, got {condition!r}")
    if condition not in per_image.conditions:
        raise ValueError(f"{condition} needs a classifier's ranks, and these predictions have none")
    fits = per_image.iou >= iou_threshold
    return fits if per_image.rank is None else fits & (per_image.rank < RANK_LIMITS[condition])[:, None]


def error(per_image: PerImage, condition: Condition, threshold_index: int, iou_threshold: float) -> float:
    """Return the localization error at one CAM threshold, the fraction of pairs that are no :func:`hits`.

    Args:
        per_image: N pairs, at least one.
        condition: See :func:`hits`.
        threshold_index: Place in ``per_image.cam_thresholds``.
        iou_threshold: Fraction.

    Raises:
        ValueError: If there is no pair, or no such condition or threshold.

    Example:
        >>> ids, rank, iou = np.array(["a", "b"]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]])
        >>> error(PerImage(ids, rank, rank, iou, np.array([0.1, 0.2])), "top5", 0, iou_threshold=0.5)
        0.5
    """
    if not len(per_image.image_ids):
        raise ValueError("an error needs an image to be measured on, got none")
    check_count("threshold_index", threshold_index, at_least=0)
    if threshold_index >= len(per_image.cam_thresholds):
        raise ValueError(f"threshold_index={threshold_index} is beyond the {len(per_image.cam_thresholds)} thresholds")
    hit = hits(per_image, condition, iou_threshold)[:, threshold_index]
    return 1 - int(hit.sum()) / len(hit)

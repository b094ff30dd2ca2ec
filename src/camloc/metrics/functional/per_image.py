"""What a run keeps of every image of a split, from which all its errors can be counted again."""

import math
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Condition = Literal["gt_known", "top1", "top5"]
"""Which predictions count: any, or those whose class stands among the first one or five."""

_TOP_K: dict[Condition, float] = {"gt_known": math.inf, "top1": 1, "top5": 5}


@dataclass(frozen=True)
class PerImage:
    """The outcome on each of N images of a split, at T CAM thresholds.

    Raises:
        ValueError: If the shapes do not fit, an image comes twice, an IoU lies outside [0,1] or the thresholds do
            not ascend.

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
    """(N,), each image once."""
    target: NDArray[np.int64]
    """(N,) true classes, 0-based."""
    rank: NDArray[np.int64]
    """(N,) number of classes that stand before the true one: 0 is a top-1 prediction."""
    iou: NDArray[np.float64]
    """(N,T) best IoU of the box with a true box of the image, at every threshold; 0 without a box."""
    cam_thresholds: NDArray[np.float64]
    """(T,) fractions of the score map's maximum, ascending."""

    def __post_init__(self) -> None:
        shape = (len(self.image_ids), len(self.cam_thresholds))
        if self.image_ids.dtype.kind != "U":
            raise ValueError(f"image_ids must be an array of text, got {self.image_ids.dtype}")
        if self.iou.shape != shape or self.target.shape != shape[:1] or self.rank.shape != shape[:1]:
            raise ValueError(
                f"{shape[0]} image_ids and {shape[1]} cam_thresholds want iou {shape}, target and rank {shape[:1]}, "
                f"got {self.iou.shape}, {self.target.shape} and {self.rank.shape}"
            )
        names, times = np.unique(self.image_ids, return_counts=True)
        if (times > 1).any():
            raise ValueError(f"{(times > 1).sum()} images come more than once, among them {names[times > 1][0]!r}")
        if not ((self.iou >= 0) & (self.iou <= 1)).all():
            raise ValueError("iou must lie in [0,1], and some does not")
        if (np.diff(self.cam_thresholds) <= 0).any():
            raise ValueError(f"cam_thresholds must ascend, got {self.cam_thresholds.tolist()}")

    def save(self, path: Path) -> None:
        """Write a ``.npz`` without pickled objects, and the folder it lies in where that is missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is cut off, no ``.npz``, or holds something else; the message names it.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there; evaluate the run again to have it written")
        try:
            with zipfile.ZipFile(path):  # np.load would also take other kinds of files
                arrays = np.load(path, allow_pickle=False)
            with arrays:
                return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        # All that zipfile raises for a damaged archive, by the place of the damage.
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OSError, RuntimeError) as error:
            raise ValueError(f"{path} holds no outcomes per image: {error}; evaluate the run again") from error

    def threshold_index(self, cam_threshold: float) -> int:
        """Return the place of a threshold in ``cam_thresholds``.

        Raises:
            ValueError: If it was not measured.
        """
        (places,) = np.nonzero(self.cam_thresholds == cam_threshold)
        if not len(places):
            raise ValueError(f"the CAM threshold {cam_threshold} is not among the {len(self.cam_thresholds)} measured")
        return int(places[0])


def hits(per_image: PerImage, condition: Condition, iou_threshold: float) -> NDArray[np.bool_]:
    r"""Decide which images are localized at each CAM threshold.

    .. math:: hit_i(t) = [rank_i < k] \cdot [IoU_i(t) \ge \delta]

    Args:
        per_image: N images, T thresholds.
        condition: ``top1`` and ``top5`` set k; ``gt_known`` drops the rank.
        iou_threshold: Fraction.

    Returns:
        (N,T).

    Example:
        >>> ids, rank, iou = np.array(["a", "b"]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]])
        >>> hits(PerImage(ids, rank, rank, iou, np.array([0.1, 0.2])), "top1", 0.5).tolist()
        [[False, True], [False, False]]
    """
    predicted = per_image.rank < _TOP_K[condition]
    return (per_image.iou >= iou_threshold) & predicted[:, None]


def error(per_image: PerImage, condition: Condition, threshold_index: int, iou_threshold: float) -> float:
    """Return the localization error at one CAM threshold, the fraction of images that are no :func:`hits`.

    Args:
        per_image: N images, at least one.
        condition: See :func:`hits`.
        threshold_index: Place in ``per_image.cam_thresholds``.
        iou_threshold: Fraction.

    Raises:
        ValueError: If there is no image.

    Example:
        >>> ids, rank, iou = np.array(["a", "b"]), np.array([0, 2]), np.array([[0.2, 0.6], [0.8, 0.5]])
        >>> error(PerImage(ids, rank, rank, iou, np.array([0.1, 0.2])), "top5", 0, iou_threshold=0.5)
        0.5
    """
    if not len(per_image.image_ids):
        raise ValueError("an error needs an image to be measured on, got none")
    hit = hits(per_image, condition, iou_threshold)[:, threshold_index]
    return 1 - int(hit.sum()) / len(hit)


def read_image_counts(path: Path) -> NDArray[Any]:
    """Return the counts (N,...) that a run keeps of a protocol, packed where they are hits."""
    with np.load(path) as arrays:
        counts, length = arrays["counts"], int(arrays["length"])
    return np.unpackbits(counts, axis=-1, count=length).view(bool) if counts.dtype == np.uint8 else counts

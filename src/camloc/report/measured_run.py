"""What a finished run measured on ``test``, read back from its directory as outcomes per image."""

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml  # type: ignore[import-untyped] # no types published
from numpy.typing import NDArray

from camloc.metrics.functional.bootstrap import Outcome, Select, localization_outcome
from camloc.metrics.functional.localization import Condition
from camloc.metrics.functional.per_image import PerImage, hits, outcome_arrays
from camloc.report.objects import object_shares
from camloc.report.table import TRAINED_WITH_BOXES

CLASSIFICATION = "test/classification/top1_error"
LOCALIZATION: dict[Condition, str] = {
    "top1": "test/localization/top1_error",
    "top5": "test/localization/top5_error",
    "gt_known": "test/localization/gt_known_error",
}
_DEVKIT: Mapping[str, Mapping[str, int]] = {
    "ilsvrc": {"test/localization/ilsvrc_top1_error": 0, "test/localization/ilsvrc_top5_error": 1},
    "paper_heuristic": {"test/localization/heuristic_top5_error": 1},
}
"""By protocol, errors by the rules of the ILSVRC devkit, and where they stand among its five counts of an image."""
CHOSEN_ON: Mapping[str, Select] = {"fixed": "fixed", "val": "val", "pseudo": "val", "oracle": "oracle"}
"""By source of a threshold, which outcomes it was chosen by."""
_NUM_COUNTS, _BLACKLISTED = 5, 4


@dataclass(frozen=True)
class Measured:
    """A run's errors on test as outcomes per image.

    Example:
        >>> Measured("runs/a", 0.2, "val", {}, iou_threshold=0.5).label
        'runs/a (CAM threshold 0.2, val)'
    """

    run: str
    cam_threshold: float | None
    """None for boxes without one: of a network that predicts them itself, or of a box rule that cuts at none."""
    threshold_source: str
    """``fixed``, ``val``, ``pseudo`` or ``oracle``."""
    outcomes: dict[str, Outcome]
    """By key of ``metrics.json``."""
    iou_threshold: float
    """Fraction from which a box is a hit."""
    part: str = ""
    """Such as ``, 8 of 20 images`` where only part of ``test`` was measured."""
    supervision: str = ""
    """How the network was trained where not from image labels."""
    oracles: dict[str, Outcome] = field(default_factory=dict)
    """Localization errors at the threshold that is best on test itself, by the same keys; empty without thresholds."""
    object_shares: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """See :func:`camloc.report.objects.object_shares`."""

    @property
    def label(self) -> str:
        """The run with its supervision if it is strong, its CAM threshold and its source, and what was measured."""
        threshold = "no CAM threshold"
        if self.cam_threshold is not None:
            threshold = f"CAM threshold {self.cam_threshold:.3g}, {self.threshold_source}"
        return f"{self.run} ({f'{self.supervision}, ' if self.supervision else ''}{threshold}{self.part})"


def read_run(run: Path) -> Measured:
    """Read a run's ``metrics.json``, ``config.yaml``, ``predictions.csv`` and ``per_image/{val,test}.npz``.

    Its numbers and what it kept of every image must agree.

    Args:
        run: Its directory.

    Returns:
        The errors that can be compared; of predictions without a classifier, the GT-known error alone.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file cannot be read, or the files contradict each other.
    """
    metrics = _read(run / "metrics.json")
    iou_threshold = _iou_threshold(run / "config.yaml")
    test = PerImage.load(run / "per_image" / "test.npz")
    threshold, source = _threshold(run, metrics, test)
    select: Select = CHOSEN_ON[source]
    if lacks_val(run, source):
        raise FileNotFoundError(
            f"{run} has not measured val, on which its threshold was chosen and a paired difference chooses it again: "
            "evaluate it with threshold_from=val"
        )
    val = PerImage.load(run / "per_image" / "val.npz") if select == "val" else None
    oracles: dict[str, Outcome] = {}
    try:
        outcomes = {} if test.rank is None else {CLASSIFICATION: _classified(run, test, test.rank)}
        for condition in (condition for condition in LOCALIZATION if condition in test.conditions):
            if threshold is not None:
                oracles[LOCALIZATION[condition]] = localization_outcome(
                    test, condition, "oracle", iou_threshold=iou_threshold
                )
            outcomes[LOCALIZATION[condition]] = (
                Outcome(test.image_ids, hits(test, condition, iou_threshold)[:, 0], classes=test.target)
                if threshold is None
                else localization_outcome(
                    test, condition, select, iou_threshold=iou_threshold, cam_threshold=threshold, val=val
                )
            )
    except ValueError as error:
        raise ValueError(f"{run / 'per_image'}: {error}") from error
    outcomes |= _devkit_outcomes(run / "per_image")
    for key, outcome in outcomes.items():
        reported = _number(run, metrics, key)
        if not math.isclose(reported, outcome.error, abs_tol=1e-9):
            raise ValueError(
                f"{run}: metrics.json has {key} {reported:.6g}, but per_image/ gives {outcome.error:.6g} at IoU "
                f"{iou_threshold:g}; evaluate the run again"
            )
    num_images, in_split = (metrics.get(f"test/{count}") for count in ("num_images", "num_images_in_split"))
    part = "" if num_images == in_split else f", {num_images!r} of {in_split!r} images"
    # Anyone's run: only what camloc writes there is shown.
    supervision = TRAINED_WITH_BOXES if metrics.get("test/supervision") == TRAINED_WITH_BOXES else ""
    shares = object_shares(run)
    return Measured(str(run), threshold, source, outcomes, iou_threshold, part, supervision, oracles, shares)


def lacks_val(run: Path, source: object) -> bool:
    """Return whether a threshold was chosen on ``val`` that a run has not measured: that of its checkpoint."""
    return CHOSEN_ON.get(str(source)) == "val" and not (run / "per_image" / "val.npz").is_file()


def _classified(run: Path, test: PerImage, rank: NDArray[np.int64]) -> Outcome:
    """Return which pairs have the right class first, those without true boxes included."""
    path = run / "per_image" / "test_classification.npz"
    if not path.is_file():
        return Outcome(test.image_ids, rank < 1, classes=test.target)
    with outcome_arrays(path) as arrays:
        return Outcome(arrays["image_ids"], arrays["rank"] < 1, classes=arrays["target"])


def _devkit_outcomes(folder: Path) -> dict[str, Outcome]:
    """Read which images were localized by the devkit's rules, blacklisted ones left out."""
    found: dict[str, Outcome] = {}
    for protocol, columns in _DEVKIT.items():
        path = folder / f"test_{protocol}.npz"
        if not path.is_file():
            continue
        with outcome_arrays(path) as arrays:
            counts = np.unpackbits(arrays["counts"], axis=-1, count=_NUM_COUNTS).astype(np.bool_)
            counted = ~counts[:, _BLACKLISTED]
            ids, classes = arrays["image_ids"][counted], arrays["target"][counted]
        found |= {key: Outcome(ids, counts[counted, column], classes=classes) for key, column in columns.items()}
    return found


def _read(path: Path) -> dict[str, object]:
    """Read a mapping from a JSON or YAML file; JSON is YAML, but is read much faster by its own reader."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give the directory of a finished run")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}; evaluate the run again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping, got {type(content).__name__}; evaluate the run again")  # noqa: TRY004 - a file's content, not an argument
    return content


def _threshold(run: Path, metrics: dict[str, object], test: PerImage) -> tuple[float | None, str]:
    """Return the CAM threshold and its source; null, as if fixed, where boxes have none."""
    if not test.cam_thresholds.size:
        return None, "fixed"
    threshold = _number(run, metrics, "test/localization/cam_threshold")
    source = metrics.get("test/localization/threshold_source")
    if not isinstance(source, str) or source not in CHOSEN_ON:
        raise ValueError(
            f"{run / 'metrics.json'}: test/localization/threshold_source must be one of {tuple(CHOSEN_ON)}, "
            f"got {source!r}"
        )
    return threshold, source


def _number(run: Path, metrics: dict[str, object], key: str) -> float:
    value = metrics.get(key)
    if not isinstance(value, int | float):
        raise ValueError(f"{run / 'metrics.json'} has no number under {key}, got {value!r}")  # noqa: TRY004 - the same
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{run / 'metrics.json'} has an impossible number under {key}") from error


def _iou_threshold(path: Path) -> float:
    localization = _read(path).get("localization")
    value = localization.get("iou_threshold") if isinstance(localization, dict) else None
    if not isinstance(value, int | float):
        found = reprlib.repr(value)  # aliases make a value that is short in YAML endless when it is written out
        raise ValueError(f"{path} has no fraction under localization.iou_threshold, got {found}")  # noqa: TRY004 - the same
    return float(value)

"""Do two runs differ by more than chance? ``camloc compare RUN_A RUN_B``."""

import argparse
import json
import math
import reprlib
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast, get_args

import numpy as np
import yaml  # type: ignore[import-untyped] # no types published
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from camloc.metrics.functional.bootstrap import (
    NUM_RESAMPLES,
    Interval,
    Outcome,
    Select,
    localization_outcome,
    paired_difference,
)
from camloc.metrics.functional.localization import Condition
from camloc.metrics.functional.per_image import PerImage, hits

_CLASSIFICATION = "test/classification/top1_error"
_CONDITIONS: dict[Condition, str] = {
    "top1": "test/localization/top1_error",
    "top5": "test/localization/top5_error",
    "gt_known": "test/localization/gt_known_error",
}
_DEVKIT: Mapping[str, Mapping[str, int]] = {
    "ilsvrc": {"test/localization/ilsvrc_top1_error": 0, "test/localization/ilsvrc_top5_error": 1},
    "paper_heuristic": {"test/localization/heuristic_top5_error": 1},
}
"""By protocol, errors by the rules of the ILSVRC devkit, and where they stand among its five counts of an image."""
_BLACKLISTED = 4
_NAMES = {
    _CLASSIFICATION: "top-1 classification",
    _CONDITIONS["top1"]: "top-1 localization",
    _CONDITIONS["top5"]: "top-5 localization",
    _CONDITIONS["gt_known"]: "GT-known localization",
    "test/localization/ilsvrc_top1_error": "top-1, devkit",
    "test/localization/ilsvrc_top5_error": "top-5, devkit",
    "test/localization/heuristic_top5_error": "top-5, heuristic",
}
_NOTE = (
    f"A - B in percentage points; below zero, A is better. The 95% intervals are bootstrapped over the images "
    f"({NUM_RESAMPLES:,} paired resamples); a threshold that was chosen is chosen again in each resample, but for the "
    "devkit's errors. They are not corrected for the number of rows, and they do not include the variation between "
    "trainings with different seeds."
)


@dataclass(frozen=True)
class ComparedRow:
    """An error of both runs and their difference.

    Example:
        >>> row = ComparedRow("GT-known localization", 0.40, 0.45, Interval(-0.05, -0.08, -0.02))
        >>> row.difference_text, row.interval_text, row.verdict
        ('-5.00', '[-8.00, -2.00]', 'significant')
    """

    name: str
    error_a: float
    error_b: float
    difference: Interval
    """``error_a`` minus ``error_b``, fractions."""

    @property
    def difference_text(self) -> str:
        """``difference`` in percentage points."""
        return f"{100 * self.difference.value:+.2f}"

    @property
    def interval_text(self) -> str:
        """Its 95% interval in percentage points."""
        return f"[{100 * self.difference.low:+.2f}, {100 * self.difference.high:+.2f}]"

    @property
    def verdict(self) -> str:
        """``significant`` if zero is outside the interval."""
        return "significant" if self.difference.excludes_zero else "not significant"


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
    threshold_source: Select
    outcomes: dict[str, Outcome]
    """By key of ``metrics.json``."""
    iou_threshold: float
    """Fraction from which a box is a hit."""
    part: str = ""
    """Such as ``, 8 of 20 images`` where only part of ``test`` was measured."""
    supervision: str = ""
    """How the network was trained where not from image labels."""

    @property
    def label(self) -> str:
        """The run with its supervision if it is strong, its CAM threshold and its source, and what was measured."""
        threshold = "no CAM threshold"
        if self.cam_threshold is not None:
            threshold = f"CAM threshold {self.cam_threshold:.3g}, {self.threshold_source}"
        return f"{self.run} ({f'{self.supervision}, ' if self.supervision else ''}{threshold}{self.part})"


def read_run(run: Path) -> Measured:
    """Read a run's ``metrics.json``, ``config.yaml`` and ``per_image/{val,test}.npz``, which must agree.

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
    threshold, select = _threshold(run, metrics, test)
    val = PerImage.load(run / "per_image" / "val.npz") if select == "val" else None
    try:
        outcomes = {} if test.rank is None else {_CLASSIFICATION: Outcome(test.image_ids, test.rank < 1)}
        for condition in (condition for condition in _CONDITIONS if condition in test.conditions):
            outcomes[_CONDITIONS[condition]] = (
                Outcome(test.image_ids, hits(test, condition, iou_threshold)[:, 0])
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
    part = "" if num_images == in_split else f", {num_images} of {in_split} images"
    supervision = str(metrics.get("test/supervision", ""))
    return Measured(str(run), threshold, select, outcomes, iou_threshold, part, supervision)


def _devkit_outcomes(folder: Path) -> dict[str, Outcome]:
    """Read which images were localized by the devkit's rules, blacklisted ones left out."""
    found: dict[str, Outcome] = {}
    for protocol, columns in _DEVKIT.items():
        path = folder / f"test_{protocol}.npz"
        if not path.is_file():
            continue
        try:
            with np.load(path, allow_pickle=False) as arrays:
                counts = np.unpackbits(arrays["counts"], axis=-1, count=int(arrays["counts_length"])).astype(np.bool_)
                counted = ~counts[:, _BLACKLISTED]
                ids = arrays["image_ids"][counted]
            found |= {key: Outcome(ids, counts[counted, column]) for key, column in columns.items()}
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, IndexError, ValueError, OSError) as error:
            raise ValueError(f"{path} holds no outcomes per image: {error}; evaluate the run again") from error
    return found


def compare(a: Measured, b: Measured) -> list[ComparedRow]:
    """Compare the errors of two runs.

    Args:
        a: One run.
        b: Another, measured on the same images.

    Returns:
        A row for each error that both runs have.

    Raises:
        ValueError: If the images or the IoU thresholds differ.

    Example:
        >>> import numpy as np
        >>> key, ids = "test/localization/top1_error", np.array(["a", "b"])
        >>> run = Measured("runs/a", 0.2, "fixed", {key: Outcome(ids, np.array([True, False]))}, iou_threshold=0.5)
        >>> [(row.name, row.difference.value) for row in compare(run, run)]
        [('top-1 localization', 0.0)]
    """
    if a.iou_threshold != b.iou_threshold:
        raise ValueError(
            f"{a.run} was measured at IoU {a.iou_threshold:g} and {b.run} at IoU {b.iou_threshold:g}; evaluate both at "
            "the same localization.iou_threshold"
        )
    rows = []
    for key, outcome in a.outcomes.items():
        if key not in b.outcomes:
            continue
        other = b.outcomes[key]
        rows.append(ComparedRow(_NAMES[key], outcome.error, other.error, paired_difference(outcome, other)))
    return rows


def comparison_table(rows: Sequence[ComparedRow]) -> Table:
    """Lay out rows for a terminal; at 80 columns only names are broken.

    Example:
        >>> comparison_table([ComparedRow("top-1 localization", 0.4, 0.4, Interval(0, 0, 0))]).row_count
        1
    """
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("error (%)")
    for name in ("A", "B", "A - B", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        errors = (f"{100 * error:.2f}" for error in (row.error_a, row.error_b))
        # Not markup: brackets would be read as styles.
        table.add_row(row.name, *errors, row.difference_text, Text(row.interval_text), row.verdict)
    return table


def main(arguments: Sequence[str]) -> int:
    """Print the comparison of two runs.

    Args:
        arguments: Two run directories, or ``--help``.

    Returns:
        The exit code: 1 if the runs cannot be compared, with one line on stderr that says why.

    Raises:
        SystemExit: With code 0 after ``--help``, with code 1 if the arguments are wrong.
    """
    parser = _Parser(prog="camloc compare", description="Do two runs' errors on test differ by more than chance?")
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="directory of a finished run")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="the same, measured on the same images")
    options = parser.parse_args(arguments)
    try:
        a, b = read_run(options.run_a), read_run(options.run_b)
        rows = compare(a, b)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    console = Console(highlight=False)
    console.print(Text(f"A: {a.label}\nB: {b.label}"), soft_wrap=True)
    console.print(comparison_table(rows))
    console.print(Text(_NOTE))
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"error: {message}; usage: camloc compare RUN_A RUN_B\n")


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


def _threshold(run: Path, metrics: dict[str, object], test: PerImage) -> tuple[float | None, Select]:
    """Return the CAM threshold and its source; null, as if fixed, where boxes have none."""
    if not test.cam_thresholds.size:
        return None, "fixed"
    threshold = _number(run, metrics, "test/localization/cam_threshold")
    source = metrics.get("test/localization/threshold_source")
    if source not in get_args(Select):
        raise ValueError(
            f"{run / 'metrics.json'}: test/localization/threshold_source must be one of {get_args(Select)}, "
            f"got {source!r}"
        )
    return threshold, cast("Select", source)


def _number(run: Path, metrics: dict[str, object], key: str) -> float:
    value = metrics.get(key)
    if not isinstance(value, int | float):
        raise ValueError(f"{run / 'metrics.json'} has no number under {key}, got {value!r}")  # noqa: TRY004 - the same
    return float(value)


def _iou_threshold(path: Path) -> float:
    localization = _read(path).get("localization")
    value = localization.get("iou_threshold") if isinstance(localization, dict) else None
    if not isinstance(value, int | float):
        found = reprlib.repr(value)  # aliases make a value that is short in YAML endless when it is written out
        raise ValueError(f"{path} has no fraction under localization.iou_threshold, got {found}")  # noqa: TRY004 - the same
    return float(value)

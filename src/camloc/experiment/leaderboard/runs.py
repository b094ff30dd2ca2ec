"""What a run directory says of its row in a leaderboard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camloc.experiment.finished_runs import LeftOut, completed_metrics, plain, training_of, value_of
from camloc.experiment.leaderboard.names import Named, data_of, method_of, network_of, objective_name, part_name
from camloc.experiment.run_directory import ReportedRow, RunDirectory, read_json
from camloc.experiment.trusted import read_config_file, safe
from camloc.metrics.functional.bootstrap import interval
from camloc.metrics.functional.per_image import PerImage
from camloc.report.leaderboard import SOURCES, Cost, Metric, Score
from camloc.report.measured_run import Measured, lacks_val, read_run
from camloc.report.objects import object_shares
from camloc.report.table import TRAINED_WITH_BOXES

CENTRED_BOX = "centred_box_"
LARGEST = 1e15
"""Nothing that a run writes is larger."""
_AT_BEST = "_at_best"
"""End of the key of a number at the threshold that is best on the reported images."""


@dataclass(frozen=True)
class BoardRun:
    """A completed run of a network on a test split."""

    path: Path
    data: str
    num_images: int
    test_images: frozenset[str]
    """Names of the images; empty where the run kept no outcomes."""
    network: Named
    method: Named
    views: str
    cam_views: str | None
    """Of a network trained by plain cross entropy and mapped by plain CAM, the views; null of other methods."""
    weights: str
    """The directory of the training, or what published weights are called: runs of the same have the same weights."""
    source: str
    """Of the CAM threshold that errors are reported at."""
    metrics: Sequence[Metric]
    scores: Mapping[str, Mapping[str, Score]]
    """By key of ``metrics.json``, by source."""
    centred_box: Score | None
    measured: Measured | None
    """Outcomes of each image; null where the run kept none, or none of the ``val`` that its threshold is from."""
    object_shares: Mapping[tuple[str, str], float]
    """See :func:`camloc.report.objects.object_shares`."""
    cost: Cost | None
    remarks: Sequence[str]


def read_runs(directories: Sequence[Path]) -> Iterator[BoardRun | LeftOut]:
    """Read run directories; one that cannot be read is left out, and says why."""
    for path in directories:
        try:
            yield _read(RunDirectory(path))
        except (OSError, ValueError) as error:
            yield LeftOut(path, " ".join(str(error).split()))


def _read(run: RunDirectory) -> BoardRun:
    """Read a run.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If it has not completed, measured no network on ``test``, or its files contradict each other.
    """
    if not run.config.is_file():
        raise FileNotFoundError("it has no config.yaml")
    config = read_config_file(run.config)
    values, metrics = plain(config), completed_metrics(run)
    rows = [row for row in run.read_rows() if row.key.startswith("test/")]
    if not rows or not _number(metrics, "test/num_images", run.metrics.name):
        raise ValueError("it has no numbers of test in metrics.json and rows.json")
    remarks, is_plain, is_known = [], False, True
    try:
        checkpoint, of_training = training_of(config, run.path)
        training = plain(of_training) if checkpoint is not None or "objective" in config else None
        directory = run.path if checkpoint is None else _directory_of(checkpoint)
        is_plain = training is None or objective_name(value_of(training, "objective._target_")) == "cross_entropy"
    except ValueError as error:
        training, directory = None, run.path
        remarks.append(f"how it was trained is not known, for {error}")
        is_known = False
    network = network_of(values)
    method = method_of(values, training, is_known=is_known)
    views = part_name(value_of(values, "views._target_"))
    if metrics.get("test/supervision") == TRAINED_WITH_BOXES:
        of_network = objective_name(value_of(training or {}, "objective._target_"))  # which predicts its boxes itself
        method = Named(f"{of_network}, {TRAINED_WITH_BOXES}", {})
    if training is not None and value_of(training, "datamodule.pseudo_boxes") is not None:
        remarks.append("its checkpoint was chosen on pseudo boxes")
    part = next((row.part for row in rows if row.part), "")
    if part:
        remarks.append(f"numbers of a part: {safe(part)}")
    source = metrics.get("test/localization/threshold_source", "")
    if source not in SOURCES:
        raise ValueError(f"its threshold is from {safe(str(source))!r:.40}, and sources are {', '.join(SOURCES[1:5])}")
    measured, test_images = None, frozenset[str]()
    if run.per_image("test").is_file():
        test_images = frozenset(PerImage.load(run.per_image("test")).image_ids.tolist())
        if lacks_val(run.path, source):
            remarks.append("not compared: it has not measured val, evaluate it with threshold_from=val")
        else:
            measured = read_run(run.path)
    scores = _scores(rows, metrics, measured)
    centred = next((row.key for row in rows if row.key.rpartition("/")[2].startswith(CENTRED_BOX)), None)
    return BoardRun(
        path=run.path,
        data=data_of(values),
        num_images=metrics["test/num_images"],
        test_images=test_images,
        network=network,
        method=method,
        views=views,
        cam_views=views if is_plain and method.name in ("cam", f"cam, {views}") else None,
        weights=str(directory.resolve()) if training is not None else str(value_of(values, "backbone.weights")),
        source=source,
        metrics=_metrics(rows, scores),
        scores=scores,
        centred_box=None if centred is None else _score(metrics, centred),
        measured=measured,
        object_shares=object_shares(run.path) if measured is None else measured.object_shares,
        cost=_cost(RunDirectory(directory)),
        remarks=remarks,
    )


def _directory_of(checkpoint: Path) -> Path:
    """Return the run directory of a checkpoint, which may be named by it."""
    return checkpoint if checkpoint.is_dir() else checkpoint.parent.parent


def _scores(
    rows: Sequence[ReportedRow], metrics: Mapping[str, Any], measured: Measured | None
) -> dict[str, dict[str, Score]]:
    found: dict[str, dict[str, Score]] = {}
    for row in rows:
        score = _score(metrics, row.key)
        if score is None or row.key.rpartition("/")[2].startswith(CENTRED_BOX):
            continue
        if row.threshold_source not in SOURCES:
            raise ValueError(
                f"rows.json says that {safe(row.key)} has a threshold from {safe(row.threshold_source)!r:.40}"
            )
        found.setdefault(row.key.removesuffix(_AT_BEST), {})[row.threshold_source] = score
    for key, outcome in (measured.oracles if measured is not None else {}).items():
        if key in found and "oracle" not in found[key]:
            error = interval(outcome)
            found[key]["oracle"] = Score(error.value, (error.low, error.high))
    return found


def _metrics(rows: Sequence[ReportedRow], scores: Mapping[str, object]) -> list[Metric]:
    """Return what was measured, localization first: it is what is compared."""
    found = [Metric(row.key, safe(row.title), row.direction) for row in rows if row.key in scores]
    return sorted(
        found, key=lambda metric: (not metric.key.endswith("/gt_known_error"), "/classification/" in metric.key)
    )


def _score(metrics: Mapping[str, Any], key: str) -> Score | None:
    value, low, high = (_number(metrics, name, "metrics.json") for name in (key, f"{key}_low", f"{key}_high"))
    if value is None:
        return None
    return Score(value, None if low is None or high is None else (low, high))


def _number(values: Mapping[str, Any], key: str, file: str) -> float | None:
    """Return a number of a run's file; null where there is none.

    Raises:
        ValueError: If something else stands there, or what no run measures.
    """
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise ValueError(f"its {file} has {safe(repr(value)[:40])} under {key}")
    return float(value)


def _cost(run: RunDirectory) -> Cost | None:
    """Return what the training took; null where it did not write it, as before camloc 0.3."""
    found = read_json(run.cost)
    values = [_number(found, name, run.cost.name) for name in Cost.__dataclass_fields__]
    if None in values:
        return None
    return Cost(**{name: found[name] for name in Cost.__dataclass_fields__})

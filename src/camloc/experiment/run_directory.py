"""The files of a run directory: their names and their life. Imports neither torch nor Lightning."""

import contextlib
import json
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from omegaconf import DictConfig, OmegaConf

import camloc
from camloc.experiment.run_lock import RunLock
from camloc.experiment.saved_values import saved_values
from camloc.export.csv_file import write_csv
from camloc.export.replaced import replaced

VERSION_KEY = "camloc_version"
"""Key of ``config.yaml`` and of checkpoints: the version that wrote them."""

# What a run writes, as patterns below its directory; what else lies there is not ours to remove.
_OWN_FILES = (
    *("config.yaml", "metrics.json", "metrics.csv", "rows.json", "status.json", "traceback.txt", "unreadable.json"),
    "cost.json",
    *("splits.csv", "data_problems.csv"),
    *("predictions.csv", "submission.txt", "threshold_curve.csv", "score_maps.npz", "per_image/*.npz"),
    *("checkpoints/best.ckpt", "checkpoints/last.ckpt", "wandb_run_id.txt"),
    *("predictions.jsonl", "summary.json", "coco.json", "label_studio.json", "overlays.mp4"),
    *("overlays/**/*.png", "maps/**/*.npy", "yolo/data.yaml", "yolo/labels/**/*.txt", "voc/Annotations/**/*.xml"),
    *("model.onnx", "model.pt2", "card.json", "localize.py"),
    *("report/*.html", "report/*.png", "report/gallery/*.png", "report/gallery/*.json"),
    *("report/explorer/*.js", "report/explorer/*.css", "report/explorer/kept/*.npz"),
    "report/explorer/thumbnails/*.jpg",
)


class ReportedRow(NamedTuple):
    """A number of ``metrics.json`` that a run reports, for whoever compares runs."""

    key: str
    """The whole key, such as ``val/localization/gt_known_error``."""
    title: str
    direction: Literal["min", "max"]
    """Which values are better: ``min`` for errors and losses, ``max`` for accuracies."""
    threshold_source: str = ""
    """Where its CAM threshold came from: ``fixed``, ``val``, ``pseudo`` or ``oracle``; empty where it has none."""
    part: str = ""
    """Such as ``8 of 20 images`` where only part of the split was measured; empty where all of it was."""
    supervision: str = ""
    """``trained with boxes`` where training saw true boxes; empty where it saw image labels alone."""


class RunDirectory:
    """One directory per run; under DDP only the first process writes.

    Every path of a run is an attribute, except that a split may have several files in ``per_image/``.

    Args:
        path: The directory; Hydra has made it before a run starts.

    Example:
        >>> run = RunDirectory(Path("runs/a"))
        >>> run.best_checkpoint.as_posix(), run.per_image("test", "pxap").as_posix()
        ('runs/a/checkpoints/best.ckpt', 'runs/a/per_image/test_pxap.npz')
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.json"
        self.rows = path / "rows.json"
        self.epochs = path / "metrics.csv"
        self.status = path / "status.json"
        self.cost = path / "cost.json"
        self.traceback = path / "traceback.txt"
        self.unreadable = path / "unreadable.json"
        self.splits = path / "splits.csv"
        self.data_problems = path / "data_problems.csv"
        self.predictions = path / "predictions.csv"
        self.found = path / "predictions.jsonl"
        self.summary = path / "summary.json"
        self.coco = path / "coco.json"
        self.label_studio = path / "label_studio.json"
        self.overlay_video = path / "overlays.mp4"
        self.overlays, self.maps, self.yolo, self.voc = (path / name for name in ("overlays", "maps", "yolo", "voc"))
        self.card = path / "card.json"
        self.localize_script = path / "localize.py"
        self.submission = path / "submission.txt"
        self.threshold_curve = path / "threshold_curve.csv"
        self.score_maps = path / "score_maps.npz"
        self.checkpoints = path / "checkpoints"
        self.best_checkpoint = self.checkpoints / "best.ckpt"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.report = path / "report"
        self.gallery = self.report / "gallery"
        self.wandb_run_id = path / "wandb_run_id.txt"
        self._writes = is_first_process()
        self._lock: RunLock | None = None

    def per_image(self, split: str, protocol: str | None = None) -> Path:
        """Return the file of a split's outcomes per image, of one protocol where several have one."""
        return self.path / "per_image" / f"{split}{f'_{protocol}' if protocol else ''}.npz"

    def start(self, *, overwrite: bool = False) -> None:
        """Start a new run here: remove what an earlier one left, so that nothing of it is taken for this one's.

        Args:
            overwrite: Whether the files of a completed run may be removed too.

        Raises:
            FileExistsError: If there is a completed run that may not be overwritten.
        """
        self.refuse_completed(overwrite=overwrite)
        if not self._writes:
            return
        for file in list(self.own_files()):
            file.unlink()

    def refuse_completed(self, *, overwrite: bool) -> None:
        """Refuse a directory that holds a completed run.

        Raises:
            FileExistsError: If it does, and ``overwrite`` is false.
        """
        if self.read_status().status == "completed" and not overwrite:
            raise FileExistsError(
                f"{self.path} holds a completed run; choose another hydra.run.dir=, or overwrite=true to replace it"
            )

    def make(self) -> None:
        """Make the directory where it is missing.

        Raises:
            OSError: If it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable("made", error) from error

    def lock(self) -> None:
        """Let no other process work here until this one has ended; the other processes of this run do not lock.

        Raises:
            FileExistsError: If another one works here.
            OSError: If the directory cannot be written to.
        """
        if self._writes:
            self._lock = self._locked()

    def refuse_running(self) -> None:
        """Refuse a directory that another process works in; a run that was killed counts as interrupted.

        Raises:
            FileExistsError: If there is one.
            OSError: If the directory cannot be written to.
        """
        if self._writes and self.path.exists():
            self._locked().release()

    def _locked(self) -> RunLock:
        try:
            return RunLock(self.path)
        except BlockingIOError as error:
            raise FileExistsError(
                f"{self.path} is in use by {error.filename or 'another process'}; wait for it to end, or choose "
                "another hydra.run.dir="
            ) from error
        except OSError as error:
            raise self._unusable("written to", error) from error

    def _unusable(self, what: str, error: OSError) -> OSError:
        return OSError(
            f"hydra.run.dir={self.path} cannot be {what}: {error.strerror}; choose another with hydra.run.dir="
        )

    def own_files(self) -> Iterator[Path]:
        """Yield the files of an earlier run, which starting a new one removes."""
        for pattern in _OWN_FILES:
            yield from self.path.glob(pattern)

    def write_config(self, config: DictConfig) -> None:
        """Write ``config.yaml``: ``camloc train --config-dir RUN --config-name config`` runs it again."""
        saved = saved_values(config)
        for allowance in {"overwrite", "trust"} & saved.keys():
            saved[allowance] = False  # what was allowed once is not allowed when this is run again
        self._write(self.config, OmegaConf.to_yaml({**saved, VERSION_KEY: camloc.__version__}))

    def write_status(self, status: Literal["running", "completed", "failed"], error: str | None = None) -> None:
        """Write ``status.json``; while running it names the process too."""
        if self._writes:
            self._write_status(status, error)

    def write_failure(self, error: str, trace: str) -> None:
        """Write that this process has failed, in ``status.json``, and where, in ``traceback.txt``.

        Of several processes the first one to fail writes, whichever it is: the others may be killed for it at once. A
        completed run whose further training could not begin stays completed.
        """
        status = self.read_status().status
        if status == "failed" or not (self._writes or status == "running"):
            return
        if status == "running":
            self._write_status("failed", error)
        with contextlib.suppress(OSError):  # a full disk has no room for it either, and is the error to report
            _replace(self.traceback, trace)

    def write_data_problems(self, problems: Sequence[tuple[str, str]]) -> bool:
        """Write ``data_problems.csv``, all that is wrong in a data set's files, and tell whether that was done."""
        if not self._writes:
            return False
        try:
            write_csv(self.data_problems, ("where", "problem"), problems)
        except OSError:  # a full disk is not what is to be reported
            return False
        return True

    def _write_status(self, status: str, error: str | None) -> None:
        content: dict[str, str | int | None] = {"status": status, "error": error}
        if status == "running":
            content |= {"host": socket.gethostname(), "process": os.getpid()}
        try:
            _replace(self.status, json.dumps(content, indent=2))
        except OSError:
            if status != "failed":
                raise
            self._overwrite_status()

    def _overwrite_status(self) -> None:
        """Say that the run has failed where there is no room for a new file: no run that has ended stays running."""
        with contextlib.suppress(OSError), self.status.open("r+b") as file:
            room = len(file.read())
            file.seek(0)
            file.write(b'{"status": "failed", "error": null}'.ljust(room))

    def read_status(self) -> "Status":
        """Read ``status.json``; nothing is known where it is missing or was cut off."""
        content = read_json(self.status)
        return Status(**{name: content.get(name) for name in Status._fields})

    def write_metrics(self, metrics: Mapping[str, float | int | str]) -> None:
        """Write ``metrics.json``: flat keys, fractions; a number that is not finite is left out."""
        finite = {k: v for k, v in metrics.items() if not isinstance(v, float) or math.isfinite(v)}
        self._write(self.metrics, json.dumps(finite, indent=2))

    def write_rows(self, rows: Sequence[ReportedRow]) -> None:
        """Write ``rows.json``: title, direction and threshold source of each number that the run reports."""
        self._write(self.rows, json.dumps([row._asdict() for row in rows], indent=2))

    def read_rows(self) -> list[ReportedRow]:
        """Read ``rows.json``; empty where it is missing or was cut off.

        Raises:
            ValueError: If an entry is none.
        """
        return [self._row(entry) for entry in read_json(self.rows, list)]

    def _row(self, entry: Any) -> ReportedRow:  # noqa: ANN401 - a JSON value
        needed = {name for name in ReportedRow._fields if name not in ReportedRow._field_defaults}
        is_row = isinstance(entry, dict) and needed <= entry.keys() <= {*ReportedRow._fields}
        if not is_row or not all(isinstance(value, str) for value in entry.values()):
            raise ValueError(f"{self.rows} has an entry that is no number with its title and direction")
        return ReportedRow(**entry)

    def _write(self, file: Path, text: str) -> None:
        if self._writes:
            _replace(file, text)


def _replace(file: Path, text: str) -> None:
    with replaced(file) as partial:
        partial.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


class Status(NamedTuple):
    """Contents of ``status.json``; all None where there is none."""

    status: str | None
    """``running``, ``completed`` or ``failed``."""
    error: str | None
    host: str | None
    """While running: the machine of the first process."""
    process: int | None
    """While running: the id of the first process."""


def read_json(file: Path, kind: type[Any] = dict) -> Any:  # noqa: ANN401 - a JSON value
    """Return a file's content; an empty one where it is missing, was cut off or is of another kind."""
    if not file.is_file():  # nobody may ever write to a FIFO
        return kind()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return kind()
    return content if isinstance(content, kind) else kind()


def is_first_process() -> bool:
    """Return whether this is the process that writes files; asked before any process group exists."""
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return int(next((rank for rank in ranks if rank is not None), 0)) == 0


def is_started_by_first_process() -> bool:
    """Return whether the first process has started this one, after it had done all that comes before a device."""
    return "LOCAL_RANK" in os.environ and not {"RANK", "SLURM_PROCID"} & os.environ.keys()

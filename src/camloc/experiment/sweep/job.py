"""A job of a sweep as its directory tells it: what is to be run, what was run, how it ended."""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import CompactHydraException

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.sweep.process import exit_reason, job_command, run_process_tree
from camloc.experiment.sweep.summary import JobResult

_JOB_FILE = "job.json"
_STDERR_LOG = "stderr.log"


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Beside the run's own files its directory holds ``job.json`` (overrides, command, seconds) and ``stderr.log``.

    Example:
        >>> Job(1, ["backbone=vgg_gap", "seed=0"], {"backbone": "vgg_gap"}, Path("sweep"), "1").directory.as_posix()
        'sweep/1'
    """

    number: int
    """0-based, as Hydra counts; people are told the next one."""
    overrides: Sequence[str]
    """All of them, in Hydra's grammar."""
    swept: Mapping[str, str]
    """Those in which the jobs differ."""
    sweep_directory: Path
    name: str
    """The job's directory below the sweep's."""

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.sweep_directory / self.name

    def completed_before(self) -> bool:
        """Tell whether the directory holds this very job, completed.

        Raises:
            CompactHydraException: If it holds another one.
        """
        file = self.directory / _JOB_FILE
        if not file.is_file():
            if (self.directory / "status.json").exists():
                raise CompactHydraException(
                    f"sweep.skip_completed=true: {self.directory} holds a run, but no {_JOB_FILE} that says of which "
                    "overrides; give the directory of a sweep as hydra.sweep.dir"
                )
            return False
        was, now = set(_read(file).get("overrides") or []), set(self.overrides)
        if was != now:
            raise CompactHydraException(
                f"sweep.skip_completed=true: {file} is of another job, {_listed(was - now)} instead of "
                f"{_listed(now - was)}; give the overrides that the sweep had, or another hydra.sweep.dir"
            )
        return self._status()[0] == "completed"

    def skip(self) -> JobResult:
        """Return the result of a job that has completed before."""
        seconds = _read(self.directory / _JOB_FILE).get("seconds")
        return JobResult(self.number + 1, self.name, self.swept, "skipped", seconds, metrics=self._metrics())

    def adopt(self, seconds: float | None) -> None:
        """Keep the record of a job whose numbers came out of a shared evaluation of so many seconds."""
        self._write_record([], seconds)

    def run(self, program: Sequence[str], hydra_overrides: Sequence[str], cwd: Path) -> JobResult:
        """Run the job in processes of its own; interrupted, stop them.

        Args:
            program: See :func:`camloc.experiment.sweep.process.job_command`.
            hydra_overrides: The same.
            cwd: Working directory.

        Returns:
            How it ended; the status file says the same, also where the job itself had no time to write it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "status.json").unlink(missing_ok=True)  # an earlier run's is not this one's
        command = job_command(program, self.overrides, hydra_overrides, self.directory, self.number)
        self._write_record(command, None)
        start = time.monotonic()
        exit_code = None
        with contextlib.suppress(KeyboardInterrupt):
            exit_code = run_process_tree(command, cwd, self.directory / _STDERR_LOG)
        seconds = round(time.monotonic() - start, 1)
        self._write_record(command, seconds)
        done = (self.number + 1, self.name, self.swept)
        status, error = self._status()
        if status == "completed":
            return JobResult(*done, "completed", seconds, metrics=self._metrics())
        if exit_code is None:
            RunDirectory(self.directory).write_status("failed", error="interrupted")
            return JobResult(*done, "interrupted", seconds)
        if status != "failed" or not error:
            error = exit_reason(exit_code, self.directory / _STDERR_LOG)
            RunDirectory(self.directory).write_status("failed", error=error)
        return JobResult(*done, "failed", seconds, error=error)

    def _status(self) -> tuple[str | None, str | None]:
        content = _read(self.directory / "status.json")
        return content.get("status"), content.get("error")

    def _metrics(self) -> dict[str, float | int | str]:
        return _read(self.directory / "metrics.json")

    def _write_record(self, command: Sequence[str], seconds: float | None) -> None:
        record = {"overrides": list(self.overrides), "command": list(command), "seconds": seconds}
        (self.directory / _JOB_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    # Not there, or half written by a job that was killed: nothing is known.
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _listed(overrides: Iterable[str]) -> str:
    return " ".join(sorted(overrides)) or "nothing"

"""A job of a sweep, as its directory records it: what is to run, what ran, how it ended."""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import CompactHydraException

from camloc.experiment.run_directory import RunDirectory, read_json
from camloc.experiment.sweep.process import exit_reason, job_command, run_process_tree
from camloc.experiment.sweep.summary import JobResult, JobStatus
from camloc.export.replaced import replaced

_JOB_FILE = "job.json"
_STDERR_LOG = "stderr.log"


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Besides the run's own files its directory holds ``job.json`` (overrides, command, seconds) and ``stderr.log``.

    Example:
        >>> Job(1, ["backbone=vgg_gap", "seed=0"], {"backbone": "vgg_gap"}, Path("sweep"), "1").directory.as_posix()
        'sweep/1'
    """

    number: int
    """0-based, as Hydra counts; people read the next one."""
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

    @property
    def run_directory(self) -> RunDirectory:
        """Its files."""
        return RunDirectory(self.directory)

    def completed_before(self) -> bool:
        """Return whether the directory holds this very job, completed.

        Raises:
            CompactHydraException: If it holds another one.
        """
        file = self.directory / _JOB_FILE
        if not file.is_file():
            if self.run_directory.status.exists():
                raise CompactHydraException(
                    f"sweep.skip_completed=true: {self.directory} holds a run, but no {_JOB_FILE} that says of which "
                    "overrides; give the directory of a sweep as hydra.sweep.dir"
                )
            return False
        was, now = set(read_json(file).get("overrides") or []), set(self.overrides)
        if was != now:
            raise CompactHydraException(
                f"sweep.skip_completed=true: {file} is of another job, {_listed(was - now)} instead of "
                f"{_listed(now - was)}; give the overrides that the sweep had, or another hydra.sweep.dir"
            )
        return self.run_directory.read_status().status == "completed"

    def refuse_running(self) -> None:
        """Refuse a directory that another process works in, before anything in it is changed.

        Raises:
            CompactHydraException: If there is one.
        """
        try:
            self.run_directory.refuse_running()
        except OSError as error:
            raise CompactHydraException(f"error: {error}") from error

    def refuse_completed(self) -> None:
        """Refuse a directory that holds a completed job, this one or another.

        Raises:
            CompactHydraException: If it does.
        """
        if self.run_directory.read_status().status == "completed":
            raise CompactHydraException(
                f"{self.directory} holds a completed job; choose another hydra.sweep.dir=, or run only what has not "
                "completed with sweep.skip_completed=true, or replace it with overwrite=true"
            )

    def skip(self) -> JobResult:
        """Return the result of a job that has completed before."""
        return self._result("skipped", read_json(self.directory / _JOB_FILE).get("seconds"))

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
            How it ended; the status file says the same, even where the job itself had no time to write it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        run = self.run_directory
        run.status.unlink(missing_ok=True)  # an earlier run's is not this one's
        command = job_command(program, self.overrides, hydra_overrides, self.directory, self.number)
        self._write_record(command, None)
        start = time.monotonic()
        exit_code = None
        with contextlib.suppress(KeyboardInterrupt):
            exit_code = run_process_tree(command, cwd, self.directory / _STDERR_LOG)
        seconds = round(time.monotonic() - start, 1)
        self._write_record(command, seconds)
        status = run.read_status()
        if status.status == "completed":
            return self._result("completed", seconds)
        if exit_code is None:
            run.write_status("failed", error=status.error or "interrupted")
            return self._result("interrupted", seconds)
        error = status.error if status.status == "failed" else None
        if not error:
            error = exit_reason(exit_code, self.directory / _STDERR_LOG)
            run.write_status("failed", error=error)
        return self._result("failed", seconds, error)

    def _result(self, status: JobStatus, seconds: float | None, error: str | None = None) -> JobResult:
        run, done = self.run_directory, status in ("completed", "skipped")
        return JobResult(
            self.number + 1,
            self.name,
            self.swept,
            status,
            seconds,
            error=error,
            metrics=read_json(run.metrics) if done else {},
            rows=run.read_rows() if done else (),
        )

    def _write_record(self, command: Sequence[str], seconds: float | None) -> None:
        record = {"overrides": list(self.overrides), "command": list(command), "seconds": seconds}
        with replaced(self.directory / _JOB_FILE) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _listed(overrides: Iterable[str]) -> str:
    return " ".join(sorted(overrides)) or "nothing"

"""The Hydra launcher of sweeps, for any sweeper. Imports neither torch nor Lightning."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from camloc.experiment.entry import Entry
from camloc.experiment.run_directory import is_first_process
from camloc.experiment.sweep.job import Job
from camloc.experiment.sweep.summary import (
    JobResult,
    best_job,
    chosen_metric,
    overrides_text,
    reported_rows,
    summary_table,
    write_summary,
)

CAM_THRESHOLD = "localization.cam_threshold"
FEWEST_TO_SHARE = 2
SUMMARY_FILE = "sweep_summary.csv"
JOB_NUMBER = "${hydra.job.num}"
DEFAULT_METRIC = "val/localization/gt_known_error"
"""What jobs are compared by where neither ``sweep.metric`` nor ``monitor`` is given; without it, what val reports."""
OPTIMIZES = {"min": "minimize", "max": "maximize"}


class ProcessLauncher(Launcher):
    """Runs the jobs of a sweep one after the other, each as a process tree of its own.

    A job is a single run with its directory named, so however many processes it starts for its devices, none of them
    sweeps again. A job that fails does not stop the others; the exit code is 1 in the end.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives a launcher, and be called when the sweeper has finished."""
        self._config = config
        self._loader = hydra_context.config_loader
        self._program = task_function.program if isinstance(task_function, Entry) else sys.argv[:1]
        self._directory = Path(config.hydra.sweep.dir).absolute()
        self._jobs: list[Job] = []
        self._results: list[JobResult] = []
        self._shared: set[int] = set()
        hydra_context.callbacks.callbacks.append(_AtTheEnd(self))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs.

        Args:
            job_overrides: Of each job.
            initial_job_idx: Number of the first.

        Returns:
            The metric of each job.

        Raises:
            CompactHydraException: If a job's directory is another job's or a completed one, if this is one of several
                processes, or if the sweeper optimizes in the wrong direction.
            SystemExit: When interrupted (130) and, with ``sweep.fail_fast``, after a job failed (1).
        """
        if not is_first_process():
            raise CompactHydraException(
                "a sweep starts the processes of every job itself; start it once, without torchrun or srun"
            )
        jobs = [self._job(initial_job_idx + i, overrides) for i, overrides in enumerate(job_overrides)]
        skipped = {job.number for job in jobs if self._option("skip_completed") and job.completed_before()}
        for job in jobs:
            if job.number not in skipped:
                job.refuse_running()
                if not OmegaConf.select(self._config, "overwrite"):
                    job.refuse_completed()
        self._share_evaluation([job for job in jobs if job.number not in skipped])
        returns = []
        for job in jobs:
            result = self._run(job, skip=job.number in skipped)
            self._refuse_wrong_direction()
            returns.append(self._job_return(job, result))
            stopped = result.status == "interrupted" or (result.status == "failed" and self._option("fail_fast"))
            if stopped:
                left = len(self._jobs) - len(self._results)
                _say(f"stopped: {left} more job{'s were' if left != 1 else ' was'} not started")
                self.conclude()
        return returns

    def conclude(self) -> None:
        """Print the table.

        Raises:
            SystemExit: If a job has failed (1) or was interrupted (130).
        """
        metric = self._metric()
        console = Console()
        console.print(summary_table(self._results, metric, console.width))
        for result in self._results:
            if result.status == "failed":
                _say(f"Job {result.job} ({result.swept_text}) failed: {result.error}")
        best = best_job(self._results, metric) if metric else None
        if metric and best:
            value = best.metrics[metric]
            _say(f"Best: job {best.job} ({best.swept_text}), {metric} = {value:.4f}")
        self._write_page()
        _say(f"Sweep directory: {self._directory}")
        statuses = [result.status for result in self._results]
        if "interrupted" in statuses:
            sys.exit(130)
        if failed := statuses.count("failed"):
            sys.stderr.write(
                f"error: {failed} of {len(statuses)} jobs failed, see {self._directory / SUMMARY_FILE}; the same "
                f"command with sweep.skip_completed=true hydra.sweep.dir={self._directory} runs them again, once "
                "their errors are dealt with\n"
            )
            sys.exit(1)

    def _write_page(self) -> None:
        if sum((self._directory / result.directory / "report").is_dir() for result in self._results) < FEWEST_TO_SHARE:
            return
        from camloc.experiment.sweep.page import write_sweep_page  # noqa: PLC0415 - imports torch

        try:
            page = write_sweep_page(self._directory, self._results)
        except (OSError, ValueError) as error:  # no page costs the sweep its numbers
            _say(f"no page of the sweep: {error}")
            return
        if page is not None:
            _say(f"Images of all jobs side by side: {page}")

    def _share_evaluation(self, jobs: Sequence[Job]) -> None:
        """Evaluate once for jobs that differ in the CAM threshold alone, and give each its numbers."""
        config = self._config
        if config.hydra.job.config_name != "evaluate" or len(jobs) < FEWEST_TO_SHARE:
            return
        if any(set(job.swept) != {CAM_THRESHOLD} for job in jobs) or not self._outcomes_hold_every_threshold():
            return
        thresholds = [job.swept[CAM_THRESHOLD] for job in jobs]
        common = [override for override in jobs[0].overrides if not override.startswith(f"{CAM_THRESHOLD}=")]
        shared = Job(
            -1,
            [*common, f"{CAM_THRESHOLD}=null", f"localization.more_thresholds=[{','.join(thresholds)}]"],
            {},
            self._directory,
            "evaluation",
        )
        _say(f"one evaluation for {len(jobs)} CAM thresholds (in {shared.directory})")
        result = shared.run(self._job_program(), self._given("hydra"), Path(config.hydra.runtime.cwd))
        if result.status == "interrupted":
            self._results.append(result)
            self.conclude()
        if result.status != "completed":
            return  # the jobs run one by one, and each reports what is wrong
        from camloc.experiment.sweep.thresholds import write_jobs  # noqa: PLC0415 - draws, and imports torch

        write_jobs(shared.directory, {float(job.swept[CAM_THRESHOLD]): job.directory for job in jobs})
        for job in jobs:
            job.adopt(result.seconds)
            self._shared.add(job.number)

    def _outcomes_hold_every_threshold(self) -> bool:
        localization = self._config.localization
        if not localization.get("one_evaluation_for_thresholds"):
            return False  # a protocol measures what is not kept for every threshold
        reported_at_it = [entry for entry in localization.protocols.values() if entry and "cam_threshold" in entry]
        return len(reported_at_it) == 1  # the outcomes of one are kept so

    def _job(self, number: int, overrides: Sequence[str]) -> Job:
        name = self._directory_name(number, overrides)
        # How the sweep itself is run is no part of a job, whose configuration must not change with it.
        own = [override for override in overrides if not override.lstrip("+~").startswith(("sweep.", "overwrite="))]
        fixed = self._fixed_keys()
        given = (override.partition("=") for override in own)
        swept = {key.lstrip("+"): value for key, _, value in given if key not in fixed}
        job = Job(number, own, swept, self._directory, name)
        twin = next((other for other in self._jobs if other.directory == job.directory), None)
        if twin is not None:
            raise CompactHydraException(
                f"hydra.sweep.subdir gives jobs {twin.number + 1} and {number + 1} the same directory {name}; "
                "let it contain ${hydra.job.num}"
            )
        self._jobs.append(job)
        return job

    def _directory_name(self, number: int, overrides: Sequence[str]) -> str:
        if OmegaConf.to_container(self._config.hydra.sweep, resolve=False)["subdir"] == JOB_NUMBER:  # type: ignore[call-overload,index] # a dict
            return str(number)  # composing a job takes a quarter of a second
        config = self._loader.load_sweep_config(self._config, list(overrides))
        with open_dict(config):
            config.hydra.job.num = config.hydra.job.id = number
        HydraConfig.instance().set_config(config)  # ${hydra:...} in the directory's name
        return str(config.hydra.sweep.subdir)

    def _fixed_keys(self) -> set[str]:
        parser = OverridesParser.create(config_loader=self._loader)
        given = parser.parse_overrides(self._given("task"))
        return {override.get_key_element() for override in given if not override.is_sweep_override()}

    def _run(self, job: Job, *, skip: bool) -> JobResult:
        total = self._config.hydra.sweeper.get("n_trials") or len(self._jobs)
        name = f"job {job.number + 1} of {total}: {overrides_text(job.swept)}"
        if skip:
            result = job.skip()
        elif job.number in self._shared:
            result = replace(job.skip(), status="completed")
        else:
            _say(f"{name} (in {job.directory})")
            result = job.run(self._job_program(), self._given("hydra"), Path(self._config.hydra.runtime.cwd))
        self._results.append(result)
        write_summary(self._directory / SUMMARY_FILE, self._results)
        seconds = "" if result.seconds is None else f" ({result.seconds:.0f} s)"
        _say(f"{name} -> {result.status}{f': {result.error}' if result.error else ''}{seconds}")
        return result

    def _given(self, kind: Literal["task", "hydra"]) -> list[str]:
        # As they were typed: an override may hold an interpolation that only a job can resolve.
        given = OmegaConf.to_container(self._config.hydra.overrides[kind], resolve=False)
        return [str(override) for override in given] if isinstance(given, list) else []

    def _job_program(self) -> list[str]:
        # The options by which the configuration was found, as Hydra remembers them.
        hydra = self._config.hydra
        paths = {source.provider: source.path for source in hydra.runtime.config_sources if source.schema == "file"}
        script, *command = self._program
        program = [sys.executable, str(Path(script).absolute()), *command, "--config-name", hydra.job.config_name]
        for provider, option in (("main", "--config-path"), ("command-line", "--config-dir")):
            if provider in paths:
                program += [option, paths[provider]]
        return program

    def _job_return(self, job: Job, result: JobResult) -> JobReturn:
        returned = JobReturn(overrides=job.overrides, working_dir=str(job.directory), status=JobStatus.COMPLETED)
        if self._config.hydra.sweeper._target_.endswith((".BasicSweeper", ".GridSweeper")):
            return returned  # looks at results only to stop at the first failure, and here the others go on
        metric = self._metric()
        value = result.metrics.get(metric) if metric else None
        if value is None:
            returned.status = JobStatus.FAILED
            wanted = self._option("metric") or "to compare by"
            reported = ", ".join(row.key for row in result.rows) or "none"
            missing = f"{job.directory} reports no number {wanted}; sweep.metric is one of: {reported}"
            returned.return_value = CompactHydraException(result.error or missing)
        else:
            returned.return_value = float(value)
        return returned

    def _refuse_wrong_direction(self) -> None:
        """Stop a sweeper that optimizes where it looks for the worst job.

        Raises:
            CompactHydraException: With the option that changes it.
        """
        given = str(self._config.hydra.sweeper.get("direction") or "").rpartition(".")[2]
        metric = self._metric()
        row = reported_rows(self._results).get(metric or "")
        if row is None or given not in OPTIMIZES.values() or given == OPTIMIZES[row.direction]:
            return
        better = "least" if row.direction == "min" else "greatest"
        raise CompactHydraException(
            f"the {better} {metric} is the best, and the sweeper is set to {given} it: give "
            f"hydra.sweeper.direction={OPTIMIZES[row.direction]}"
        )

    def _metric(self) -> str | None:
        if given := self._option("metric"):
            return chosen_metric(self._results, [given])
        monitor = OmegaConf.select(self._config, "monitor")
        # Test is not chosen on.
        on_val = [key for key in reported_rows(self._results) if key.startswith("val/")]
        on_val.sort(key=lambda key: not key.startswith("val/localization/"))
        return chosen_metric(self._results, [*([monitor] if monitor else []), DEFAULT_METRIC, *on_val])

    def _option(self, name: str) -> Any:  # noqa: ANN401 - a configured value
        return OmegaConf.select(self._config, f"sweep.{name}")


class _AtTheEnd(Callback):
    def __init__(self, launcher: ProcessLauncher) -> None:
        self._launcher = launcher

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401, ARG002 - Hydra's signature
        self._launcher.conclude()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - in order with what the jobs print themselves

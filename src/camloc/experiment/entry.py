"""Entries that Hydra composes for, all but ``compare``, ``tables`` and ``completion``. Imports no torch."""

import contextlib
import io
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from camloc.experiment.arguments import flags, hydra_arguments
from camloc.experiment.composition import hydra_raises
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.help import help_text
from camloc.experiment.resume import resume_arguments, resume_prediction
from camloc.experiment.run_job import fail, run_job, wants_traceback
from camloc.experiment.saved_config import saved_config
from camloc.experiment.version_0_1 import refuse_options

RUN_PARTS = (
    *("backbone", "datamodule", "attribution", "views", "score_map", "box_rule", "localization", "classifier"),
    "paper",
)
"""Config groups that an evaluation takes over from the checkpoint's run."""

READERS = "annotations"
"""The group within ``datamodule`` that chooses how annotation is read."""

_RUN_TOKEN = secrets.token_hex(3)


def prepare() -> None:
    """Register the resolvers that configuration files use; call before Hydra composes."""
    # Constant in a process: Hydra resolves the run directory more than once and must get one answer.
    OmegaConf.register_new_resolver("unique", lambda: _RUN_TOKEN, replace=True)
    OmegaConf.register_new_resolver("either", _either, replace=True)


class Entry:
    """A command that runs a job with the configuration of the same name.

    Args:
        name: Of the command, of its configuration file, and ``hydra.job.name``.
        job: ``module:function``, imported only when the configuration has been composed.
        offer: Turns the user's arguments into those that Hydra composes with.
        configuration: Directory of the configuration files; None is camloc's own.
        check: See :func:`camloc.experiment.run_job.run_job`.
    """

    def __init__(
        self,
        name: str,
        job: str,
        offer: Callable[[Sequence[str]], list[str]] = list,
        configuration: Path | None = None,
        check: str | None = None,
    ) -> None:
        self.job, self.offer, self.check = job, offer, check
        self.configuration = configuration or configuration_directory()
        self.name = self.__module__ = name  # Hydra names the job after the module of what it calls
        self.program: list[str] = []
        """The command line up to the arguments: what starts this entry again."""
        self.arguments: list[str] = []

    def run(self, program: Sequence[str], arguments: Sequence[str]) -> None:
        """Compose the configuration and run the job, or the jobs of a sweep.

        Args:
            program: How the entry was started: a script, and the command where the script has several.
            arguments: What follows on the command line.

        Raises:
            SystemExit: With 1 and one line if the job cannot run.
        """
        try:
            given = flags(arguments)
        except ValueError as error:
            fail(error)
        own = [Path(given.config_dir).expanduser()] if given.config_dir else []
        if given.help:
            sys.stdout.write(help_text(self.name, [self.configuration, *own]))
            return
        prepare()
        try:
            refuse_options(arguments)
            read = hydra_arguments(arguments, [self.configuration, *own])
            self.program, self.arguments = list(program), self.offer(read)
        except (OSError, ValueError) as error:
            fail(error)
        _find_modules_of_the_working_directory()
        self._hydra(self.arguments)

    def complete(self, words: Sequence[str], line: str) -> None:
        """Print what may follow on a command line, for a shell, one choice per line.

        Args:
            words: The complete words of the command line after the command.
            line: The command and all that follows, with the word to complete.
        """
        prepare()
        with contextlib.redirect_stderr(io.StringIO()):  # half a command line is not worth an error
            try:
                self.offer(words)
            except (OSError, ValueError):
                self.offer([])
            given, _ = get_args_parser().parse_known_args(list(words))
            own = ["--config-dir", str(Path(given.config_dir).expanduser())] if given.config_dir else []
            os.environ["COMP_LINE"] = line
            self._hydra([*own, "--shell-completion", "query=fish"])

    def __call__(self, config: DictConfig) -> None:
        """Run the job; Hydra calls this once it has composed the configuration."""
        sys.argv = [*self.program, *self.arguments]  # by which Lightning starts the other processes of a run
        os.chdir(HydraConfig.get().runtime.cwd)  # which hydra.job.chdir=true has left: paths are meant from there
        run_job(self.job, config, self.check)

    def _hydra(self, arguments: Sequence[str]) -> None:
        sys.argv = [self.name, *arguments]  # which is all that Hydra's parser understands
        try:
            with hydra_raises():
                hydra.main(version_base="1.3", config_path=str(self.configuration), config_name=self.name)(self)()
        except Exception as error:
            if wants_traceback():
                raise
            fail(error)


def offer_run(arguments: Sequence[str]) -> list[str]:
    """Offer the parts of the run that ``checkpoint=`` or ``score_maps=FILE.npz`` names as ``of_run`` in their groups.

    So an evaluation composes like a training: parts come from the run unless another option is named, and single
    values are overridden on top of them. A sweep over several runs composes with the first one's parts; each of its
    jobs is a process of its own, which calls this again with its own run.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The same.

    Raises:
        FileNotFoundError: If a run has no checkpoint.
        ValueError: If a run cannot be evaluated.
    """
    maps = [value for value in _values("score_maps", arguments) if value.endswith(".npz")]
    # All are looked at: a sweep does not begin with one that is not there.
    runs = [saved_config(Path(source)) for source in maps or _values("checkpoint", arguments)]
    launcher = _values("hydra/launcher", arguments)
    if len(runs) > 1 and launcher not in ([], ["processes"]):  # others compose all jobs in this process
        raise ValueError(f"hydra/launcher={launcher[0]} evaluates one run at a time; leave it out, or name one run")
    parts = runs[0] if runs else OmegaConf.create()
    for part in RUN_PARTS:
        _offer(part, parts.get(part, OmegaConf.create()))
    return list(arguments)


def offer_prediction(arguments: Sequence[str]) -> list[str]:
    """Offer the parts of the run that ``checkpoint=`` names, or go on with the prediction that ``resume=`` names.

    The data set is offered only where a split of it is predicted: it may be anywhere, and no longer be there.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The arguments that Hydra composes with.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If it cannot predict, or cannot go on.
    """
    resumed = resume_prediction(arguments)
    if resumed is not None:
        return resumed
    offered = offer_run(arguments)
    if not {"train", "val", "test"}.intersection(_values("source", arguments)):
        _offer("datamodule", OmegaConf.create())
    return offered


def _offer(group: str, node: object) -> None:
    """Offer a run's part, with its annotation reader as an option of its own that can be replaced alone.

    Raises:
        ValueError: If it is no mapping.
    """
    if not isinstance(node, DictConfig):
        raise ValueError(f"the run's configuration has {group}={node}; a mapping is needed there")  # noqa: TRY004 - of a file
    reader = node.get(READERS) if READERS in node else ""
    if reader is None or isinstance(reader, DictConfig):
        chosen = "none" if reader is None else "of_run"
        if reader is not None:
            ConfigStore.instance().store(group=f"{group}/{READERS}", name="of_run", node=reader)
        others = {key: value for key, value in node.items() if key != READERS}
        node = OmegaConf.create({"defaults": [{READERS: chosen}, "_self_"], **others})
    ConfigStore.instance().store(group=group, name="of_run", node=node)


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry(
            "train",
            "camloc.experiment.train:train",
            resume_arguments,
            check="camloc.experiment.check_options:check_training",
        ),
        Entry(
            "evaluate",
            "camloc.experiment.evaluate:evaluate",
            offer_run,
            check="camloc.experiment.check_options:check_evaluation",
        ),
        Entry(
            "predict",
            "camloc.experiment.predict:predict",
            offer_prediction,
            check="camloc.experiment.check_options:check_prediction",
        ),
        Entry(
            "export",
            "camloc.experiment.export:export",
            offer_run,
            check="camloc.experiment.check_options:check_export",
        ),
        Entry(
            "demo",
            "camloc.experiment.demo:demo",
            offer_run,
            check="camloc.experiment.check_options:check_demo",
        ),
        Entry(
            "svm",
            "camloc.experiment.svm:svm",
            offer_run,
            check="camloc.experiment.check_options:check_svm",
        ),
    )
}


def _values(key: str, arguments: Sequence[str]) -> list[str]:
    """Return what an option is given, several values in a sweep, without the quotes of Hydra's grammar."""
    given = next((argument for argument in reversed(arguments) if argument.startswith(f"{key}=")), None)
    if given is None:
        return []
    try:
        override = OverridesParser.create().parse_override(given)
    except HydraException:
        return []  # Hydra says what is wrong with it
    values = list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]
    return [value.text if isinstance(value, QuotedString) else str(value) for value in values if value is not None]


def _find_modules_of_the_working_directory() -> None:
    # A `_target_: my_module.MyNet` of one's own configuration. Last, so that no file here stands in for a package.
    if (working_directory := str(Path.cwd())) not in sys.path:
        sys.path.append(working_directory)


def _either(*values: object) -> object:
    """Return the first value that is not null, for ``${either:...}``."""
    return next((value for value in values if value is not None), None)

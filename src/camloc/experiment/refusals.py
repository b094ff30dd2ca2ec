"""Refuses a run directory before Hydra writes to it. Imports neither torch nor Lightning."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from camloc.experiment.run_directory import RunDirectory
from camloc.experiment.run_job import fail


class RefuseRunDirectory(Callback):
    """End with one line where the run directory holds a completed run, is in use, or cannot be written to."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401, ARG002 - Hydra's signature
        """Look at the directory; Hydra calls this once it has composed the configuration.

        Raises:
            SystemExit: With 1 if the directory is refused.
        """
        run = RunDirectory(Path(str(config.hydra.run.dir)))
        try:
            if OmegaConf.select(config, "resume") is None:
                run.refuse_completed(overwrite=OmegaConf.select(config, "overwrite") is True)
            run.make()
            run.refuse_running()
        except OSError as error:
            fail(error)

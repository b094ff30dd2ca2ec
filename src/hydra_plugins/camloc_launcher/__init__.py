"""The only namespace that Hydra takes plugins from: offers ``hydra/launcher=processes`` and ``hydra/sweeper=grid``."""

from hydra.core.config_store import ConfigStore

from camloc.experiment.sweep import launcher, sweeper


class ProcessLauncher(launcher.ProcessLauncher):
    """The launcher of :mod:`camloc.experiment.sweep`, where Hydra finds it."""


class GridSweeper(sweeper.GridSweeper):
    """The sweeper of :mod:`camloc.experiment.sweep`, where Hydra finds it."""


ConfigStore.instance().store(
    group="hydra/launcher",
    name="processes",
    node={"_target_": f"{ProcessLauncher.__module__}.{ProcessLauncher.__name__}"},
    provider="camloc",
)
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="grid",
    node={"_target_": f"{GridSweeper.__module__}.{GridSweeper.__name__}", "max_batch_size": None, "params": None},
    provider="camloc",
)

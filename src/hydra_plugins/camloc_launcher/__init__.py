"""The only namespace that Hydra takes launchers from: offers ``hydra/launcher=processes``."""

from hydra.core.config_store import ConfigStore

from camloc.experiment.sweep import launcher


class ProcessLauncher(launcher.ProcessLauncher):
    """The launcher of :mod:`camloc.experiment.sweep`, where Hydra finds it."""


ConfigStore.instance().store(
    group="hydra/launcher",
    name="processes",
    node={"_target_": f"{ProcessLauncher.__module__}.{ProcessLauncher.__name__}"},
    provider="camloc",
)

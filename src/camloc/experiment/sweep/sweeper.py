"""Hydra's own sweeper over lists of values, without composing every job twice. Imports neither torch nor Lightning."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class GridSweeper(BasicSweeper):
    """Every combination of the values given, in order.

    Before the first job runs, Hydra composes every job to find those that cannot be composed. That depends on which
    options of config groups a job takes and which keys it sets, not on a key's value: of jobs that differ in values
    alone, one is composed. Forty thresholds would take ten seconds otherwise.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose one job of each kind.

        Raises:
            ConfigCompositionException: If it cannot be composed.
        """
        keys = {override.partition("=")[0] for overrides in batch for override in overrides}
        groups = {key for key in keys if self._is_group(key.lstrip("+~").partition("@")[0])}
        one_of_each = {}
        for overrides in batch:
            named = ((override, override.partition("=")[0]) for override in overrides)
            one_of_each[tuple(override if key in groups else key for override, key in named)] = overrides
        super().validate_batch_is_legal(list(one_of_each.values()))

    def _is_group(self, key: str) -> bool:
        loader = self.hydra_context.config_loader  # type: ignore[union-attr] # set before a sweep
        return bool(loader.get_group_options(key))

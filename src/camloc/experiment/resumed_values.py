"""What a resumed training does with values that it did not have before: applies them and says so, or refuses."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import LambdaLR

from camloc.experiment.training import TrainingModule

_OF_THE_BEST = ("monitor", "attribution", "views", "score_map", "box_rule", "localization")
_OF_THE_WEIGHTS = (
    *("backbone", "objective._target_", "optimizer._target_", "datamodule._target_", "classifier.frozen"),
)
_OF_THE_POSITION = ("datamodule.batch_size", "trainer.devices", "trainer.num_nodes", "trainer.accumulate_grad_batches")
_OF_THE_RATE = ("optimizer.lr", "scheduler", "classifier.head_lr_multiplier")
# What changes nothing of what is trained.
_ELSEWHERE = (
    *(
        "paths",
        "logger",
        "callbacks",
        "sweep",
        "experiment",
        "hydra",
        "resume",
        "overwrite",
        "trust",
        "check_only",
        "on_unreadable",
    ),
    *("camloc_version", "datamodule.root", "datamodule.num_workers", "trainer.num_sanity_val_steps"),
    *("trainer.log_every_n_steps", "trainer.enable_progress_bar", "trainer.enable_model_summary"),
)


class Changed(NamedTuple):
    """A value that differs from that of the checkpoint."""

    key: str
    was: object
    now: object

    def is_below(self, prefixes: tuple[str, ...]) -> bool:
        """Return whether the key is one of the prefixes, or below one."""
        return any(self.key == prefix or self.key.startswith(f"{prefix}.") for prefix in prefixes)

    def __str__(self) -> str:
        return f"{self.key}={_word(self.now)} (was {_word(self.was)})"


def changed_values(before: Mapping[str, Any], now: Mapping[str, Any], *, in_epoch: bool) -> list[Changed]:
    """Return the values that change what is trained; each can be applied.

    Args:
        before: Configuration of the checkpoint, resolved.
        now: The same of this job.
        in_epoch: Whether the checkpoint was written in the middle of an epoch.

    Raises:
        ValueError: If one cannot be applied; the message says why.

    Example:
        >>> was = {"seed": 0, "optimizer": {"lr": 0.1}, "datamodule": {"num_workers": 2}}
        >>> now = {"seed": 0, "optimizer": {"lr": 0.2}, "datamodule": {"num_workers": 4}}
        >>> [str(one) for one in changed_values(was, now, in_epoch=False)]
        ['optimizer.lr=0.2 (was 0.1)']
    """
    old, new = dict(_flat(before)), dict(_flat(now))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    found = [Changed(key, old.get(key), new.get(key)) for key in keys]
    found = [one for one in found if not one.is_below(_ELSEWHERE)]
    for one in found:
        why = None
        if one.is_below(_OF_THE_BEST):
            why = "the best epoch so far was chosen with the other value; camloc evaluate checkpoint=RUN takes this one"
        elif one.is_below(_OF_THE_WEIGHTS):
            why = "the checkpoint is of the other one; start a new run"
        elif in_epoch and one.is_below(_OF_THE_POSITION):
            why = "the run was stopped in the middle of an epoch; give it when an epoch is complete"
        if why:
            raise ValueError(f"resume= cannot apply {one}: {why}")
    return found


class ApplyChanged(Callback):
    """Give a restored optimizer and its schedule the values that are configured now.

    A checkpoint restores the parameter groups, learning rates among them, as they were.

    Args:
        changed: Of :func:`changed_values`.
    """

    def __init__(self, changed: list[Changed]) -> None:
        self._changed = changed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Overwrite what was restored, once.

        Raises:
            ValueError: If the schedule cannot follow another learning rate.
        """
        options = [one.key.removeprefix("optimizer.") for one in self._changed if one.is_below(("optimizer",))]
        retimed = any(one.is_below((*_OF_THE_RATE, "trainer", "datamodule")) for one in self._changed)
        if (not options and not retimed) or not isinstance(pl_module, TrainingModule):
            return
        (optimizer,) = trainer.optimizers
        fresh = pl_module.new_optimizer()
        for group, configured in zip(optimizer.param_groups, fresh.param_groups, strict=True):
            group.update({name: configured[name] for name in options if name in configured and name != "lr"})
            group |= {"lr_multiplier": configured["lr_multiplier"], "initial_lr": configured["lr"]}
        rates = [group["lr"] for group in fresh.param_groups]
        schedules = [one.scheduler for one in trainer.lr_scheduler_configs]
        for scheduler in schedules:
            if not isinstance(scheduler, LambdaLR):
                if any(one.is_below(_OF_THE_RATE) for one in self._changed):
                    raise ValueError(
                        f"resume= cannot apply another learning rate to the state of {type(scheduler).__name__}; start "
                        "a new run, or give a scheduler that is a LambdaLR"
                    )
                return
            scheduler.base_lrs = rates
            rates = [
                rate * factor(scheduler.last_epoch) for rate, factor in zip(rates, scheduler.lr_lambdas, strict=True)
            ]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _word(value: object) -> str:
    return "null" if value is None else str(value)

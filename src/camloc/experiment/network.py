"""The network of a run: its backbone, and the parts that the objective of its training brings."""

from inspect import signature
from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from camloc.backbones.contract import Backbone
from camloc.experiment.run_record import RunRecord
from camloc.experiment.saved_config import saved_config
from camloc.experiment.trusted import foreign_calls, named_by_user, safe
from camloc.predictors.network import check_backbone


def extends_network(objective: DictConfig) -> bool:
    """Tell whether an objective brings parts of the network, see ``objectives.contract.ExtendingObjective``."""
    return hasattr(get_object(objective._target_), "extend")


def build_backbone(part: DictConfig, num_classes: int, objective: DictConfig | None = None) -> Backbone:
    """Build a backbone with all the parts that an objective brings.

    Args:
        part: The configuration's ``backbone``.
        num_classes: C.
        objective: The configuration's ``objective``; null for a network that none was trained with.

    Raises:
        TypeError: If either is no backbone.
        ValueError: If they do not go together.
    """
    backbone: Backbone = instantiate(part)(num_classes=num_classes)
    check_backbone(backbone)
    if objective is None or not extends_network(objective):
        return backbone
    extend = get_object(objective._target_).extend
    options: Any = OmegaConf.to_container(objective, resolve=True)
    named = signature(extend).parameters
    extended: Backbone = extend(backbone, **{name: value for name, value in options.items() if name in named})
    check_backbone(extended)
    return extended


def objective_of_run(checkpoint: Path, record: RunRecord, *, trust: bool) -> DictConfig | None:
    """Return the objective of a checkpoint's run where it brought parts of the network; null for any other.

    Args:
        checkpoint: A run's directory or a checkpoint file.
        record: What the checkpoint knows of the run.
        trust: Whether an objective may be called that neither camloc nor the user names.

    Raises:
        ValueError: If the objective is not called, or the configuration has none.
    """
    if not record.extended:
        return None
    objective = saved_config(checkpoint).get("objective")
    if not isinstance(objective, DictConfig) or "_target_" not in objective:
        raise ValueError(f"{checkpoint} has parts that its objective brought, and its configuration has no objective")
    called = {"objective": {name: objective[name] for name in ("_target_", "_partial_") if name in objective}}
    if not trust and foreign_calls(called, named_by_user()):
        raise ValueError(
            f"{checkpoint}: objective._target_={safe(objective._target_)}, which brings parts of the network, is not "
            "called, for it is not part of camloc; give the --config-dir that names it, or trust=true if you trust who "
            "made the file"
        )
    return objective

"""What the configuration makes of batches, checked and translated before training: parts of a split, the last batch."""

import copy
import math
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import nn

from camloc.backbones.contract import Backbone
from camloc.data.loading.datamodule import LocalizationDataModule


def batch_limits(config: DictConfig) -> dict[str, Any]:
    """Return the trainer's arguments for ``trainer.overfit_batches``: Lightning's own would replace our samplers.

    Args:
        config: With ``trainer``; the data module holds its order where :func:`overfits`.

    Raises:
        ValueError: If nothing would be trained or measured, or maps of a part would be saved as if they were all.
    """
    limits = {name: _given(config, f"limit_{name}_batches") for name in ("train", "val", "test")}
    for name, limit in limits.items():
        if limit == 0:
            does = "trains on" if name == "train" else "measures"
            raise ValueError(
                f"trainer.limit_{name}_batches={limit} {does} nothing; give a number of batches, or a share as 0.1"
            )
        if OmegaConf.select(config, "save_score_maps") and name != "train" and _is_part(limit):
            raise ValueError(
                f"save_score_maps=true keeps the maps of whole splits; leave out trainer.limit_{name}_batches={limit}"
            )
    if not overfits(config):
        return {}
    given = config.trainer.overfit_batches
    return {"overfit_batches": 0.0, "limit_train_batches": given, "limit_val_batches": given}


def overfits(config: DictConfig) -> bool:
    """Return whether the same batches are to be trained on in every epoch."""
    return bool(_given(config, "overfit_batches"))


def check_last_batch(backbone: Backbone, datamodule: LocalizationDataModule, trainer: Trainer) -> None:
    """Refuse a last training batch of one image where batch normalization cannot train on it.

    It can where maps have several pixels; whether they do is tried out on a copy of the network.

    Args:
        backbone: As it will be trained.
        datamodule: Whose batches they are.
        trainer: Knows the number of processes and whether the last batch is reached.

    Raises:
        ValueError: If the first epoch would fail at its end.
    """
    num_images, size = len(datamodule.split("train")), datamodule.batch_size
    each = math.ceil(num_images / trainer.world_size)
    num_batches = math.ceil(each / size)
    limit = trainer.limit_train_batches
    reached = num_batches if limit is None else limit if isinstance(limit, int) else int(num_batches * limit)
    if (each - 1) % size or reached < num_batches:
        return
    copied = copy.deepcopy(cast(nn.Module, backbone)).train()
    image = torch.zeros(1, len(backbone.input_spec.mean), *datamodule.eval_transform.size)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            copied.forward(image)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        choices = (*range(size - 1, 1, -1), *range(size + 1, each + 1))
        better = next((choice for choice in choices if (each - 1) % choice), None)
        fix = "" if better is None else f"datamodule.batch_size={better}, or "
        of_each = "" if trainer.world_size == 1 else f" in each of {trainer.world_size} processes"
        raise ValueError(
            f"datamodule.batch_size={size} leaves a last batch of one of {num_images} training images{of_each}, which "
            f"batch normalization cannot train on at datamodule.input_size={image.shape[-1]}: maps have one "
            f"pixel there; give {fix}a larger datamodule.input_size"
        ) from error


def _given(config: DictConfig, name: str) -> Any:  # noqa: ANN401 - a configured value
    return OmegaConf.select(config, f"trainer.{name}")


def _is_part(limit: float | None) -> bool:
    # One batch is 1, all of them are 1.0.
    return limit is not None and not (isinstance(limit, float) and limit == 1)

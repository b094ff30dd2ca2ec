"""What a checkpoint knows of the run that wrote it, and the data that it is refused for."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pytorch_lightning import Callback, Trainer
from torch import Tensor

import camloc
from camloc.data.loading.fingerprint import num_trained_on
from camloc.data.loading.split import Split
from camloc.experiment.checkpoint import CONFIG_KEY, load_checkpoint
from camloc.experiment.measuring.module import EvaluationModule
from camloc.experiment.run_directory import VERSION_KEY
from camloc.experiment.trusted import safe

RUN_KEY = "camloc_run"
"""Where a checkpoint keeps what else it knows of its run, see :class:`RunRecord`."""


class RunRecord(NamedTuple):
    """What a checkpoint knows of the run that wrote it, so that the file alone predicts and evaluates."""

    class_names: list[str]
    """(C,) in the order of ``target``."""
    input_size: Annotated[int, Gt(0)]
    """Side of the square network input, pixels."""
    cam_threshold: Annotated[float, Ge(0), Le(1)] | None
    """Chosen on ``val`` in the epoch of the checkpoint, or fixed; None where ``val`` has no boxes to choose on."""
    threshold_source: Literal["val", "pseudo", "fixed"] | None
    """``val``; ``pseudo``, where its boxes were made without people; or ``fixed``."""
    fingerprint: Tensor | None
    """Of the images it was trained on, see :mod:`camloc.data.loading.fingerprint`; None for images made in memory."""
    trained_with_boxes: bool = False
    """Whether training saw true boxes, so that the network has a box head; a file that does not say so saw none."""
    intensity: tuple[float, float] | None = None
    """The range that ``datamodule.intensity=auto`` read off the training images; None where none was to be chosen."""
    several_labels: bool = False
    """Whether images had several labels or none, so that each class has a probability of its own."""
    objectless: tuple[int, ...] = ()
    """Classes without objects, 0-based, which get no box."""
    extended: bool = False
    """Whether the objective brought parts of the network, so that rebuilding it needs the objective's options."""


_RECORD = TypeAdapter(RunRecord, config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False))


def run_record(file: Path) -> RunRecord:
    """Read what a checkpoint knows of its run.

    Raises:
        ValueError: If it knows nothing, or something that cannot be.
    """
    return record_in(load_checkpoint(file), file)


def record_in(checkpoint: Mapping[str, Any], file: Path) -> RunRecord:
    """Return the same of a checkpoint that was read from a file.

    Raises:
        ValueError: See :func:`run_record`.
    """
    found = checkpoint.get(RUN_KEY)
    required = set(RunRecord._fields) - RunRecord._field_defaults.keys()
    if not isinstance(found, dict) or not required <= found.keys():
        raise ValueError(
            f"{file} does not say which run it comes from; camloc 0.1 reads checkpoints of camloc 0.1, and this is "
            f"camloc {camloc.__version__}"
        )
    found = {**RunRecord._field_defaults, **found}
    try:
        record = _RECORD.validate_python([found[name] for name in RunRecord._fields])
    except ValidationError as error:
        wrong = RunRecord._fields[int(error.errors()[0]["loc"][0])]
        raise ValueError(
            f"{file} says of its run that {wrong} is {found[wrong]!r:.80}, which cannot be; take the original"
        ) from error
    trained = record.fingerprint
    if trained is not None and (trained.dtype != torch.int64 or trained.shape[1:] != (2,)):
        shape, dtype = tuple(trained.shape), trained.dtype
        raise ValueError(
            f"{file} has a fingerprint of shape {shape} and {dtype}, where (N,2) int64 is due; take the original"
        )
    return record


def refuse_other_classes(class_names: Sequence[str], trained: Sequence[str], file: Path) -> None:
    """Refuse data whose classes are not those that a checkpoint was trained on, in their order.

    Raises:
        ValueError: If one differs; else its images would be measured against another class's output.
    """
    if list(trained) != list(class_names):
        pairs = zip_longest(trained, class_names, fillvalue="none")
        one, other = next((one, other) for one, other in pairs if one != other)
        raise ValueError(
            f"{file} was trained on {len(trained)} classes and the data set has {len(class_names)}; the first that "
            f"differs was trained as {safe(one)} and is {safe(other)} in the data: give data with the classes that "
            f"were trained{_of_some(class_names, trained)}"
        )


def _of_some(class_names: Sequence[str], trained: Sequence[str]) -> str:
    if set(class_names) < set(trained):
        return "; annotation that shows some of them is read with datamodule.classes=[...], which names all in order"
    return ""


def refuse_trained_images(fingerprint: Tensor | None, split: Split, name: str, file: Path) -> None:
    """Refuse to measure images that a checkpoint was trained on.

    Raises:
        ValueError: If there are any; the message counts them.
    """
    if fingerprint is None:
        return
    if trained := num_trained_on(fingerprint, split):
        raise ValueError(
            f"{trained} of the {len(split)} images of {name} were trained on by {file} (same file name and size): "
            "numbers on them mean nothing; give images that it has not seen"
        )


class RunInCheckpoint(Callback):
    """Keep in a run's checkpoints what they must know of it.

    Args:
        config: Of the run, resolved, as plain containers.
        record: All but the threshold, which is the module's when the checkpoint is written.
        chosen_on: What a threshold is called that is chosen on ``val``.
    """

    def __init__(
        self, config: Mapping[str, Any], record: RunRecord, chosen_on: Literal["val", "pseudo"] = "val"
    ) -> None:
        self.config, self.record, self.chosen_on = dict(config), record, chosen_on

    def on_save_checkpoint(self, trainer: Trainer, pl_module: EvaluationModule, checkpoint: dict[str, Any]) -> None:  # type: ignore[override]
        """Add the record."""
        fixed = pl_module.test_protocols.fixed_threshold
        chosen = pl_module.results["val"].chosen if "val" in pl_module.results else None
        known = self.record
        if fixed is not None:
            known = known._replace(cam_threshold=fixed, threshold_source="fixed")
        elif chosen is not None:
            known = known._replace(cam_threshold=chosen, threshold_source=self.chosen_on)
        checkpoint[CONFIG_KEY] = self.config
        checkpoint[RUN_KEY] = known._asdict()
        checkpoint[VERSION_KEY] = camloc.__version__

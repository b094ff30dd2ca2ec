"""The contract of objectives: what a training minimizes."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from camloc.backbones.contract import Backbone, BoxBackbone


class Labelled(NamedTuple):
    """A training batch on the device: images and image labels, nothing else."""

    images: Tensor
    """(B,3,H,W) float, normalized as the backbone expects."""
    target: Tensor
    """(B,) int64, or (B,C) bool where images have several labels."""


class Boxed(NamedTuple):
    """A training batch of full supervision on the device: what :class:`Labelled` has, and boxes."""

    images: Tensor
    """(B,3,H,W) float, normalized as the backbone expects."""
    target: Tensor
    """(B,) int64."""
    boxes: Tensor
    """(B,4) float half-open xyxy pixels of the images; (0,0,0,0) where none is known."""


class Losses(NamedTuple):
    """What an objective returns."""

    by_name: Mapping[str, Tensor]
    """Scalars; their sum is minimized."""
    logits: Tensor
    """(B,C), from which the training error is counted; of changed images where the objective changes them."""


class Objective(Protocol):
    """Compute the losses of a batch; an ``nn.Module`` may hold parameters of its own.

    Built from its configuration and ``class_counts``, the number of training images of each class. It may change images
    and labels on the device first, as CutMix does.

    One that trains on several labels per image says so by a class attribute ``several_labels = True``: it is given
    targets (B,C), is built with ``num_images`` as well, the number of training images, and refused for other data.

    One that changes images, or what a trunk makes of them, says so by a class attribute ``changes_images = True``:
    features that were computed once are of no use to it, and it is refused with a frozen trunk.

    One that runs parts of the network in place of the whole says so by a class attribute ``runs_in_parts = True``: the
    whole is what ``compile=true`` compiles, which is refused with it.
    """

    def __call__(self, backbone: Backbone, batch: Labelled) -> Losses:
        """Return the losses by name."""


class ExtendingObjective(Objective, Protocol):
    """An objective that brings parts of the network: a second classifier, a head of another kind, attention that drops.

    ``extend`` is read off the class and called wherever a network is built, after the trunk's weights were loaded: in
    training, and again whenever a checkpoint is evaluated, predicted with or exported. What it returns keeps the
    contract of backbones, with the new parameters among ``new_layers()``, and passes on the pretrained weights.
    """

    @classmethod
    def extend(cls, backbone: Backbone, **options: Any) -> Backbone:  # noqa: ANN401 - the objective's own
        """Return the network with the objective's parts.

        Args:
            backbone: As its configuration builds it.
            options: Those entries of the objective's configuration that the signature names.

        Raises:
            ValueError: The objective is not for such a network.
        """


class BoxedObjective(Protocol):
    """An objective of full supervision: it says so, and is then handed boxes and a backbone that regresses them.

    Every table with numbers of a network that it trained says "trained with boxes".
    """

    trains_with_boxes: ClassVar[bool] = True
    """Read off the class before data is loaded; an objective without it never meets a box."""

    def __call__(self, backbone: BoxBackbone, batch: Boxed) -> Losses:
        """Return the losses by name."""

"""The contract of protocols: a torchmetrics Metric that says what it needs, what it reports and how sure that is.

A protocol's needs are the parameters of its ``update``, by name; :data:`NEEDS` lists all there are, each for P counted
(image, class) pairs unless it says otherwise. A name that is not among them is an error when the protocol is built. A
parameter whose annotation allows ``None`` is handed ``None`` where the predictions' source has nothing of the kind; one
with a default is left out then; without any other the protocol is not measured, and the report names what is missing.
Of pairs some of which have true boxes, or masks, a protocol that asks for these is handed those alone.
"""

import functools
import hashlib
import inspect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_type_hints

import torch
from torch import Tensor
from torchmetrics import Metric

from camloc.metrics.checks import check_cam_threshold
from camloc.records import Outcome, Row, SplitOutcome

Interval = tuple[float, float]

NEEDS: Mapping[str, str] = {
    "logits": "(P,C) logits of each pair's image; -inf for the image's other true classes",
    "target": "(P,) int64 true classes",
    "score_maps": "(P,H,W) in [0,1]",
    "boxes": "(P,T,4) boxes at the protocol's `cam_thresholds`, half-open pixels of the score map",
    "gt_boxes": "P tensors (M_i,4), true boxes in pixels of the score map",
    "map_size": "(height, width) of the score maps",
    "reported_boxes": "(P,4) boxes at the reported CAM threshold, or those that have none, pixels of the image",
    "released_boxes": "(P,2,4) loose and tight boxes of the paper's release, pixels of the image",
    "image_boxes": "P tensors (M_i,4), true boxes in pixels of the image",
    "image_sizes": "P (height, width) of the images",
    "windows": "P parts of the images that the score maps cover, half-open xyxy pixels",
    "resized_boxes": "P integer tensors (M_i,4), true boxes as the evaluator wsolevaluation carries them to the map",
    "masks": "(P,H,W) bool, foreground pixels",
    "ignore": "(P,H,W) bool, pixels that count neither way",
    "positions": "P places in the split",
    "predicted_classes": "(P,G) most likely classes, best first, -1 for none",
    "predicted_boxes": "(P,G,4) their boxes, pixels of the image",
    "image_logits": "(B,C) logits of every image of the batch, whether or not it has a label",
    "labels": "(B,C) bool, the true classes of these images",
    "is_padding": "(P,) bool; callers of the library mark repeats with it, an evaluation hands over none",
}
"""What a protocol may ask for."""
OF_BOXES = frozenset({"gt_boxes", "image_boxes", "resized_boxes"})
"""Needs that only pairs with true boxes meet."""
OF_MASKS = frozenset({"masks", "ignore"})
"""Needs that only pairs with masks meet."""
OF_IMAGES = frozenset({"image_logits", "labels"})
"""Needs that are of images, not of pairs."""


_serial = itertools.count()


class Protocol(Metric, ABC):
    """A way to measure: counts in, numbers with their intervals out, an :class:`Outcome` for each pair.

    A subclass adds int64 states reduced by sum, so that its numbers are exact for any number of processes.

    Its arguments are its identity: a torchmetrics ``MetricCollection`` shares the counts of two metrics only where
    their class and all arguments of their constructors are equal, and only such metrics can be merged.

    Args:
        kwargs: Those of every torchmetrics Metric: ``sync_on_compute``, ``dist_sync_on_step``, ``process_group``,
            ``dist_sync_fn``, ``distributed_available_fn``, ``compute_with_cache`` and ``compute_on_cpu``.

    Raises:
        ValueError: If torchmetrics knows no such argument, or its value is none.
    """

    section: ClassVar[Literal["classification", "localization"]] = "localization"
    """Where its numbers stand in ``metrics.json``: ``<split>/<section>/<key>``."""
    full_state_update = False
    cam_thresholds: Sequence[float] = ()
    """(T,) ascending fractions of the score map's maximum that it measures at; its ``boxes`` are made at these."""
    cam_threshold: float | None = None
    """The one that numbers are reported at; None where there is none, or none was chosen yet."""
    chooses_threshold: ClassVar[bool] = False
    """Whether it chooses ``cam_threshold`` on the data it is fed, to be carried from ``val`` to ``test``."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - torchmetrics' own, of several types
        super().__init__(**kwargs)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in cls.__dict__:
            cls.__init__ = _identified(cls.__init__)  # type: ignore[method-assign] # the same signature

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """The numbers worth a line in the results table, in order."""

    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> Outcome:  # type: ignore[override] # noqa: ANN401 - needs are its own
        """Count a batch and return what became of each pair."""

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Return numbers by key, the same on every process; ``num_images`` counts the pairs behind them."""

    def intervals(self, outcome: SplitOutcome, val: SplitOutcome | None) -> dict[str, Interval]:  # noqa: ARG002 - for those that have intervals
        """Return 95% intervals by key.

        Args:
            outcome: On the split that is reported.
            val: On the split that the threshold was chosen on; None where it was fixed, or is the best of ``outcome``.
        """
        return {}

    def set_threshold(self, cam_threshold: float) -> None:
        """Report at a threshold that was chosen elsewhere.

        Raises:
            ValueError: If it cannot be measured at it.
        """
        check_cam_threshold("cam_threshold", cam_threshold)
        self.cam_threshold = cam_threshold
        self._computed = None  # torchmetrics would go on returning the numbers at the earlier one

    def without_thresholds(self) -> "Protocol":
        """Return the protocol for boxes without a CAM threshold: a network's own, or of a box rule that cuts at none.

        It is then handed these as ``reported_boxes``; one that needs ``boxes`` is not measured. By default it
        is this one.
        """
        return self

    def use_classes(self, class_names: Sequence[str]) -> None:
        """Learn the (C,) names of the classes, before anything is counted; a protocol that needs none ignores them."""

    def check_split(self, num_images: int) -> None:
        """Check what was configured against the split that will be measured, before it is.

        Args:
            num_images: Of the split.

        Raises:
            ValueError: If the two do not fit; the message names the file or field.
        """

    def forget_listed_images(self) -> None:
        """Count every image from now on, of ``val``: what a list names are places in ``test``."""

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:  # noqa: ARG002 - counts have one type
        """Return the metric as it is: its counts are whole numbers, which half precision could not hold."""
        return self

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the counts of another metric of the same class that was made with the same arguments.

        Raises:
            ValueError: If it is another metric.
        """
        if isinstance(incoming_state, Protocol) and incoming_state.metric_state.keys() != self.metric_state.keys():
            raise ValueError(
                f"{type(self).__name__} can only be merged with a {type(self).__name__} that was made with the same "
                "arguments"
            )
        super().merge_state(incoming_state)
        self._computed = None  # torchmetrics would go on returning the numbers before

    def _leave_inference_mode(self) -> None:
        """Make states that inference mode made ordinary ones, which may be counted on outside of it."""
        if torch.is_inference_mode_enabled():
            return
        metrics = [module for module in self.modules() if isinstance(module, Metric)]
        states = [state for metric in metrics for state in metric.metric_state.values()]
        if any(isinstance(state, Tensor) and state.is_inference() for state in states):
            self._apply(lambda tensor: tensor.clone() if tensor.is_inference() else tensor)

    def _wrap_update(self, update: Callable[..., Any]) -> Callable[..., Any]:
        # torchmetrics drops what update returns.
        returned: list[Outcome] = []

        @functools.wraps(update)
        def keeping(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as update
            returned.append(update(*args, **kwargs))

        counting = super()._wrap_update(keeping)

        @functools.wraps(update)
        def returning(*args: Any, **kwargs: Any) -> Outcome:  # noqa: ANN401 - as update
            returned.clear()
            self._leave_inference_mode()
            counting(*args, **kwargs)
            return returned.pop()

        return returning


def _identified(init: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor name an empty state after its arguments: torchmetrics tells metrics apart by their states."""
    signature = inspect.signature(init)
    own = [name for name, parameter in signature.parameters.items() if parameter.kind != parameter.VAR_KEYWORD][1:]

    @functools.wraps(init)
    def identified(self: Protocol, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as init
        init(self, *args, **kwargs)
        # Not in a constructor that a subclass calls. Metrics without states are never taken for one another.
        if type(self).__init__ is identified and self._defaults:
            given = signature.bind(self, *args, **kwargs)
            given.apply_defaults()
            arguments = [(name, _described(given.arguments[name])) for name in own]
            digest = hashlib.sha256(repr((type(self).__qualname__, arguments)).encode()).hexdigest()
            self.add_state(f"made_as_{digest[:32]}", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    return identified


def _described(argument: object) -> str:
    """Return a text that is the same for equal plain values, and of its own for each other object."""
    if isinstance(argument, str | int | float | PurePath | None):
        return repr(argument)
    if isinstance(argument, Sequence):
        return f"[{', '.join(map(_described, argument))}]"
    return f"{type(argument).__qualname__} {next(_serial)}"


class Needs(NamedTuple):
    """What a protocol's ``update`` asks for."""

    required: frozenset[str]
    """Without one of these it is not measured."""
    nullable: frozenset[str]
    """Handed ``None`` where there is nothing of the kind."""
    optional: frozenset[str]
    """Left out where there is nothing of the kind."""

    @property
    def all(self) -> frozenset[str]:
        """Every name."""
        return self.required | self.nullable | self.optional


def needs_of(protocol: Protocol) -> Needs:
    """Read what a protocol needs off the parameters of its ``update``.

    Raises:
        ValueError: If it asks for what nobody can give; the message lists what there is.

    Example:
        >>> from camloc.metrics.pxap import PxAP
        >>> sorted(needs_of(PxAP()).required)
        ['ignore', 'masks', 'score_maps']
    """
    update = type(protocol).update
    parameters = list(inspect.signature(update).parameters.values())[1:]
    unknown = [parameter.name for parameter in parameters if parameter.name not in NEEDS]
    if unknown:
        raise ValueError(
            f"{type(protocol).__name__}.update asks for {', '.join(unknown)}, which no evaluation can give; "
            f"its parameters must be among {', '.join(NEEDS)}"
        )
    hints = get_type_hints(update)
    optional = {p.name for p in parameters if p.default is not p.empty}
    nullable = {p.name for p in parameters if type(None) in getattr(hints.get(p.name), "__args__", ())} - optional
    required = {p.name for p in parameters} - optional - nullable
    return Needs(frozenset(required), frozenset(nullable), frozenset(optional))

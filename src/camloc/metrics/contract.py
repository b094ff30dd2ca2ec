"""The contract of protocols: a torchmetrics Metric that says what it needs, what it reports and how sure that is.

A protocol's needs are the parameters of its ``update``, by name; :data:`NEEDS` lists all there are, each for P counted
(image, class) pairs. A name that is not among them is an error when the protocol is built. A parameter whose
annotation allows ``None`` is handed ``None`` where the predictions' source has nothing of the kind; one with a default
is left out then; without any other the protocol is not measured, and the report names what is missing.
"""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_type_hints

from torch import Tensor
from torchmetrics import Metric

from camloc.records import Outcome, Row, SplitOutcome

Interval = tuple[float, float]

NEEDS: Mapping[str, str] = {
    "logits": "(P,C) logits of each pair's image",
    "target": "(P,) int64 true classes",
    "score_maps": "(P,H,W) in [0,1]",
    "boxes": "(P,T,4) boxes at the protocol's `cam_thresholds`, half-open pixels of the score map",
    "gt_boxes": "P tensors (M_i,4), true boxes in pixels of the score map",
    "map_size": "(height, width) of the score maps",
    "reported_boxes": "(P,4) boxes at the reported CAM threshold, pixels of the image",
    "image_boxes": "P tensors (M_i,4), true boxes in pixels of the image",
    "image_sizes": "P (height, width) of the images",
    "resized_boxes": "P integer tensors (M_i,4), true boxes as the evaluator wsolevaluation carries them to the map",
    "masks": "(P,H,W) bool, foreground pixels",
    "ignore": "(P,H,W) bool, pixels that count neither way",
    "positions": "P places in the split",
    "predicted_classes": "(P,G) most likely classes, best first, -1 for none",
    "predicted_boxes": "(P,G,4) their boxes, pixels of the image",
    "is_padding": "(P,) bool; callers of the library mark repeats with it, an evaluation hands over none",
}
"""What a protocol may ask for."""


class Protocol(Metric, ABC):
    """A way to measure: counts in, numbers with their intervals out, an :class:`Outcome` for each pair.

    A subclass adds int64 states reduced by sum, so that its numbers are exact for any number of processes.
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
        self.cam_threshold = cam_threshold
        self._computed = None  # torchmetrics would go on returning the numbers at the earlier one

    def check_split(self, num_images: int) -> None:
        """Check what was configured against the split that will be measured, before it is.

        Args:
            num_images: Of the split.

        Raises:
            ValueError: If the two do not fit; the message names the file or field.
        """

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
            counting(*args, **kwargs)
            return returned.pop()

        return returning


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

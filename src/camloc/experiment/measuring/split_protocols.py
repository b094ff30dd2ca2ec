"""All protocols of one split, counted batch by batch."""

import math
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torchmetrics import MeanMetric, Metric

from camloc.experiment.measuring.evidence import Evidence
from camloc.experiment.measuring.localized import Localized, without_boxes
from camloc.experiment.measuring.measures import Measures, as_protocol, group_by_score_map
from camloc.experiment.measuring.padding import without_padding
from camloc.experiment.measuring.store import Stored
from camloc.localization.contract import cuts_at_thresholds
from camloc.metrics.contract import OF_IMAGES, Needs, Protocol, needs_of
from camloc.metrics.functional.localization import PAPER_CAM_THRESHOLD
from camloc.metrics.per_class import BY_CLASS
from camloc.metrics.stock import Count
from camloc.records import Outcome, Prediction, Row, Truth

NO_BOX_THRESHOLD = (PAPER_CAM_THRESHOLD,)


class Counted(NamedTuple):
    """What became of a batch, padding left out."""

    prediction: Prediction
    """With the score maps and boxes that people are shown."""
    truth: Truth
    outcomes: Mapping[str, Outcome]
    """By protocol; one that lacks what it needs has none."""
    places: Mapping[str, Sequence[int]]
    """By protocol, the pairs that its outcome is of, places among all P."""
    shown_boxes: Tensor | None
    """(P,4) half-open pixels of the score maps, at the reported threshold if there is one; None without boxes."""


class SplitResult(NamedTuple):
    """What evaluating a split gave, the same on every process."""

    numbers: Mapping[str, Tensor]
    """Everything the protocols report, by key below the split."""
    chosen: float | None
    """The CAM threshold that the first protocol which chooses one has chosen."""
    outcomes: Mapping[str, Stored]
    """Of every pair, by protocol; empty while a training is only watched."""
    pairs: Stored
    """What else is known of every pair."""
    unmet: Mapping[str, frozenset[str]]
    """By protocol that was not measured, what it lacked."""
    num_images: int
    """That were predicted, those without a label included."""


class SplitProtocols(nn.Module):
    """The protocols of one split with their counts, each a copy of its own.

    Args:
        measures: What is measured.

    Raises:
        ValueError: If a protocol needs what no evaluation can give, or a normalization belongs to none.
    """

    def __init__(self, measures: Measures) -> None:
        super().__init__()
        self.box_rule = measures.box_rule
        self.from_maps = measures.from_maps
        self.is_swept = measures.from_maps and cuts_at_thresholds(measures.box_rule)
        """Whether boxes are cut out of maps at CAM thresholds; else each pair has one box, and no threshold."""
        protocols = {name: as_protocol(name, deepcopy(metric)) for name, metric in measures.protocols.items()}
        if taken := [name for name in protocols if "." in name or hasattr(nn.ModuleDict(), name)]:
            raise ValueError(f"localization.protocols has {taken[0]}, which cannot be a name here; choose another")
        if not self.is_swept:
            protocols = {name: protocol.without_thresholds() for name, protocol in protocols.items()}
        self.protocols: Mapping[str, Protocol] = nn.ModuleDict(protocols)  # type: ignore[assignment] # of Protocols
        self.needs: dict[str, Needs] = {name: needs_of(protocol) for name, protocol in protocols.items()}
        # By default it leaves out what is NaN: a network that has diverged would get the mean of what is left.
        self.loss = MeanMetric(nan_strategy=math.inf)
        self.images = Count()
        """How many images were predicted."""
        self.objectless = measures.objectless
        if unknown := measures.own_score_maps.keys() - protocols.keys():
            raise ValueError(f"localization.score_maps has {', '.join(sorted(unknown))}, which is no protocol")
        self._groups = group_by_score_map(protocols, measures)
        boxed = "boxes" if self.is_swept else "reported_boxes"
        self.shown = next((name for name in protocols if boxed in self.needs[name].all), None)
        """The protocol whose boxes people are shown: the first that has any."""
        self.unmet: dict[str, frozenset[str]] = {}
        """By protocol, what it needs and was not there; of those that counted nothing."""

    @property
    def fixed_threshold(self) -> float | None:
        """The CAM threshold that the shown protocol reports at; None until it is fixed or chosen."""
        return None if self.shown is None else self.protocols[self.shown].cam_threshold

    @property
    def shown_threshold(self) -> float | None:
        """The CAM threshold of the boxes that people are shown; the paper's where none is fixed or chosen yet.

        None where boxes have none.
        """
        if not self.is_swept:
            return None
        protocol = self.protocols[self.shown] if self.shown is not None else None
        if protocol is None:
            return PAPER_CAM_THRESHOLD
        if protocol.cam_threshold is not None:
            return protocol.cam_threshold
        return min(protocol.cam_thresholds, key=lambda on_grid: abs(on_grid - PAPER_CAM_THRESHOLD))

    @property
    def shown_thresholds(self) -> Sequence[float]:
        """(T,) of the boxes of that protocol; none where boxes have none."""
        if not self.is_swept:
            return ()
        return NO_BOX_THRESHOLD if self.shown is None else self.protocols[self.shown].cam_thresholds

    def localize(self, prediction: Prediction, truth: Truth) -> Prediction:
        """Add the score maps and boxes that people are shown."""
        localized = self._localized(prediction, truth)[self.shown]
        return prediction._replace(score_maps=localized.score_maps, boxes=localized.shown(self.shown_thresholds))

    def localize_maps(self, cams: Tensor, classes: Tensor, map_size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        """Return score maps (P,H,W) and boxes (P,T,4) of any raw CAMs of (P,) classes as people are shown them.

        None where boxes are not cut out of maps at CAM thresholds.
        """
        if not self.is_swept:
            return None
        score_map = next(score_map for names, score_map in self._groups if self.shown in names)
        score_maps = score_map(cams, map_size)
        boxes = self.box_rule(score_maps.cpu(), self.shown_thresholds)
        return score_maps, without_boxes(boxes, classes, self.objectless)

    def update(self, prediction: Prediction, truth: Truth) -> Counted:
        """Count a batch."""
        prediction, truth = without_padding(prediction, truth)
        self.images.update(len(truth.target))
        if prediction.logits is not None and len(truth.target):
            self.loss.update(loss_by_image(prediction.logits, truth.target))
        localized, evidence = self._localized(prediction, truth), Evidence(prediction, truth)
        outcomes: dict[str, Outcome] = {}
        counted: dict[str, Sequence[int]] = {}
        all_places = range(len(truth.gt_boxes))
        for name, protocol in self.protocols.items():
            needs = self.needs[name]
            places = evidence.measured(needs.all)
            if not len(all_places if places is None else places) and not needs.required <= OF_IMAGES:
                continue
            if "boxes" in needs.all and not self.is_swept:
                self.unmet[name] = frozenset({"boxes"})
                continue
            arguments = {
                need: evidence.get(need, localized[name], protocol.cam_thresholds, protocol.cam_threshold, places)
                for need in needs.all
            }
            missing = frozenset(need for need in needs.required if arguments[need] is None)
            if missing:
                self.unmet[name] = missing
                continue
            given = {k: v for k, v in arguments.items() if v is not None or k in needs.nullable}
            outcomes[name] = protocol.update(**given)
            counted[name] = all_places if places is None else places
            absent = frozenset(need for need in needs.nullable if arguments[need] is None)
            if absent and not outcomes[name].values:
                self.unmet[name] = absent
        shown = localized[self.shown]
        boxes = shown.shown(self.shown_thresholds)
        at = 0 if self.shown_threshold is None else list(self.shown_thresholds).index(self.shown_threshold)
        return Counted(
            prediction._replace(score_maps=shown.score_maps, boxes=boxes),
            truth,
            outcomes,
            counted,
            None if boxes is None else boxes[:, at],
        )

    def compute(self) -> dict[str, Tensor]:
        """Return every number by key below the split, the same on every process.

        Protocols that counted nothing have none.
        """
        found: dict[str, Tensor] = {}
        loss = _computed(self.loss)
        if not loss.isnan():
            found["loss"] = loss
        for name, protocol in self.protocols.items():
            values = _computed(protocol)
            if counted_something(values, protocol.rows):
                # torchmetrics makes a vector of one class a number.
                whole = {key: value.reshape(-1) if key.endswith(BY_CLASS) else value for key, value in values.items()}
                own = {self.key(name, key): value for key, value in whole.items()}
                found |= {key: value for key, value in own.items() if key not in found}  # counts of the same pairs
        return found

    def key(self, protocol: str, key: str) -> str:
        """Return where a protocol's number stands in ``metrics.json`` below the split.

        Where several protocols report the same number, the first has the plain key and the others' carry their names.
        """
        section = self.protocols[protocol].section
        rows = {row.key for row in self.protocols[protocol].rows}
        for earlier, other in self.protocols.items():
            if earlier == protocol:
                break
            if other.section == section and rows & {row.key for row in other.rows}:
                return f"{section}/{protocol}/{key}"
        return f"{section}/{key}"

    def rows(self) -> dict[str, tuple[str, Row]]:
        """Return the protocol and the row of every number that people are shown, by key below the split.

        Classification comes first, then what is reported at a chosen threshold, then the rest.
        """

        def place(name: str) -> tuple[bool, bool]:
            protocol = self.protocols[name]
            return protocol.section != "classification", not protocol.chooses_threshold

        ordered = sorted(self.protocols, key=place)
        return {self.key(name, row.key): (name, row) for name in ordered for row in self.protocols[name].rows}

    def chosen_threshold(self) -> float | None:
        """Return the CAM threshold that the first protocol which chooses one has chosen; None where none could."""
        for protocol in self.protocols.values():
            if protocol.chooses_threshold and protocol.cam_threshold is None:
                values = _computed(protocol)
                if counted_something(values, protocol.rows):
                    return float(values["cam_threshold"])
        return None

    def reset(self) -> None:
        """Forget all counts."""
        self.loss.reset()
        self.images.reset()
        self.unmet = {}
        for protocol in self.protocols.values():
            protocol.reset()

    def _localized(self, prediction: Prediction, truth: Truth) -> dict[str | None, Localized]:
        """Give protocols of one normalization one set of maps and boxes."""
        made: dict[str | None, Localized] = {}
        for names, score_map in self._groups:
            thresholds = sorted({threshold for name in names for threshold in self._thresholds(name)})
            made |= dict.fromkeys(
                names, Localized(prediction, truth, score_map, self.box_rule, thresholds, self.objectless)
            )
        return made

    def _thresholds(self, name: str | None) -> Sequence[float]:
        """Return where a protocol needs boxes."""
        if not self.is_swept:
            return ()
        if name is None:
            return NO_BOX_THRESHOLD if self.shown is None else ()
        protocol, needs = self.protocols[name], self.needs[name].all
        reported = () if protocol.cam_threshold is None or "reported_boxes" not in needs else (protocol.cam_threshold,)
        return (*(protocol.cam_thresholds if "boxes" in needs else ()), *reported)


def loss_by_image(logits: Tensor, target: Tensor) -> Tensor:
    """Return the (B,) softmax cross entropies of one label per image, or binary cross entropies averaged over classes.

    Args:
        logits: (B,C).
        target: (B,) int64, or (B,C) bool.
    """
    if target.ndim == 1:
        return cross_entropy(logits, target, reduction="none")
    return binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none").mean(dim=1)


def _computed(metric: Metric) -> Any:  # noqa: ANN401 - a tensor, or several by key
    with warnings.catch_warnings():
        # The report says which protocols counted nothing, and why.
        warnings.filterwarnings("ignore", ".*called before the ``update`` method")
        return metric.compute()


def counted_something(values: Mapping[str, Tensor], rows: Sequence[Row]) -> bool:
    """Tell whether a protocol's numbers rest on any pair."""
    counts = [value for key, value in values.items() if key.endswith("num_images")]
    if counts:
        return all(int(count) > 0 for count in counts)
    return any(bool(values[row.key].isfinite()) for row in rows if row.key in values)

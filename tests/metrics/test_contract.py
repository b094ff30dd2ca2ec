import pickle
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import NEEDS, Protocol, needs_of
from camloc.metrics.heuristic_error import HeuristicError
from camloc.metrics.ilsvrc_error import IlsvrcError
from camloc.metrics.localization_error import LocalizationError
from camloc.metrics.max_box_acc import MaxBoxAcc
from camloc.metrics.pxap import PxAP
from camloc.metrics.stock import StockMetric
from camloc.records import Outcome, Row, SplitOutcome

PROTOCOLS: dict[str, Protocol] = {
    "localization": LocalizationError(cam_threshold=0.2),
    "max_box_acc": MaxBoxAcc(0.1),
    "pxap": PxAP(0.1),
    "ilsvrc": IlsvrcError(),
    "heuristic": HeuristicError(),
    "classification": ClassificationError(),
    "centred_box": CentredBoxError(),
    "stock": StockMetric("accuracy", MulticlassAccuracy(num_classes=3, average="micro")),
}
GIVEN: dict[str, Any] = {
    "logits": torch.eye(3)[:2],
    "target": torch.tensor([0, 2]),
    "score_maps": torch.eye(6).expand(2, -1, -1),
    "gt_boxes": [torch.tensor([[0.0, 0.0, 6.0, 5.0]])] * 2,
    "map_size": (6, 6),
    "reported_boxes": torch.tensor([[0.0, 0.0, 12.0, 12.0]]).expand(2, -1),
    "released_boxes": torch.tensor([[0.0, 0.0, 12.0, 12.0]]).expand(2, 2, -1),
    "image_boxes": [torch.tensor([[0.0, 0.0, 12.0, 10.0]])] * 2,
    "image_sizes": [(12, 12)] * 2,
    "resized_boxes": [torch.tensor([[0, 0, 5, 4]])] * 2,
    "masks": torch.ones(2, 6, 6, dtype=torch.bool),
    "ignore": torch.zeros(2, 6, 6, dtype=torch.bool),
    "positions": [0, 1],
}


def fed(protocol: Protocol, count: int = 2) -> Outcome:
    needs = needs_of(protocol)
    wanted = {name: GIVEN[name] for name in needs.required | needs.nullable}
    return protocol.update(**{name: value if name == "map_size" else value[:count] for name, value in wanted.items()})


class Plain(Protocol):
    """A protocol with nothing but an update, which its children replace."""

    @property
    def rows(self) -> Sequence[Row]:
        return [Row("number", "number", "max")]

    def compute(self) -> dict[str, Tensor]:
        return {"number": torch.tensor(1.0)}


class Misspelt(Plain):
    def update(self, score_map: Tensor, gt_boxes: Sequence[Tensor]) -> Outcome:  # type: ignore[override] # as any
        del score_map, gt_boxes
        return Outcome({})


class Choosy(Plain):
    def update(  # type: ignore[override] # as any
        self, target: Tensor, logits: Tensor | None, masks: Tensor | None = None, ignore: int = 0
    ) -> Outcome:
        del logits, masks, ignore
        return Outcome({"target": target})


def test_a_misspelt_need_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"Misspelt.update asks for score_map, which") as refused:
        needs_of(Misspelt())
    assert all(name in str(refused.value) for name in NEEDS)


def test_needs_are_required_nullable_or_optional() -> None:
    needs = needs_of(Choosy())
    assert [set(part) for part in needs[:3]] == [{"target"}, {"logits"}, {"masks", "ignore"}]
    assert needs.all == {"target", "logits", "masks", "ignore"}


@pytest.mark.parametrize(
    ("name", "required", "nullable", "optional"),
    [
        ("localization", {"target", "score_maps", "gt_boxes"}, {"logits"}, {"boxes"}),
        ("max_box_acc", {"score_maps", "resized_boxes"}, set(), set()),
        ("pxap", {"score_maps", "masks", "ignore"}, set(), set()),
        (
            "ilsvrc",
            {"target", "image_boxes", "positions"},
            {"logits", "reported_boxes"},
            {"predicted_classes", "predicted_boxes"},
        ),
        ("classification", {"logits", "target"}, set(), set()),
        ("heuristic", {"logits", "target", "released_boxes", "image_boxes", "positions"}, set(), set()),
        ("centred_box", {"gt_boxes", "map_size"}, set(), set()),
        ("stock", {"logits", "target"}, set(), set()),
    ],
)
def test_needs_of_every_protocol(name: str, required: set[str], nullable: set[str], optional: set[str]) -> None:
    needs = needs_of(PROTOCOLS[name])
    assert [set(part) for part in needs[:3]] == [required, nullable, optional | {"is_padding"}]


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_counts_pairs_and_returns_them(name: str) -> None:
    protocol = deepcopy(PROTOCOLS[name])
    values = fed(protocol).values
    assert all(len(value) == 2 and value.device.type == "cpu" for value in values.values())
    found = protocol.compute()
    assert all(found[row.key].isfinite() and found[row.key].ndim == 0 for row in protocol.rows)
    assert protocol.higher_is_better in (None, protocol.rows[0].direction == "max")
    split = SplitOutcome(["a", "b"], GIVEN["target"], values)
    for key, (low, high) in protocol.intervals(split, None).items():
        assert low <= found[key] <= high, key
    protocol.reset()
    assert all(protocol.compute()[row.key].isnan() for row in protocol.rows)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_batch_without_pairs_counts_nothing(name: str) -> None:
    once, twice = deepcopy(PROTOCOLS[name]), deepcopy(PROTOCOLS[name])
    fed(once)
    assert all(len(value) == 0 for value in fed(twice, count=0).values.values())
    fed(twice)
    assert {key: value.tolist() for key, value in once.compute().items()} == {
        key: value.tolist() for key, value in twice.compute().items()
    }


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_copy_counts_on_its_own(name: str) -> None:
    protocol = deepcopy(PROTOCOLS[name])
    for copy in (deepcopy(protocol), pickle.loads(pickle.dumps(protocol))):  # noqa: S301 - our own bytes
        outcome = fed(copy)
        assert isinstance(outcome, Outcome)
        assert not any(copy.compute()[row.key].isnan() for row in copy.rows)
    with pytest.warns(UserWarning, match="was called before the ``update``"):
        assert all(protocol.compute()[row.key].isnan() for row in protocol.rows)


def test_a_batch_that_fails_leaves_no_outcome_behind() -> None:
    protocol = ClassificationError()
    protocol.update(GIVEN["logits"], GIVEN["target"])
    with pytest.raises(ValueError, match="target must lie in"):
        protocol.update(GIVEN["logits"], GIVEN["target"] + 9)
    assert protocol.update(GIVEN["logits"][:1], GIVEN["target"][:1]).values["rank"].tolist() == [0]


def numbers(found: dict[str, Tensor]) -> dict[str, Any]:
    return {key: value.tolist() for key, value in found.items()}


DIFFERENT: dict[str, list[Protocol]] = {
    "localization": [
        LocalizationError(),
        LocalizationError(cam_threshold=0.2),
        LocalizationError(iou_thresholds=(0.3, 0.5, 0.9)),
        LocalizationError(iou_threshold=0.7),
        LocalizationError(num_thresholds=99, more_thresholds=(0.123,)),
    ],
    "ilsvrc": [IlsvrcError(), IlsvrcError(iou_threshold=0.6), IlsvrcError(cam_threshold=0.2)],
    "heuristic": [HeuristicError(), HeuristicError(iou_threshold=0.6), IlsvrcError()],
    "max_box_acc": [MaxBoxAcc(0.1), MaxBoxAcc(0.1, v1=True), MaxBoxAcc(0.1, v2=True), MaxBoxAcc(0.1 + 1e-9)],
    "pxap": [PxAP(0.1), PxAP(0.1 + 1e-9)],
    "centred_box": [CentredBoxError(), CentredBoxError(iou_threshold=0.6), CentredBoxError(num_scales=2)],
    "classification": [ClassificationError(), CentredBoxError(num_scales=2)],
    "stock": [PROTOCOLS["stock"], StockMetric("same", MulticlassAccuracy(num_classes=3, average="micro"))],
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_metrics_of_different_arguments_never_share_counts(name: str) -> None:
    # The first batch gives all of them the same counts, as none of them has any.
    together = MetricCollection({str(i): metric.clone() for i, metric in enumerate(DIFFERENT[name])})
    together.update(**{need: value if need == "map_size" else value[:0] for need, value in GIVEN.items()})
    assert len(together.compute_groups) == len(DIFFERENT[name])


def test_metrics_of_equal_arguments_share_counts() -> None:
    same: dict[str, Metric | MetricCollection] = {
        "a": LocalizationError(0.2),
        "b": LocalizationError(cam_threshold=0.2, iou_thresholds=[0.3, 0.5, 0.7]),
    }
    together = MetricCollection(same, compute_groups=True)
    for _ in range(2):
        together.update(**GIVEN)
    assert len(together.compute_groups) == 1
    assert together.compute()["b_num_images"] == 4
    assert together.compute()["a_gt_known_error"] == together.compute()["b_gt_known_error"]


def test_two_blacklists_are_two_metrics(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("5\n")
    together = MetricCollection({"all": IlsvrcError(), "listed": IlsvrcError(tmp_path / "list.txt")})
    for positions in ([0, 1], [4, 5]):  # nothing tells them apart before the second batch
        together.update(**GIVEN | {"positions": positions})
    assert together.compute()["listed_ilsvrc_num_blacklisted"] == 1
    assert together.compute()["all_ilsvrc_num_blacklisted"] == 0


def test_a_protocol_from_elsewhere_is_told_apart_by_its_arguments_too() -> None:
    class Weighted(Plain):
        total: Tensor

        def __init__(self, weights: Tensor) -> None:
            super().__init__()
            self.weights = weights
            self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

        def update(self, logits: Tensor) -> Outcome:  # type: ignore[override] # as any
            self.total += (logits * self.weights).sum()
            return Outcome({})

    ones, twos = Weighted(torch.ones(3)), Weighted(weights=2 * torch.ones(3))
    together = MetricCollection({"ones": ones, "twos": twos, "copy": ones.clone()})
    together.update(logits=torch.zeros(2, 3))
    assert sorted(map(len, together.compute_groups.values())) == [1, 2]
    with pytest.raises(ValueError, match="Weighted can only be merged with a Weighted that was made with the same"):
        ones.merge_state(twos)


def test_merged_counts_change_a_number_that_was_computed() -> None:
    first, second = ClassificationError(), ClassificationError()
    first.update(torch.eye(3), torch.tensor([0, 1, 2]))
    second.update(torch.eye(3), torch.tensor([1, 2, 0]))
    assert first.compute()["top1_error"] == 0
    first.merge_state(second)
    assert first.compute()["top1_error"] == 0.5


OPTIONS: dict[str, Any] = {
    "sync_on_compute": False,
    "dist_sync_on_step": True,
    "process_group": "own",
    "compute_with_cache": False,
    "compute_on_cpu": True,
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_torchmetrics_own_arguments_reach_it(name: str) -> None:
    kind = type(PROTOCOLS[name])
    arguments = {"name": "accuracy", "metric": MulticlassAccuracy(num_classes=3)} if name == "stock" else {}
    metric = kind(**arguments, **OPTIONS)
    assert {option: getattr(metric, option) for option in OPTIONS} == OPTIONS
    assert fed(metric).values.keys() == fed(deepcopy(PROTOCOLS[name])).values.keys()
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `sync_on_compue`"):
        kind(**arguments, sync_on_compue=False)
    with pytest.raises(ValueError, match="`sync_on_compute` to be a `bool`"):
        kind(**arguments, sync_on_compute="no")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_half_precision_leaves_counts_whole(name: str) -> None:
    plain, half = deepcopy(PROTOCOLS[name]), deepcopy(PROTOCOLS[name])
    half.set_dtype(torch.float16)
    nn.ModuleList([half.half()]).half()
    for metric in (plain, half):
        for _ in range(3):
            fed(metric)
    counts = half.num_images if isinstance(half, StockMetric) else half
    states = counts.metric_state
    assert states
    assert all(isinstance(state, Tensor) and state.dtype == torch.int64 for state in states.values())
    assert numbers(half.compute()) == numbers(plain.compute())


def test_more_pairs_than_half_precision_can_count() -> None:
    metric = ClassificationError().set_dtype(torch.float16)
    logits, target = torch.eye(2).repeat(2000, 1), torch.zeros(4000, dtype=torch.int64)
    for _ in range(3):
        metric.update(logits, target)
    assert (metric.num_images.item(), metric.hits.tolist()) == (12000, [6000, 12000])


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("inside_first", [True, False])
def test_inference_mode_may_begin_and_end_anywhere(name: str, inside_first: bool) -> None:
    once = deepcopy(PROTOCOLS[name])
    for _ in range(4):
        fed(once)
    with torch.inference_mode(inside_first):
        metric = deepcopy(PROTOCOLS[name])
        metric.reset()
        fed(metric)
    with torch.inference_mode(not inside_first):
        fed(metric)
        assert metric.compute()
    with torch.inference_mode(inside_first):
        fed(metric)
    fed(metric)
    assert numbers(metric.compute()) == numbers(once.compute())
    metric.reset()
    fed(metric)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_forward_returns_the_batchs_numbers_and_counts_it(name: str) -> None:
    metric, alone = deepcopy(PROTOCOLS[name]), deepcopy(PROTOCOLS[name])
    needs = needs_of(metric)
    given = {need: GIVEN[need] for need in needs.required | needs.nullable}
    fed(alone)
    for _ in range(2):
        assert numbers(metric(**given)) == numbers(alone.compute())
    fed(alone)
    assert numbers(metric.compute()) == numbers(alone.compute())

import pickle
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from camloc.metrics.centred_box import CentredBoxError
from camloc.metrics.classification_error import ClassificationError
from camloc.metrics.contract import NEEDS, Protocol, needs_of
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
